"""Exact models at work: order variables on small problems, the counting model on repeated microbatches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from planner.bounds import placement_bound
from planner.placement.layouts import only_placement
from planner.problem import Placement
from planner.scheduling.list.kernel import run
from planner.scheduling.models.counting import STEPS_AT_MOST, VARIABLES_AT_MOST, CountingModel
from planner.scheduling.models.disjunctive import DisjunctiveModel
from planner.scheduling.placement_search import DoesNotFit, ListSearch
from planner.search.incumbent import Incumbent

ROUNDS = 50
ORDER_NODES = 20_000
COUNTING_NODES = 500
PATIENCES = (0.0, 0.5, 2.0, 1e6)


def solve_small(incumbent: Incumbent, seed: int, threads: int) -> None:
    """Placement, order and bound in one model, where the problem is small and the layout free.

    The model leaves out memory and the capacity of channels: it is asked for ever shorter schedules until it has
    none, or what it finds gains nothing once those are respected.
    """
    problem, control = incumbent.problem, incumbent.control
    single = replace(problem, copies=1)  # of several copies the model says nothing, but one is allowed, too
    if problem.layout != "auto" or not DisjunctiveModel.carries(single):
        return
    for _ in range(ROUNDS):
        if incumbent.met or incumbent.best is None:
            return
        before = incumbent.best.makespan
        if incumbent.cutoff <= incumbent.bound:
            return
        control.report("order variables")
        found = DisjunctiveModel(single, incumbent.cutoff).solve(control, threads, ORDER_NODES)
        if problem.copies == 1:
            incumbent.raise_bound(min(found.bound, incumbent.cutoff), "order variables")
        if found.device_of is None:
            return
        try:
            search = ListSearch.of(problem, Placement.single(found.device_of, "order variables"), seed)
        except DoesNotFit:
            return
        _follow(incumbent, search, found.start)
        if incumbent.best.makespan >= before * (1 - 1e-12):
            return


def _follow(incumbent: Incumbent, search: ListSearch, starts: dict[tuple[int, int, int], float]) -> None:
    """Schedules that follow given starts: exactly, as far as memory and channels let them, or as keys."""
    classes = search.classes
    start = np.full((classes.n, int(classes.count.max())), np.nan)
    for a in range(classes.n):
        for k in range(int(classes.count[a])):
            if classes.target[a] < 0:
                start[a, k] = starts[int(classes.operator[a]), int(classes.pass_[a]), k]
    for a in np.flatnonzero(classes.target >= 0).tolist():  # a transfer leaves when what it waits for has ended
        start[a] = np.max([start[b] + classes.seconds[b] for b in classes.preds[a]], axis=0)
    start /= classes.tick
    incumbent.offer_starts(search, start, "order variables")
    keys = np.nan_to_num(start, nan=np.inf)
    for patience in PATIENCES:
        found = run(search.arrays, keys, patience)
        if found.makespan >= 0:
            incumbent.offer_starts(search, found.start, "list scheduling led by order variables", found.turn)


def count(incumbent: Incumbent, search: ListSearch, threads: int, most: int = VARIABLES_AT_MOST) -> None:
    """Ask the counting model, of ``most`` variables at most, for ever shorter schedules on one placement.

    The bound comes first: where it is met, nothing else need be asked. Where an answer does not come in time, a
    longer schedule is asked for. Where the search is folded, its answers "no" prove nothing.
    """
    classes, control = search.classes, incumbent.control
    placement, tick = classes.placement, classes.tick
    if incumbent.best is None:
        return
    lowest = max(incumbent.bound, placement_bound(incumbent.problem, placement))
    low = math.ceil(lowest / tick - 1e-6)  # no schedule has fewer steps
    high = math.ceil(incumbent.best.makespan / tick - 1e-6) - 1  # more are of no interest
    how = f"counting model on placement {placement.origin}"
    target = low
    while low <= high and not incumbent.met and high <= STEPS_AT_MOST:
        model = CountingModel(classes, target)
        if model.size > most:
            return
        control.report(f"{how}, {target * tick:g} s")
        answer = model.solve(control, threads, COUNTING_NODES, certify=placement.copies == 1)
        if answer.start is not None:
            incumbent.offer_starts(search, answer.start, how)
            high = target - 1
            target = (low + high) // 2
        elif answer.impossible:
            low = target = target + 1
            if placement.copies == 1:
                incumbent.placement_bounds[placement.device_of] = low * tick
                only = only_placement(incumbent.problem)
                if only is not None and only.device_of == placement.device_of:
                    incumbent.raise_bound(low * tick, how)
        elif target < high:
            target = (target + high + 1) // 2
        else:
            return
