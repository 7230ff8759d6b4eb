"""CP-SAT as a rival: the interval model of the race, given our plan's placement. Needs OR-Tools (extra `bench`)."""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from planner.plan.plan import Plan
from planner.problem import Placement, Problem
from planner.timetable.timetable import TimedTransfer, Timetable
from racing import shop
from racing.course import check, watch

TICK = 1e-6
"""Seconds: a hundredth of the shortest operators. Durations are rounded up to it, so that a plan stays valid."""

MOST_TASKS = 50_000


class _Rounded(shop._Builder):
    """Durations in whole ticks, rounded up; sizes in whole bytes, rounded up too."""

    def _ticks(self, seconds: float) -> int:
        return math.ceil(seconds / self.shop.tick - 1e-9)


def cpsat(problem: Problem, placement: Placement, limit: float) -> dict[str, Any]:
    """``makespan`` and ``bound`` (of the rounded problem, for this placement) within the limit, or a ``reason``."""
    if reason := _refusal(problem):
        return {"reason": f"not run: {reason}"}
    builder = build(problem, placement)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.json"
        path.write_text(builder.shop.to_json(), encoding="utf-8")
        run = watch([sys.executable, "-m", "racing.cpsat", str(path), "{began}", f"{limit:g}"], limit)
    starts = run.pop("start", None)
    if starts is None:
        return {"reason": run.get("reason") or "no plan in time", "seconds": run["seconds"]}
    found = timetable(problem, placement, builder, starts)
    makespan = found.makespan(problem)
    check(problem, found, makespan)
    bound = run["bounds"][-1][1] if run["bounds"] else None
    return {"makespan": makespan, "bound": bound, "status": run.get("status"), "seconds": run["seconds"]}


def _refusal(problem: Problem) -> str | None:
    """Why the model does not cover the problem; None if it does."""
    tasks = int(problem.has_pass.sum()) * problem.microbatches
    if tasks > MOST_TASKS:
        return f"{tasks:,} tasks, more than {MOST_TASKS:,}"
    if problem.exclusive.any():
        return "the model has no exclusive transfers"
    if not problem.training and problem.activation.any() and np.isfinite(problem.cap).any():
        return "the model knows the memory of training only"
    return None


def build(problem: Problem, placement: Placement) -> _Rounded:
    """The tasks, transfers and memory of the problem on this placement."""
    builder = _Rounded(problem, shop.Shop(TICK))
    for m, copy in enumerate(shop.copies_of(problem, placement)):
        builder.add(m, placement.device_of[copy], copy)
    builder.shop.chains = list(builder.chains.values())
    for d in np.flatnonzero(np.isfinite(problem.cap)).tolist():
        here = {i for copy in placement.device_of for i, e in enumerate(copy) if e == d}
        builder.shop.cap[d] = math.floor(problem.cap_with_slack[d] - sum(problem.parameters[i] for i in here))
    return builder


def timetable(problem: Problem, placement: Placement, builder: _Rounded, starts: list[int]) -> Timetable:
    """The schedule with exact durations: tasks whose durations were rounded up end a little earlier."""
    channels = {number: pair for pair, number in builder.channels.items()}
    table = np.full((problem.n_operators, 3, problem.microbatches), np.nan)
    sent = []
    for t, (i, p, m, target) in enumerate(builder.shop.names):
        seconds = starts[t] * TICK
        if target < 0:
            table[i, p, m] = seconds
        else:
            source, sink = channels[builder.shop.options[t][0][0]]
            sent.append(TimedTransfer(i, p, m, source, sink, seconds, seconds + problem.transfer(i, source, sink)))
    return Timetable(placement, shop.copies_of(problem, placement), table, tuple(sent))


def placement_of(plan: Plan, problem: Problem) -> Placement:
    """The placement of a plan."""
    device_of = [[0] * problem.n_operators for _ in range(plan.copies)]
    for entry in plan.placement:
        device_of[entry.copy][problem.graph.index[entry.operator]] = problem.cluster.index[entry.device]
    return Placement(tuple(map(tuple, device_of)), "of our plan")
