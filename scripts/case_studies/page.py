"""The results as tables: on the terminal, and as docs/cases.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from case_studies.listed import Case, Goal, Row, idle_of, value_of

COLUMNS = (
    "case",
    "ours",
    "bound",
    "gap",
    "idle",
    "copies",
    "peak",
    "best baseline",
    "even",
    "by speed",
    "program",
    "CP-SAT",
)
ALIGNED = "|---|" + "--:|" * 11 + "\n"

METHOD = """\
`.venv/bin/python scripts/cases.py` runs each case in a process of its own: `planner solve` with the flags and the time
limit of its line. `planner verify` checks every plan afterwards. The rows are kept in [cases.json](cases.json), so that
cases can be run in several calls (`--only NAME`); this page is written from that file.

How to read it:

- **ours**: makespan in seconds; with `--objective period` the period, the time between two microbatches in the steady
  state. **bound**: proven for every placement that the flags allow. **idle**: idle time of the compute streams of all
  devices that work. **peak**: peak memory of the fullest device.
- **best baseline**: the shortest baseline that fits into memory (`planner baseline`), whatever its copies.
- **even**, **by speed**, **program**: splits without a planner. The layers are cut into consecutive stages: equally
  many on each device; in proportion to the speed of the device; by a dynamic program that minimises the load of the
  busiest stage (streams, exclusive transfers, and each cut as a stage of its own; a second time within 1F1B's memory).
  Each split is replayed with 1F1B, ZB1P and ZB2P, with the costs, transfers and channels that every plan has. If
  devices differ, the reverse order of devices is tried, too. The best that fits is shown; `*` marks one that does not
  fit. With `--objective period` the order does not matter, and the period of the split is shown.
- **CP-SAT** (`--cpsat`; needs the extra `bench`): OR-Tools with an interval a task, 2 workers and the same time limit.
  It is given the placement of our plan. Its plans are verified, too. Not run for the period and above 50,000 tasks;
  `none`: no plan in time.
- Periods are recomputed here from the placement: the busiest stream (with exclusive transfers) or channel.
"""


def page(results: dict[str, Any], cases: list[Case]) -> str:
    """The whole of docs/cases.md."""
    rows: dict[str, Row] = results["rows"]
    run = [case for case in cases if case.name in rows]
    missing = [case.name for case in cases if case.name not in rows]
    out = "# Cases at operator level\n\nWritten by scripts/cases.py; do not edit.\n\n" + METHOD + "\n"
    out += "| " + " | ".join(COLUMNS) + " |\n" + ALIGNED
    out += "".join("| " + " | ".join(cells(case, rows[case.name])) + " |\n" for case in run)
    out += "".join(f"\n{case.name}: {rows[case.name]['error']}\n" for case in run if "error" in rows[case.name])
    if missing:
        out += f"\nNot run: {'; '.join(missing)}.\n"
    out += "\n## What was to be reached\n\n| case | goal | reached |\n|---|---|---|\n"
    for case in run:
        out += "".join(f"| {case.name} | {goal.text} | {verdict(goal, rows[case.name])} |\n" for goal in case.goals)
    out += "\n## How each was run\n\n| case | command | seconds | process | plan | commit | date |\n"
    out += "|---|---|--:|--:|---|---|---|\n"
    out += "".join(f"| {' | '.join(circumstances(case, rows[case.name]))} |\n" for case in run)
    machines = list(dict.fromkeys(rows[case.name].get("machine", "unknown") for case in run))
    return out + "\nMachine: " + " ".join(machines) + "\n"


def text(results: dict[str, Any], cases: list[Case]) -> str:
    """The first table and the goals, for a terminal."""
    rows: dict[str, Row] = results["rows"]
    run = [case for case in cases if case.name in rows]
    table = [COLUMNS, *(cells(case, rows[case.name]) for case in run)]
    widths = [max(len(line[c]) for line in table) for c in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    lines += [f"{case.name}: {rows[case.name]['error']}" for case in run if "error" in rows[case.name]]
    lines.append("")
    for case in run:
        lines += [f"{case.name}: {goal.text}: {verdict(goal, rows[case.name])}" for goal in case.goals]
    return "\n".join(lines) + "\n"


def cells(case: Case, row: Row) -> tuple[str, ...]:
    """The line of a case in the first table."""
    plan = row.get("plan")
    splits = [*(_rival(row, split) for split in ("even", "by speed", "dynamic program")), _cpsat(row)]
    if plan is None:
        return (case.name, "no plan", *["-"] * 5, _baseline(row), *splits)
    unit = " (period)" if row["by"] == "period" else ""
    return (
        case.name,
        f"{_number(value_of(row))}{unit}",
        _number(plan["lower_bound"]),
        "-" if plan["gap"] is None else f"{plan['gap']:.2%}",
        f"{plan['bubble_ratio']:.2%}",
        str(plan["copies"]),
        _size(plan["peak_memory"]),
        _baseline(row),
        *splits,
    )


def circumstances(case: Case, row: Row) -> tuple[str, ...]:
    """Command, seconds, memory of the process, the result of verify, commit and date."""
    plan = row.get("plan")
    checked = "none" if plan is None else f"{plan['tasks']:,} tasks, {'valid' if row['verified'] else 'NOT VALID'}"
    flags = " ".join([row["config"], *row["flags"], "--time-limit", f"{row['limit']:g}"])
    return (
        case.name,
        f"`{flags}`",
        f"{row['wall_seconds']:.1f}",
        f"{row['peak_rss'] / 1e9:.2f} GB",
        checked,
        row.get("commit", "unknown"),
        row.get("date", "unknown"),
    )


def verdict(goal: Goal, row: Row) -> str:
    """In a word; with the share of DualPipe's idle time if that is the goal."""
    found = goal.reached(row)
    word = "not known" if found is None else "yes" if found else "**no**"
    idle = idle_of(row, "dualpipe") if "idle time" in goal.text else None
    return word if idle is None else f"{word} ({idle:.3f})"


def _baseline(row: Row) -> str:
    """The best one that fits, or else the best one with a star."""
    if row["by"] == "period":
        return "-"
    found: Iterator[dict[str, Any]] = (b for b in row.get("baselines") or [] if b.get("makespan"))
    best = min(found, key=lambda b: (not b["fits"], b["makespan"]), default=None)
    return "-" if best is None else f"{_number(best['makespan'])} {best['name']}{'' if best['fits'] else '*'}"


def _cpsat(row: Row) -> str:
    found = row.get("cpsat")
    return "-" if found is None else _number(found["makespan"]) if "makespan" in found else "none"


def _rival(row: Row, split: str) -> str:
    found = [r for r in row.get("rivals") or [] if r["split"] == split]
    if not found:
        return "-"
    order = "" if row["by"] == "period" else f" {found[0]['order']}"
    return f"{_number(found[0][row['by']])}{order}{'' if found[0]['fits'] else '*'}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _size(value: float) -> str:
    return f"{value / 2**30:.4g} GiB" if value >= 2**20 else f"{value:g} B"
