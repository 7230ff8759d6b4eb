"""Changes devices or versions of operators under the best schedule, whose order is kept.

Rules alone cannot tell what a change does to a schedule that has been tuned: they fall back behind it. So the tasks of
the changed placement are scheduled by the starts of that schedule, once in exactly this order and once with the starts
as keys, and the better one is justified. A weight gradient that was part of the input gradient follows it, one that is
part of it now is gone, and a new transfer follows its producer. Annealing then makes use of the memory or the time that
is free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from planner.common.threads import side_by_side
from planner.common.tolerance import SAME
from planner.placement.loads import Loads
from planner.placement.merge import merge
from planner.placement.versions import flipped
from planner.problem import Placement, PlacementKey
from planner.scheduling.classes import Classes, Floats
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.search.state import SearchState
from planner.search.steps.anneal_orders import anneal
from planner.search.steps.move_operators import bottleneck, other_devices


@dataclass(frozen=True)
class ChangePlacement:
    """A round of changes, each kept unless the schedule is longer with it; then annealing.

    From the best schedule on or from one of its rivals, which began elsewhere and are nearly as good: from the one that
    would be the shortest if it gained as much as in its last round.
    """

    name: str = "change placement"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled, and operators have alternatives or may run elsewhere."""
        problem = state.problem
        movable = problem.layout == "auto" and problem.n_devices > 1
        return bool(state.searches) and (bool(problem.free) or movable)

    def run(self, state: SearchState) -> None:
        """A round; its gain says how promising the next one from there is."""
        params = state.params.change
        gains: dict[PlacementKey, float] = state.learnt.setdefault(self.name, {})  # by root

        def next_round(search: ListSearch) -> float:
            return search.seconds * (1.0 - gains.get(state.root(search), params.expected))

        begun = min(state.rivals(params.rival, params.rivals), key=next_round, default=None)
        if begun is None:
            return
        before = begun.seconds
        changed = self._round(state, begun)
        gains[state.root(begun)] = 1.0 - changed.seconds / before
        if changed is not begun:
            state.add(changed, begun)

    def _round(self, state: SearchState, begun: ListSearch) -> ListSearch:
        """Of some changes that are tried side by side the best is kept."""
        params, incumbent = state.params.change, state.incumbent
        state.rounds[self.name] += 1
        changes = _Changes(state, np.random.default_rng((state.seed, state.rounds[self.name])))
        current = begun
        many = min(params.changes, params.tasks // state.tasks)
        for _ in range(math.ceil(many / params.at_once)):
            if incumbent.met or current.best is None:
                break
            incumbent.control.report("changing devices and versions of operators")
            drawn = changes.drawn(current)
            tried = side_by_side(partial(_rescheduled, state, current), drawn, state.free_threads)
            found = [search for search in tried if search is not None]
            incumbent.control.spend(sum(search.evaluations for search in found))
            shortest = min(found, key=lambda search: search.seconds, default=None)
            if shortest is not None and shortest.seconds <= current.seconds * (1 + SAME):
                current = shortest
                how = f"changing devices and versions on placement {current.classes.placement.origin}"
                incumbent.offer_search(current, how)
        anneal(state, current, params.rounds)
        return current


class _Changes:
    """Random changes of placements, none of them twice."""

    def __init__(self, state: SearchState, rng: np.random.Generator) -> None:
        self.state, self.rng = state, rng
        self.groups: Sequence[Sequence[int]] = [*merge(state.problem), *state.problem.groups]
        self.loads = Loads(state.problem.relaxed)
        self.tried: set[PlacementKey] = set()

    def drawn(self, current: ListSearch) -> list[Placement]:
        """Some changes of a placement whose busiest stream or channel alone does not take longer than its schedule."""
        params, problem = self.state.params.change, self.state.problem
        busiest = bottleneck(current).devices
        found: list[Placement] = []
        for _ in range(params.draws):
            if len(found) == params.at_once:
                break
            placement = self._changed(current.full.placement, busiest)
            if placement is None or placement.key in self.tried:
                continue
            self.tried.add(placement.key)
            if self.loads.of_copies(placement) * problem.microbatches <= current.seconds:
                found.append(placement)
        return found

    def _changed(self, placement: Placement, busiest: Sequence[int]) -> Placement | None:
        """Another version or another device for some operators; None where that is not allowed."""
        problem, params = self.state.problem, self.state.params.move
        if problem.free and (problem.layout != "auto" or self.rng.random() < params.flipped):
            return flipped(problem, placement, busiest, self.rng, params.from_busiest)
        return other_devices(problem, placement, self.groups, busiest, self.rng, params)


def _rescheduled(state: SearchState, current: ListSearch, placement: Placement) -> ListSearch | None:
    """The search of a changed placement, with a schedule by the starts of another one unless that is much longer."""
    params, best = state.params.change, current.best
    try:
        search = ListSearch.of(state.problem, placement, state.seed, state.params.schedule)
    except DoesNotFit:
        return None
    if best is None:
        return None
    search.pool = current.pool
    starts = _kept(current.full, current.whole(best.start) * current.classes.tick, search.full)
    limit = current.makespan * current.classes.tick / search.classes.tick * params.worse
    for found in search.learn_starts(starts, limit, params.looks):
        if found.makespan <= limit:
            search.keep(found)
    search.justify_once(params.justified)
    return search


def _kept(before: Classes, start: Floats, after: Classes) -> Floats:
    """Starts (seconds) of the classes of another placement by those of this one.

    What is new, a W or a transfer, comes after the pass that it follows.
    """
    row = {before.name(a): a for a in range(before.n)}
    task = {_task(before, a): a for a in range(before.n) if before.target[a] < 0}
    found = np.full((after.n, start.shape[1]), np.nan)
    for a in range(after.n):
        known = row.get(after.name(a), task.get(_task(after, a)) if after.target[a] < 0 else None)
        if known is not None:
            found[a] = start[known]
            continue
        copy, operator, pass_ = _task(after, a)
        follows = task.get((copy, operator, pass_), task[copy, operator, 1 if after.problem.training else 0])
        ends = start[follows] + before.seconds[follows]
        found[a] = np.nanmax(ends) if after.once[a] else ends
    return found


def _task(classes: Classes, a: int) -> tuple[int, int, int]:
    """Copy, operator and pass of a class."""
    return int(classes.copy[a]), int(classes.operator[a]), int(classes.pass_[a])
