"""Try the advice of `planner explain` on shipped configs; write docs/explain-cases.md.

`python scripts/explain_cases.py [--only NAME...] [--effort N] [--missing] [--page-only]`: each case is a config that is
planned with an effort and explained with the same one. Then what explain advises is carried out as a user would:
`planner solve` with the memory, the microbatches or the chunks that it names, from nothing. Every command is a process
of its own. After each case the rows are written to docs/explain-cases.json, so that cases can be run in several calls;
`--missing` runs what is not there yet. The page is written from that file (`--page-only`: only that).
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from case_studies.advice import Case
from case_studies.rows import chosen, read
from planner.files.whole import write_whole
from planner.report.words import percent, seconds
from race import commit, machine

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

WITHIN = 0.02
"""Of the step of the plan: by so much the step that is reached may differ from what explain said."""

CASES = (
    Case("DeepSeek-V3, 32 layers", "deepseek-v3-h800"),
    Case("DeepSeek-V3, units of memory", "deepseek-v3-units"),
    Case("Llama-3.1-70B, 32768 tokens", "llama-3.1-70b-tp8-pp8-32768"),
    Case("multimodal, 9B", "multimodal"),
    Case("Llama-3.1-8B, two kinds of GPU", "mixed-cluster"),
)

METHOD = """\
`.venv/bin/python scripts/explain_cases.py` plans each config with `planner solve --effort N`, asks
`planner explain --effort N` about the plan, and carries out what it advises: `planner solve --effort N` again, with the
flags or the changed file of the line. Each command is a process of its own. Such a solve has the same seed, but it
starts from nothing: it does not know the plan, as the searches of explain do. `planner verify` checks every plan. The
rows are kept in [explain-cases.json](explain-cases.json); this page is written from that file.

- **said**, **reached**: how much shorter the step is than that of the plan, a microbatch each; negative: longer. Of a
  row of explain the makespan is taken, not its gain over "planned again".
- **off by**: the step that was reached less the one that explain said, in percent of the plan's step; positive: the
  user's solve found less.
- **holds**: whether these are 2 % at most, in either direction. Of *faster* operators explain replays the plan's order
  and says what is gained *at least*: planning again may gain more, but not 2 % less.
- **no gain**: the most memory that explain found not to help. *no plan*: the solve found none.
- Not tried: the slowest operator in two halves and perfect balance, which no flag and no number in a file makes.
"""


# -- the figures of a row ----------------------------------------------------------------------------------------


def said(row: dict[str, Any], advice: dict[str, Any]) -> float:
    """What explain says is saved, as a part of the plan's step."""
    return 1 - advice["predicted"] / advice["microbatches"] / _own(row)


def reached(row: dict[str, Any], advice: dict[str, Any]) -> float | None:
    """What is saved by carrying it out; None where no plan was found."""
    if "makespan" not in advice:
        return None
    return 1 - advice["makespan"] / advice["of_microbatches"] / _own(row)


def met(row: dict[str, Any], advice: dict[str, Any]) -> bool:
    """Whether the valid plan that was reached is what explain said, or at least that where it says so."""
    found = reached(row, advice)
    if found is None or not advice["verified"]:
        return False
    off = said(row, advice) - found
    return off <= WITHIN and (advice["at_least"] or off >= -WITHIN)


def _own(row: dict[str, Any]) -> float:
    return float(row["makespan"] / row["of_microbatches"])


# -- the page ----------------------------------------------------------------------------------------------------


def page(results: dict[str, Any]) -> str:
    """docs/explain-cases.md."""
    rows: dict[str, Any] = results["rows"]
    there = [case for case in CASES if case.name in rows]
    lines = ["# The advice of explain, tried", "", "Written by scripts/explain_cases.py; do not edit.", "", METHOD]
    lines += [
        "| case | step | bound | advice | said | reached | off by | holds |",
        "|---|--:|--:|---|--:|--:|--:|---|",
    ]
    tried = [(rows[case.name], advice) for case in there for advice in rows[case.name]["advice"]]
    for case in there:
        lines += _lines(case, rows[case.name])
    good = sum(met(row, advice) for row, advice in tried)
    memory = [(row, advice) for row, advice in tried if advice["key"] in ("more_memory", "cap_lifted", "least_memory")]
    lines += ["", f"{good} of {len(tried)} pieces of advice hold; of those to add memory "
              f"{sum(met(row, advice) for row, advice in memory)} of {len(memory)}."]  # fmt: skip
    lines += ["", *_remarks(tried)]
    missing = [case.name for case in CASES if case.name not in rows]
    lines += [f"Not run: {'; '.join(missing)}.", ""] if missing else []
    lines += ["## How each was run", "", "| case | solve | solve, s | explain, s | advice, s | commit | date |",
              "|---|---|--:|--:|--:|---|---|"]  # fmt: skip
    lines += [_circumstances(case, rows[case.name]) for case in there]
    machines = dict.fromkeys(rows[case.name]["machine"] for case in there)
    return "\n".join([*lines, "", f"Machine: {' '.join(machines)}"]) + "\n"


