"""The results of whole steps as docs/whole-steps.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from case_studies.whole_listed import (
    BASE,
    BEGUN,
    OURS,
    Case,
    Goal,
    Row,
    best_baseline,
    best_uniform,
    frontier,
    makespan_of,
    plan_of,
    told,
)

METHOD = """\
A training step to its end: after the microbatches come the reduction of gradients, the optimizer and the gathering of
weights. And operators with alternatives: the plan decides, operator by operator, what is recomputed.

`.venv/bin/python scripts/whole_step_cases.py` runs each line in a process of its own: `planner solve` with the flags
and the time limit of its line, and `planner verify` on every plan. The rows are kept in
[whole-steps.json](whole-steps.json), so that cases can be run in several calls (`--only NAME`, `--missing`); this page
is written from that file.

How to read it:

- **ours**: makespan in seconds of the plan that may choose (`--variants all`). **bound**: proven for every placement,
  schedule and choice. **seconds**: of the whole command.
- **versions**: how many operators (copies of them, with two) of each kind are in which version; kinds that have no
  variants are left out.
- **uniform**: our plan with every operator that has it in one version (`--variants NAME`; base: as it stands), within
  the same time limit. **begun with it**: ours once more, for the same time again, from that plan on (`--start`).
  Names such as `attention recompute` are uniform by kind: those operators, the rest at base.
- **baseline**: the shortest published schedule that fits into memory, with every operator that has it in one version
  (`planner baseline NAME --variant NAME`), whatever its copies. In the first table the best over all choices.
"""

PICTURE = """\
The line `planner` is the better of **ours** and **begun with it**, so of two runs; each uniform choice had one. Where
**ours** alone is longer than a uniform choice, the table of goals says so.
"""

TWO_COPIES = """\
Each copy of a layer has a gradient of its own for the weights, and sends it to the other copy before the reduction.

- **exchanges**: time of these transfers on the busiest channel, and how many there are in all; with one copy there are
  none. **without exchanges**: the step of the schedule if copies kept their gradients to themselves.
