"""The table of a sweep for a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from planner.report.facts import PlanFacts
from planner.report.words import cut, gap, percent, plain, seconds, size
from planner.sweeping.rows import Row, axes, value_in_words

NARROWEST = 116
"""Columns below which the figures of a point do not stand in one line; a narrower terminal breaks the lines itself."""


def sweep_text(rows: Sequence[Row], width: int = 100, color: bool = False) -> str:
    """A line a point: the flags that vary, its figures, the best baseline."""
    varying = list(axes([row.point for row in rows]))
    thresholds = any(row.met is not None for row in rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in varying:
        table.add_column(name.replace("microbatches", "micro- batches").replace("_", " "), justify="right")
    for name in ("makespan", "bound", "gap", "bubble", "peak", "best baseline"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status", overflow="fold")
    if thresholds:
        table.add_column("met")
    for row in rows:
        flags, plan, best = row.point.all_flags, row.plan, row.best_baseline
        cells = [plain(value_in_words(name, flags.get(name))) for name in varying]
        if plan is None:
            cells += ["-"] * 6 + [f"{row.status}: {cut(plain(row.reason), 120)}" if row.reached else row.status]
        else:
            baseline = "-" if best is None else f"{best.name} {seconds(best.makespan, 4)}"
            within = gap(plan.gap) if plan.gap is None or plan.gap < 1e-3 else percent(plan.gap, 1)
            cells += [seconds(plan.makespan, 4), seconds(plan.lower_bound, 4), within, percent(plan.bubble_ratio, 1)]
            cells += [size(PlanFacts(plan).peak_memory, 3), baseline, row.status]
        table.add_row(*cells, *(["-" if row.met is None else "yes" if row.met else "no"] if thresholds else []))
    made = io.StringIO()
    console = Console(
        file=made, width=max(width, NARROWEST), force_terminal=color, no_color=not color, highlight=False, markup=False
    )
    console.print(table)
    return "\n".join(line.rstrip() for line in made.getvalue().splitlines()).strip("\n") + "\n"


def sweep_line(rows: Sequence[Row]) -> str:
    """The one line of ``--quiet``."""
    plans = [row.plan for row in rows if row.plan is not None]
    best = min(plans, key=lambda plan: plan.makespan, default=None)
    what = "" if best is None else f", shortest makespan {seconds(best.makespan)}"
    return f"sweep: {len(rows)} points, {len(plans)} with a plan{what}\n"