def _lines(case: Case, row: dict[str, Any]) -> Iterator[str]:
    if "error" in row:
        yield f"| {case.name} | {row['error']} | | | | | | |"
        return
    cells = [case.name, seconds(row["makespan"]), seconds(row["lower_bound"])]
    for advice in row["advice"]:
        found, least = reached(row, advice), "at least " if advice["at_least"] else ""
        off = "-" if found is None else _signed(said(row, advice) - found)
        result = "no plan" if found is None else _signed(found)
        title = f"{advice['title']} (`{advice['how']}`)".replace("*", "\\*")
        verdict = "yes" if met(row, advice) else "**no**"
        yield f"| {' | '.join([*cells, title, least + _signed(said(row, advice)), result, off, verdict])} |"
        cells = ["", "", ""]


def _signed(ratio: float) -> str:
    """In percent; 0 where it is rounding."""
    return "0 %" if abs(ratio) < 5e-5 else f"{'-' if ratio < 0 else ''}{percent(abs(ratio))}"


def _remarks(tried: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """What the figures do not show at once."""
    exact = [(row, one) for row, one in tried if not one["at_least"] and said(row, one) > WITHIN]
    offs = [abs(said(row, one) - found) for row, one in exact if (found := reached(row, one)) is not None]
    lost = sum(said(row, one) > 0 >= (reached(row, one) or 0.0) for row, one in tried)
    remarks = []
    if offs:
        remarks.append(
            f"Savings below {percent(WITHIN, 0)} of the step prove little: they may be missed whole. Above it, those "
            f"*at least* left out, are {len(exact)}: {len(exact) - len(offs)} came to no plan, the others are off by "
            f"{_signed(max(offs))} at most."
        )
    if lost:
        remarks.append(
            f"Savings that explain says and of which nothing was reached: {lost}. They are smaller than what two "
            "searches of this effort differ by; only who starts from the plan, as explain does, has them."
        )
    return [line for remark in remarks for line in (textwrap.fill(remark, 116), "")]


def _circumstances(case: Case, row: dict[str, Any]) -> str:
    command = " ".join([row["config"], *row["flags"], "--effort", str(row["effort"])])
    advice = sum(one["wall_seconds"] for one in row["advice"])
    times = (row["wall_seconds"], row.get("explain_seconds", 0.0), advice)
    return f"| {' | '.join([case.name, f'`{command}`', *(f'{t:.0f}' for t in times), row['commit'], row['date']])} |"


def main() -> int:
    """Run the cases, keep the rows, write the page; exit code 1 if any advice was not what was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases or configs by name, as in the shell")
    parser.add_argument("--effort", type=int, metavar="N", help="of every search (default: the case's)")
    parser.add_argument("--missing", action="store_true", help="leave out cases that have a row with this effort")
    parser.add_argument("--json", type=Path, default=DOCS / "explain-cases.json", help="rows, read and written")
    parser.add_argument("--page", type=Path, default=DOCS / "explain-cases.md", help="the page to write")
    parser.add_argument("--page-only", action="store_true", help="run nothing, only write the page")
    given = parser.parse_args()
    found, results = chosen(CASES, given.only), read(given.json)
    for case in [] if given.page_only else found:
        effort = given.effort or case.effort
        if given.missing and results["rows"].get(case.name, {}).get("effort") == effort:
            continue
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        _run(case, effort, results)
        write_whole(given.json, json.dumps(results, indent=1) + "\n")
    write_whole(given.page, page(results))
    print(f"{given.page} written", file=sys.stderr)
    rows = [results["rows"].get(case.name, {"error": "not run"}) for case in found]
    return 0 if all("error" not in row and all(met(row, one) for one in row["advice"]) for row in rows) else 1


def _run(case: Case, effort: int, results: dict[str, Any]) -> None:
    from case_studies.advice import run

    now = datetime.now(UTC).strftime("%Y-%m-%d")
    results["rows"][case.name] = run(case, effort) | {"commit": commit(), "date": now, "machine": machine()}


if __name__ == "__main__":
    raise SystemExit(main())