- **end**: from the last pass of the microbatches to the end of the step.
"""


def page(results: dict[str, Any], cases: list[Case], drawing: str) -> str:
    """The whole page; ``drawing``: the name of the picture of the frontier beside it."""
    rows: dict[str, Row] = results["rows"]
    run = [case for case in cases if rows.get(case.name, {}).get("runs")]
    out = (
        "# Whole steps and what they recompute\n\nWritten by scripts/whole_step_cases.py; do not edit.\n\n"
        + METHOD
        + "\n"
    )
    out += _table(
        ("case", "ours", "bound", "gap", "peak", "seconds", "best uniform", "begun with it", "best baseline"),
        "l" + "r" * 8,
        (_first(case, rows[case.name]) for case in run),
    )
    missing = [case.name for case in cases if case not in run]
    if missing:
        out += f"\nNot run: {'; '.join(missing)}.\n"
    out += "\n## What was to be reached\n\n"
    goals = [(case.name, goal.text, verdict(goal, rows[case.name])) for case in run for goal in case.goals]
    out += _table(("case", "goal", "reached"), "lll", goals)
    out += "\n## What was chosen\n\n"
    out += _table(("case", "versions"), "ll", ((case.name, _escaped(versions(rows[case.name]))) for case in run))
    out += "\n## Every uniform choice\n\n"
    columns = ("case", "choice", "planned", "bound", "gap", "peak", "seconds", "best baseline")
    out += _table(columns, "ll" + "r" * 6, (line for case in run for line in _uniform(case, rows[case.name])))
    out += _frontier([case for case in run if frontier(case)], rows, drawing)
    out += "".join(_beside(case, rows[case.name]) for case in run if case.beside)
    out += "\n## How each was run\n\nChanged: without step tasks, or only with the variants of that choice.\n\n"
    columns = ("case", "command", "seconds", "process", "plan", "commit", "date")
    out += _table(columns, "llrrlll", (line for case in run for line in _circumstances(case, rows[case.name])))
    machines = {run["machine"]: None for row in rows.values() for run in row.get("runs", {}).values()}
    return out + "\nMachine: " + " ".join(machines) + "\n"


def text(results: dict[str, Any], cases: list[Case]) -> str:
    """Makespans, goals and choices of the cases that were run, for a terminal."""
    lines = []
    for case in cases:
        row = results["rows"].get(case.name)
        if row is None:
            continue
        _, ours, bound, gap, peak, *_ = _first(case, row)
        lines.append(f"{case.name}: {ours}, bound {bound}, gap {gap}, peak {peak}; {versions(row)}")
        lines += [f"  {goal.text}: {verdict(goal, row)}" for goal in case.goals]
    return "\n".join(lines) + "\n"


def verdict(goal: Goal, row: Row) -> str:
    """In a word, with the figures behind it."""
    found = goal.reached(row)
    word = "not known" if found is None else "yes" if found else "**no**"
    figures = goal.figures(row)
    return word + (f" ({figures})" if figures else "")


def versions(row: Row, choice: str = OURS) -> str:
    """``layer.*.attention: 40 recompute, 18 fused; layer.*.experts: 58 base``."""
    plan = plan_of(row, choice)
    if plan is None:
        return "-"
    free = {kind for run in row["runs"].values() for kind in _varied(run.get("plan"))}
    parts = []
    for kind, counts in plan["versions"].items():
        if kind in free:
            most = sorted(counts.items(), key=lambda item: -item[1])
            parts.append(f"{kind}: " + ", ".join(f"{count} {version}" for version, count in most))
    return "; ".join(parts) or f"all {BASE}"


def _escaped(text: str) -> str:
    return text.replace("*", "\\*")


def _varied(plan: Row | None) -> list[str]:
    return [] if plan is None else [kind for kind, counts in plan["versions"].items() if set(counts) - {BASE}]


def _no_baseline(row: Row) -> str:
    return "none fits" if row.get("baselines") else "not run"


def _first(case: Case, row: Row) -> tuple[str, ...]:
    uniform, other, run = best_uniform(row), best_baseline(row), row["runs"].get(OURS, {})
    return (
        case.name,
        *_figures(run),
        "-" if uniform is None else f"{uniform[1]:.5g} s {uniform[0]}",
        _seconds(makespan_of(row, BEGUN)),
        _no_baseline(row) if other is None else told(other),
    )


def _seconds(makespan: float | None) -> str:
    return "-" if makespan is None else f"{makespan:.5g} s"


def _figures(run: Row) -> tuple[str, str, str, str, str]:
    """Makespan, bound, gap, peak, seconds of the command."""
    plan = run.get("plan")
    if plan is None or not run.get("verified"):
        return (f"none: {run.get('error', 'not valid')}" if run else "not run", "-", "-", "-", "-")
    gap = "-" if plan["gap"] is None else f"{plan['gap']:.2%}"
    bound = "-" if plan["lower_bound"] is None else f"{plan['lower_bound']:.5g} s"
    peak = f"{plan['peak_memory'] / 2**30:.4g} GiB"
    return f"{plan['makespan']:.5g} s", bound, gap, peak, f"{run['wall_seconds']:.1f}"


def _uniform(case: Case, row: Row) -> Iterator[tuple[str, ...]]:
    for choice in case.choices:
        other = best_baseline(row, choice=choice.name)
        baseline = _no_baseline(row) if other is None else f"{other['makespan']:.5g} s {other['name']}"
        yield (case.name, choice.name, *_figures(row["runs"].get(choice.name, {})), baseline)


def _frontier(cases: list[Case], rows: dict[str, Row], drawing: str) -> str:
    if not cases:
        return ""
    lines = []
    for case in cases:
        row = rows[case.name]
        uniform, other, plan = best_uniform(row), best_baseline(row), plan_of(row)
        lines.append(
            (
                f"{case.cap:g} GiB",
                "-" if plan is None else f"{plan['makespan']:.5g} s",
                "-" if uniform is None else f"{uniform[1]:.5g} s {uniform[0]}",
                _seconds(makespan_of(row, BEGUN)),
                _no_baseline(row) if other is None else told(other),
                _escaped(versions(row)),
            )
        )
    columns = ("cap", "ours", "best uniform", "begun with it", "best baseline", "versions")
    table = _table(columns, "rrrrrl", lines)
    return f"\n## Memory and time\n\n![Makespan over the cap of memory]({drawing})\n\n{PICTURE}\n{table}"


def _beside(case: Case, row: Row) -> str:
    """Our plan and the baselines' with two copies, and what the second copy costs at the end of the step."""
    lines = []
    plans = {"ours": row["runs"].get(OURS, {}), **{name: row.get("plans", {}).get(name, {}) for name in case.beside}}
    for name, run in plans.items():
        plan = run.get("plan")
        if plan is None:
            lines.append((name, *["-"] * 7))
            continue
        lines.append(
            (
                name,
                run.get("choice", "chosen"),
                f"{plan['makespan']:.5g} s",
                "-" if run.get("without_exchanges") is None else f"{run['without_exchanges']:.5g} s",
                str(plan["copies"]),
                f"{plan['exchange_seconds'] * 1e3:.4g} ms ({plan['exchanges']})",
                f"{(plan['makespan'] - plan['last_microbatch']) * 1e3:.4g} ms",
                f"{plan['peak_memory'] / 2**30:.4g} GiB",
            )
        )
    columns = ("plan", "versions", "step", "without exchanges", "copies", "exchanges", "end", "peak")
    return f"\n## {case.name[:1].upper()}{case.name[1:]}\n\n{TWO_COPIES}\n" + _table(columns, "ll" + "r" * 6, lines)


