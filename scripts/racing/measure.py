"""Comparisons of the runs of a case: which makespan each reached when."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SAME = 1e-9
"""Makespans closer than this (relatively) are the same."""

PROVEN = 1e-6
"""A bound this close (relatively) to a makespan proves it."""

Curve = Sequence[Sequence[float]]
"""Instants (seconds), each with the value known from then on."""


def best(run: dict[str, Any] | None) -> float | None:
    """The best makespan of a run, None if it has none."""
    return run["incumbents"][-1][1] if run and run["incumbents"] else None


def reached(curve: Curve, makespan: float) -> float | None:
    """The instant from which a run has a plan no longer than ``makespan``."""
    return next((t for t, value in curve if value <= makespan * (1 + SAME)), None)


def behind(ours: Curve, theirs: Curve, until: float) -> float:
    """Seconds up to ``until`` during which their plan was shorter than ours."""
    seconds = 0.0
    for (t, value), (end, _) in zip(theirs, [*theirs[1:], (until, 0.0)], strict=True):
        mine = reached(ours, value)
        seconds += max(0.0, min(end, until if mine is None else mine) - t)
    return seconds


@dataclass(frozen=True)
class Ratio:
    """Their time to their best plan over our time to one as short; a bound of it if one side has no such plan."""

    value: float
    sign: str = ""  # "<": at most this, we have no such plan; ">": at least this, they have no plan

    def __str__(self) -> str:
        return f"{self.sign}{self.value:.3g}"


def ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> Ratio | None:
    """The ratio of a case; None where neither has a plan."""
    target = best(theirs)
    if target is None:
        first = ours["incumbents"][0][0] if ours["incumbents"] else None
        return None if first is None else Ratio(max(theirs["limit"], first) / first, ">")
    took = reached(theirs["incumbents"], target) or 0.0
    mine = reached(ours["incumbents"], target)
    return Ratio(took / max(ours["limit"], took), "<") if mine is None else Ratio(took / mine)


def geometric_mean(values: Iterable[float]) -> float | None:
    """The geometric mean of the positive values; None if there are none."""
    logs = [math.log(v) for v in values if v > 0]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def strongest(runs: dict[str, Any]) -> dict[str, Any] | None:
    """The run of the CP-SAT model with the shortest plan, of equals the sooner."""
    found = [runs[name] for name in ("cpsat", "cpsat-ordered") if name in runs]

    def rank(run: dict[str, Any]) -> tuple[float, float]:
        makespan = best(run)
        return (math.inf, 0.0) if makespan is None else (makespan, run["incumbents"][-1][0])

    return min(found, key=rank, default=None)


def proof(run: dict[str, Any] | None) -> float | None:
    """Seconds until a run has proven that its plan is optimal, or that there is none; None where it has not."""
    if not run:
        return None
    if run.get("status") == "infeasible":
        return float(run["seconds"])
    makespan = best(run)
    if makespan is None:
        return None
    enough = next((t for t, bound in run["bounds"] if bound >= makespan * (1 - PROVEN)), None)
    if enough is None and run.get("lower_bound", 0.0) >= makespan * (1 - PROVEN):
        enough = run["seconds"]
    found = reached(run["incumbents"], makespan)
    return None if enough is None or found is None else max(enough, found)


def shortfalls(ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> list[str]:
    """In words, where CP-SAT on the whole problem ends with more than planner, whatever the time."""
    if not ours or not theirs:
        return []
    mine, target = best(ours), best(theirs)
    words = []
    if target is not None and mine is None:
        words.append("no plan, CP-SAT has one")
    if target is not None and mine is not None and mine > target * (1 + SAME):
        words.append(f"makespan {mine / target - 1:.2%} above CP-SAT's")
    if proof(theirs) is not None and proof(ours) is None:
        words.append("CP-SAT proves it, planner does not")
    return words


def losses(runs: dict[str, Any]) -> list[str]:
    """In words, where CP-SAT is better than planner; empty if nowhere."""
    ours, theirs = runs.get("ours"), strongest(runs)
    target = best(theirs)
    if not ours or not theirs or target is None:
        return [] if not ours or best(ours) is not None else ["no plan"]
    words = []
    mine, fraction = best(ours), ratio(ours, theirs)
    if mine is None:
        return ["no plan, CP-SAT has one"]
    if mine > target * (1 + SAME):
        words.append(f"makespan {mine / target - 1:.2%} above CP-SAT's")
    elif fraction is not None and fraction.value < 1:
        words.append(f"its makespan {1 / fraction.value:.3g} times later")
    late = behind(ours["incumbents"], theirs["incumbents"], theirs["limit"])
    if late > 0.05:
        words.append(f"behind it for {late:.1f} s")
    return words
