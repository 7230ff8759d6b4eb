"""The model with order variables: placement, order and bound of a small problem at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.problem import Placement
from planner.scheduling.list.kernel import run
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.scheduling.models.disjunctive import DisjunctiveModel
from planner.search.state import SearchState


@dataclass(frozen=True)
class OrderVariables:
    """Placement, order and bound in one model, for small problems with a free layout."""

    name: str = "order variables"

    def supports(self, state: SearchState) -> bool:
        """Whether the layout is free and the model small enough."""
        return state.problem.layout == "auto" and DisjunctiveModel.carries(replace(state.problem, copies=1))

    def run(self, state: SearchState) -> None:
        """Ask for ever shorter schedules."""
        solve_small(state)


def solve_small(state: SearchState) -> None:
    """Placement, order and bound in one model, for a small problem with a free layout.

    The model leaves out memory and the capacity of channels. It is asked for ever shorter schedules until there is
    none, or until its schedule gains nothing once memory and channels are respected.
    """
    incumbent, params = state.incumbent, state.params.order_variables
    problem, control = incumbent.problem, incumbent.control
    how = "order variables"
    single = replace(problem, copies=1)  # the model has one copy, which is allowed even where several are
    for _ in range(params.rounds):
        if incumbent.met or incumbent.best is None:
            return
        before = incumbent.best.makespan
        if incumbent.cutoff <= incumbent.bound:
            return
        control.report(how)
        found = DisjunctiveModel(single, incumbent.cutoff).solve(control, state.threads, params.nodes)
        if problem.copies == 1:
            incumbent.raise_bound(min(found.bound, incumbent.cutoff), how)
        if found.device_of is None:
            return
        try:
            search = ListSearch.of(problem, Placement.single(found.device_of, how), state.seed, state.params.schedule)
        except DoesNotFit:
            return
        _follow(state, search, found.start)
        if incumbent.best.makespan >= before * (1 - 1e-12):
            return


def _follow(state: SearchState, search: ListSearch, starts: dict[tuple[int, int, int], float]) -> None:
    """Offer schedules that follow given starts: in their order, or by list scheduling with them as keys."""
    incumbent, classes = state.incumbent, search.classes
    start = np.full((classes.n, int(classes.count.max())), np.nan)
    for a in range(classes.n):
        for k in range(int(classes.count[a])):
            if classes.target[a] < 0:
                start[a, k] = starts[int(classes.operator[a]), int(classes.pass_[a]), k]
    for a in np.flatnonzero(classes.target >= 0).tolist():  # a transfer starts when its predecessors have ended
        start[a] = np.max([start[b] + classes.seconds[b] for b in classes.preds[a]], axis=0)
    start /= classes.tick
    incumbent.offer_starts(search, start, "order variables")
    keys = np.nan_to_num(start, nan=np.inf)
    for look_ahead in state.params.order_variables.look_ahead:
        found = run(search.arrays, keys, look_ahead)
        if found.makespan >= 0:
            incumbent.offer_starts(search, found.start, "list scheduling guided by order variables", found.turn)
