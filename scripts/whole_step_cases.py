"""Plan whole steps whose operators may recompute, beside every uniform choice and baseline; write docs/whole-steps.md.

`python scripts/whole_step_cases.py [--only NAME...] [--seconds S] [--missing] [--page-only]`: each case is a config
with flags and a time limit of its own (`--list` shows them). `planner solve` plans it with every choice of versions,
and once with all of them, each in a process of its own; then the baselines are replayed with every choice. After each
run the rows are written to docs/whole-steps.json, so that cases can be run in several calls; `--missing` runs what is
not there yet. docs/whole-steps.md and docs/whole-steps.svg are written from that file (`--page-only`: only those).
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from case_studies.rows import chosen, read
from case_studies.whole_listed import BEGUN, Case, Choice, best_uniform, cases
from case_studies.whole_page import frontier_points, page, text
from case_studies.whole_plot import plot
from planner.files.whole import write_whole
from race import commit, machine

ROOT = Path(__file__).resolve().parent.parent
TITLE = "DeepSeek-V3, 32 layers on 8 H800: what memory buys"


def main() -> int:
    """Run the cases, keep the rows, print them, write the page; exit code 1 if a case has no valid plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases or configs by name, as in the shell")
    parser.add_argument("--seconds", type=float, metavar="S", help="time limit of each run (default: the case's)")
    parser.add_argument("--missing", action="store_true", help="leave out runs that have a row with this time limit")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "whole-steps.json", help="rows, read and written")
    parser.add_argument(
        "--page", type=Path, default=ROOT / "docs" / "whole-steps.md", help="the page; the SVG beside it"
    )
    parser.add_argument("--page-only", action="store_true", help="run nothing, only write the page")
    parser.add_argument("--list", action="store_true", help="show the cases and their choices")
    given = parser.parse_args()
    found = chosen(cases(), given.only)
    if given.list:
        for case in found:
            choices = "; ".join(["all", *(choice.name for choice in case.choices)])
            print(
                f"{case.name:26} {' '.join([case.config, *case.flags])}, {given.seconds or case.seconds:g} s: {choices}"
            )
        return 0
    results = read(given.json)
    if not given.page_only:
        for case in found:
            run_case(case, given, results)
    drawing = given.page.with_suffix(".svg")
    write_whole(given.page, page(results, cases(), drawing.name))
    write_whole(drawing, plot(frontier_points(results, cases()), TITLE))
    print(text(results, found), end="")
    print(f"{given.page} written", file=sys.stderr)
    runs = [results["rows"].get(case.name, {}).get("runs", {}).get("all", {}) for case in found]
    return 0 if all(run.get("verified") for run in runs) else 1


def run_case(case: Case, given: argparse.Namespace, results: dict[str, Any]) -> None:
    """Run what the flags ask for, and keep each run and then the baselines."""
    from case_studies.whole_runs import baseline_plans, baselines, kept_plan, run, runs_of

    row = results["rows"].setdefault(case.name, {"config": case.config, "flags": list(case.flags), "runs": {}})
    limit = given.seconds or case.seconds
    for choice in runs_of(case):
        if given.missing and row["runs"].get(choice.name, {}).get("limit") == limit:
            continue
        some: list[tuple[Choice, Path | None]] = [(choice, None)]
        if choice.name == BEGUN:
            best = best_uniform(row)
            if best is None:
                continue
            start = kept_plan(case, best[0])
            again = [(each, None) for each in case.choices if each.name == best[0] and not start.is_file()]
            some = [*again, (choice, start)]
        for each, begun in some:
            print(f"{case.name}: {each.name} ...", file=sys.stderr, flush=True)
            now = datetime.now(UTC).strftime("%Y-%m-%d")
            found = run(case, each, limit, begun)
            row["runs"][each.name] = found | {"commit": commit(), "date": now, "machine": machine()}
            write_whole(given.json, json.dumps(results, indent=1) + "\n")
    if given.missing and "plans" in row:
        return
    print(f"{case.name}: baselines ...", file=sys.stderr, flush=True)
    row["baselines"] = baselines(case)
    row["plans"] = baseline_plans(case, row)
    write_whole(given.json, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
