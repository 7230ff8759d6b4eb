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

NEW = -1
"""The number of a class that there was not before."""


@dataclass(frozen=True)
class ChangePlacement:
    """Rounds of changes, of which hardly longer schedules are accepted on the way; then annealing of orders.

    The first time, rounds from several schedules; later, one from the best schedule on or from one of its rivals, which
    began elsewhere and are nearly as good: from the one that would be the shortest if it gained as much as in its last
    round.
    """

    name: str = "change placement"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled, and operators have alternatives or may run elsewhere."""
        problem = state.problem
        movable = problem.layout == "auto" and problem.n_devices > 1
        return bool(state.searches) and (bool(problem.free) or movable)

    def run(self, state: SearchState) -> None:
        """The first time a race of the best schedules that began elsewhere; then a round."""
        params = state.params.change
        gains: dict[PlacementKey, float] = state.learnt.setdefault(self.name, {})  # by root

        def next_round(search: ListSearch) -> float:
            return search.seconds * (1.0 - gains.get(state.root(search), params.expected))

        if not gains:
            self._race(state, gains)
        begun = min(state.rivals(params.rival, params.rivals), key=next_round, default=None)
        if begun is not None:
            anneal(state, self._round(state, begun, gains), params.rounds)

    def _race(self, state: SearchState, gains: dict[PlacementKey, float]) -> None:
        """A round from each of some schedules, then from each of the best half of them, and so on down to two.

        How far changes lead from a schedule hardly shows in its makespan.
        """
        params = state.params.change
        racing = min(params.racing, params.raced // state.tasks)
        while racing > 1:
            for begun in state.rivals(params.race, racing):
                self._round(state, begun, gains)
            racing //= 2

    def _round(self, state: SearchState, begun: ListSearch, gains: dict[PlacementKey, float]) -> ListSearch:
        """The best schedule met in a round of changes; the gain is noted.

        Of some changes that are tried side by side the best one is accepted if the schedule is no longer, or longer by
        an exponential random number times a temperature, which is Metropolis's rule.
        """
        params, incumbent = state.params.change, state.incumbent
        state.rounds[self.name] += 1
        rng = np.random.default_rng((state.seed, state.rounds[self.name]))
        changes = _Changes(state, rng)
        current = best = begun
        batches = math.ceil(min(params.changes, params.tasks // state.tasks) / params.at_once)
        for batch in range(batches):
            if incumbent.met or current.best is None:
                break
            incumbent.control.report("changing devices and versions of operators")
            drawn = changes.drawn(current)
            tried = side_by_side(partial(_rescheduled, state, current), drawn, state.free_threads)
            found = [search for search in tried if search is not None]
            incumbent.control.spend(sum(search.evaluations for search in found))
            shortest = min(found, key=lambda search: search.seconds, default=None)
            heat = params.hot * (1.0 - batch / batches) * best.seconds * float(rng.exponential())
            if shortest is not None and shortest.seconds <= current.seconds * (1 + SAME) + heat:
                current = shortest
                if current.seconds <= best.seconds * (1 + SAME):
                    best = current
                    how = f"changing devices and versions on placement {best.classes.placement.origin}"
                    incumbent.offer_search(best, how)
        gains[state.root(begun)] = 1.0 - best.seconds / begun.seconds
        if best is not begun:
            state.add(best, begun)
        return best


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
    row = {name: a for a, name in enumerate(before.names)}
    task = {name[:3]: a for name, a in row.items() if name[4] < 0}  # by copy, operator and pass
    known = [row.get(name, task.get(name[:3], NEW) if name[4] < 0 else NEW) for name in after.names]
    found: Floats = start[known]
    for a in [a for a, known_as in enumerate(known) if known_as == NEW]:
        copy, operator, pass_, _, _ = after.names[a]
        follows = task.get((copy, operator, pass_), task[copy, operator, 1 if after.problem.training else 0])
        ends = start[follows] + before.seconds[follows]
        found[a] = np.nanmax(ends) if after.once[a] else ends
    return found
