"""The results of disturbed replays: a table for people, a document for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from planner.report.tables import rendered, table
from planner.report.words import NONE, number, percent, plain, time_unit
from planner.simulate.disturb import Disturbance
from planner.simulate.replays import Outcome

WITHOUT_FILES = (
    "Without graph and cluster the plan does not say what a pass reads: it waits for all passes of its microbatch that "
    "the plan ends before it. That is exact for a chain of operators and pessimistic for others; --graph GRAPH and "
    "--cluster CLUSTER make it exact."
)
LATE = (
    "What a baseline sends late, at the end of a fused block or a full backward pass, shows then only where it delays "
    "the planned step, which is in its favour."
)

SCHEMA = "planner/simulation@1"
QUANTILES = {"p5": 0.05, "p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Row:
    """A plan and its outcome; ``outcome`` None: only its planned makespan is known."""

    name: str
    planned: float
    outcome: Outcome | None
    fits: bool | None = None
    baseline: bool = False


@dataclass(frozen=True)
class Simulation:
    """All that was replayed, the plan first, and how."""

    title: str
    rows: Sequence[Row]
    disturbance: Disturbance
    runs: int
    seed: int
    exact: bool

    @property
    def plan(self) -> Outcome:
        """The outcome of the plan itself."""
        outcome = self.rows[0].outcome
        assert outcome is not None, "the plan is always replayed"
        return outcome


def simulation_text(made: Simulation, width: int = 100, color: bool = False) -> str:
    """A row a plan, in one unit of time, and what the columns mean."""
    longest = max([row.planned for row in made.rows] + [float(made.plan.makespans.max())])
    unit, unit_name = time_unit(longest)
    headings = ["planned", "mean", *QUANTILES, "worst", "slowdown"]
    several = len(made.rows) > 1
    columns = [(f"{unit_name}", "left"), *((heading, "right") for heading in headings)]
    columns += [("beyond", "right"), ("faster", "right")] if several else []
    shown = table(columns)
    for k, row in enumerate(made.rows):
        cells = [plain(row.name) + (" *" if row.fits is False else ""), number(row.planned / unit)]
        cells += [NONE] * 7 if row.outcome is None else _cells(row.outcome, unit)
        if several:
            cells += [NONE, NONE] if k == 0 else _against(made.plan, row)
        shown.add_row(*(Text(cell, style="bold" if k == 0 else "") for cell in cells))
    head = [Text(plain(made.title), style="bold"), Text(_disturbed(made)), Text()]
    return rendered([*head, shown, Text(), *(Text(line, style="dim") for line in _meaning(made))], width, color)


def _cells(outcome: Outcome, unit: float) -> list[str]:
    figures = [outcome.mean, *(outcome.quantile(q) for q in QUANTILES.values()), float(outcome.makespans.max())]
    return [*(number(figure / unit) for figure in figures), f"{outcome.slowdown:.3f}"]


def _against(plan: Outcome, row: Row) -> list[str]:
    faster = NONE if row.outcome is None else _share(plan.faster_than(row.outcome))
    return [_share(plan.beyond(row.planned)), faster]


def _share(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"


def _disturbed(made: Simulation) -> str:
    words = [
        f"{made.runs} run{'' if made.runs == 1 else 's'}, seed {made.seed}",
        f"passes and transfers vary by {percent(made.disturbance.jitter)}",
    ]
    words += [f"{plain(name)} x {number(factor)}" for name, factor in made.disturbance.slow_devices.items()]
    words += [
        f"transfers {plain(source)} to {plain(target)} x {number(factor)}"
        for (source, target), factor in made.disturbance.slow_links.items()
    ]
    return ", ".join(words)


def _meaning(made: Simulation) -> list[str]:
    lines = [
        "Orders on all streams and channels and the order of taking memory are the plan's; each start waits for what "
        "it needs. p5 to p99: the makespan that so many percent of the runs do not exceed; slowdown: mean / planned."
    ]
    if len(made.rows) > 1:
        lines.append(
            "beyond: how often the disturbed plan takes longer than the baseline's planned makespan. "
            "faster: how often the plan is the faster one of the two under the same disturbance."
        )
    if any(row.fits is False for row in made.rows):
        lines.append("*: over the memory cap, could not run; its memory is held to its own planned peak.")
    if not made.exact:
        lines.append(WITHOUT_FILES)
        if any(row.baseline and row.outcome is not None for row in made.rows):
            lines.append(LATE)
    if any(row.outcome is None for row in made.rows):
        lines.append(
            "Rows without distribution: the plan names only the planned makespan of these baselines; with --graph and "
            "--cluster they are replayed, too."
        )
    return lines


def simulation_document(made: Simulation) -> dict[str, Any]:
    """The same as one JSON document (``planner/simulation@1``), seconds and shares."""
    disturbance = made.disturbance
    return {
        "schema": SCHEMA,
        "runs": made.runs,
        "seed": made.seed,
        "jitter": disturbance.jitter,
        "slow_devices": dict(disturbance.slow_devices),
        "slow_links": [{"from": a, "to": b, "factor": f} for (a, b), f in disturbance.slow_links.items()],
        "exact": made.exact,
        "plans": [_entry(made.plan, row, first=k == 0) for k, row in enumerate(made.rows)],
    }


def _entry(plan: Outcome, row: Row, first: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": row.name, "planned": row.planned, "fits": row.fits}
    if row.outcome is not None:
        entry["mean"] = row.outcome.mean
        entry |= {name: row.outcome.quantile(q) for name, q in QUANTILES.items()}
        entry |= {"best": float(row.outcome.makespans.min()), "worst": float(row.outcome.makespans.max())}
        entry["slowdown"] = row.outcome.slowdown
    if not first:
        entry["plan_beyond_it"] = plan.beyond(row.planned)
        entry["plan_faster"] = None if row.outcome is None else plan.faster_than(row.outcome)
    return entry
