"""Plan the cases at operator level and compare the plans with baselines, simple splits and goals.

`python scripts/cases.py [--only NAME...] [--time-limit S] [--cpsat] [--json FILE]`: each case is a config with flags
and a time limit of its own (`--list` shows them). `planner solve` plans it in a process of its own, whose time and
memory are measured. After each case all rows are written to docs/cases.json, so that cases can be run in several calls.
docs/cases.md is written from that file (`--page-only`: only that), and a table is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from case_studies.listed import Case, cases
from case_studies.page import page, text
from case_studies.rows import chosen, read
from planner.files.whole import write_whole
from race import commit, machine

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the cases, keep the rows, print them, write the page; exit code 1 if a case has no valid plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases or configs by name, as in the shell")
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds for each case (default: its own)")
    parser.add_argument("--cpsat", action="store_true", help="schedule each plan's placement with CP-SAT, too")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "cases.json", help="rows, read and written")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "cases.md", help="the page to write")
    parser.add_argument("--page-only", action="store_true", help="run nothing, only write the page")
    parser.add_argument("--list", action="store_true", help="show the cases and their flags")
    given = parser.parse_args()
    if given.cpsat and importlib.util.find_spec("ortools") is None:
        parser.error("--cpsat needs OR-Tools, which `make rivals` installs")
    found = chosen(cases(), given.only)
    if given.list:
        for case in found:
            limit = given.time_limit or case.seconds
            print(f"{case.name:22} {case.config} {' '.join([*case.flags, '--time-limit', f'{limit:g}'])}")
        return 0
    results = read(given.json)
    if not given.page_only:
        run_all(found, given, results)
    write_whole(given.page, page(results, cases()))
    print(text(results, found), end="")
    print(f"{given.page} written", file=sys.stderr)
    rows = [results["rows"].get(case.name, {}) for case in found]
    return 0 if all(row.get("verified") for row in rows) else 1


def run_all(found: list[Case], given: argparse.Namespace, results: dict[str, Any]) -> None:
    """Run the cases one after the other, and keep each row."""
    from case_studies.runs import run

    for case in found:
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        row = run(case, given.time_limit, given.cpsat)
        now = datetime.now(UTC).strftime("%Y-%m-%d")
        results["rows"][case.name] = row | {"commit": commit(), "date": now, "machine": machine()}
        write_whole(given.json, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