def _circumstances(case: Case, row: Row) -> Iterator[tuple[str, ...]]:
    for choice, run in row["runs"].items():
        plan = run.get("plan")
        checked = "none" if plan is None else f"{plan['tasks']:,} tasks, {'valid' if run['verified'] else 'NOT VALID'}"
        named = choice if any(choice == c.name and not c.kinds for c in case.choices) or choice == OURS else "chosen"
        named, start = (OURS, ["--start", "PLAN"]) if choice == BEGUN else (named, [])
        graph = case.config + ("" if case.step and (named == choice or start) else " (changed)")
        words = [graph, *case.flags, "--variants", named, "--time-limit", f"{run['limit']:g}", *start]
        yield (
            f"{case.name}: {choice}",
            f"`{' '.join(words)}`",
            f"{run['wall_seconds']:.1f}",
            f"{run['peak_rss'] / 1e9:.2f} GB",
            checked,
            run.get("commit", "unknown"),
            run.get("date", "unknown"),
        )


def _table(columns: tuple[str, ...], aligned: str, lines: Any) -> str:
    marks = "".join("---|" if side == "l" else "--:|" for side in aligned)
    out = "| " + " | ".join(columns) + " |\n|" + marks + "\n"
    return out + "".join("| " + " | ".join(line) + " |\n" for line in lines)


def frontier_points(results: dict[str, Any], cases: list[Case]) -> dict[str, list[tuple[float, float]]]:
    """What the picture shows: caps in GiB and seconds of our plan, of uniform choices, of the best baseline, bounds."""
    found: dict[str, list[tuple[float, float]]] = {}
    for case in cases:
        row = results["rows"].get(case.name, {})
        if case.cap is None or not row.get("runs"):
            continue
        plan, other = plan_of(row), best_baseline(row)
        values = {"best baseline": None if other is None else other["makespan"]}
        values |= {f"uniform: {choice.name}": makespan_of(row, choice.name) for choice in case.choices}
        ours = [seconds for run in (OURS, BEGUN) if (seconds := makespan_of(row, run)) is not None]
        values |= {"bound": None if plan is None else plan["lower_bound"], "planner": min(ours, default=None)}
        for name, value in values.items():
            found.setdefault(name, [])
            if value is not None:
                found[name].append((case.cap, value))
    return {name: points for name, points in found.items() if points}
