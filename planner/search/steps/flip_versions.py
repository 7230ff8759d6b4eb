"""Changes versions of operators in the best schedule, and plays its order again.

Rules alone cannot tell what a change of versions does to a schedule that has been tuned: they fall back behind it. So
the order stays as it is, as far as the tasks are the same: a weight gradient that was part of the input gradient
follows it, and one that is part of it now is gone. Annealing then makes use of the memory or the time that is free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.common.tolerance import SAME
from planner.placement.versions import flipped
from planner.scheduling.classes import Classes, Floats
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.search.state import SearchState
from planner.search.steps.anneal_orders import anneal
from planner.search.steps.move_operators import bottleneck


@dataclass(frozen=True)
class FlipVersions:
    """A round of changes, each kept unless the schedule is longer with it; then annealing."""

    name: str = "change versions"

    def supports(self, state: SearchState) -> bool:
        """Whether operators have alternatives, and anything has been scheduled."""
        return bool(state.problem.free and state.searches)

    def run(self, state: SearchState) -> None:
        """From the best schedule on."""
        params, incumbent = state.params.flip, state.incumbent
        for current in state.ranked[:1]:
            state.rounds[self.name] += 1
            rng = np.random.default_rng((state.seed, state.rounds[self.name]))
            for _ in range(params.changes):
                if incumbent.met:
                    break
                found = _changed(state, current, rng)
                if found is not None:
                    current = found  # noqa: PLW2901
                    incumbent.offer_search(
                        current, f"changing versions on placement {current.classes.placement.origin}"
                    )
            anneal(state, current, params.rounds)
            if not any(current is each for each in state.searches):
                state.add(current)


def _changed(state: SearchState, current: ListSearch, rng: np.random.Generator) -> ListSearch | None:
    """The search after one change of versions, with the order kept; None where that is longer."""
    if current.best is None:
        return None
    busiest = bottleneck(current).devices
    placement = flipped(state.problem, current.full.placement, busiest, rng, state.params.move.from_busiest)
    if placement is None:
        return None
    state.incumbent.control.report("changing versions of operators")
    try:
        search = ListSearch.of(state.problem, placement, state.seed, state.params.schedule)
    except DoesNotFit:
        return None
    whole = current.whole(current.best.start) * current.classes.tick
    for found in search.learn_starts(_kept(current.full, whole, search.full)):
        search.keep(found)
    state.incumbent.control.spend(3)
    if search.best is None or search.seconds > current.seconds * (1 + SAME):
        return None
    search.pool = current.pool
    return search


def _kept(before: Classes, start: Floats, after: Classes) -> Floats:
    """Starts (seconds) of the classes of other versions in the order of these; W that is new follows its I."""
    row = {before.name(a): a for a in range(before.n)}
    found = np.full((after.n, start.shape[1]), np.nan)
    for a in range(after.n):
        name = after.name(a)
        if name in row:
            found[a] = start[row[name]]
        else:  # a weight gradient of its own
            back = row[(*name[:2], 1, *name[3:])]
            found[a] = start[back] + before.seconds[back]
    return found
