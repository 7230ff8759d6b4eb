"""Begins with plans that were handed in: their placements are tried, and their orders are played."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.problem import Placement
from planner.search.state import SearchState

if TYPE_CHECKING:  # it loads numba
    from planner.scheduling.list_search import ListSearch
    from planner.timetable.timetable import Timetable


@dataclass(frozen=True)
class Starts:
    """Schedule the placements of the plans to begin with by known rules and by the plans' own orders."""

    name: str = "plans to begin with"

    def supports(self, state: SearchState) -> bool:
        """Whether there are any."""
        return bool(state.starts)

    def run(self, state: SearchState) -> None:
        """Each in turn."""
        for timetable in state.starts:
            state.try_placement(timetable.placement)
            for search in _on(state, timetable.placement):
                if _is_complete(search, timetable):
                    search.follow(timetable)
                    state.incumbent.offer_search(search, "the order of the plan to begin with")


def _on(state: SearchState, placement: Placement) -> list[ListSearch]:
    """The searches on a placement; a new one where there was no effort left for its rules. None where it is pruned."""
    from planner.scheduling.list_search import DoesNotFit, ListSearch

    found = [search for search in state.searches if search.full.placement.key == placement.key]
    best = state.incumbent.best
    if found or (best is not None and state.incumbent.bound_of(placement) > best.makespan):
        return found
    try:
        search = ListSearch.of(state.problem, placement, state.seed, state.params.schedule)
    except DoesNotFit:
        return []
    state.add(search)
    return [search]


def _is_complete(search: ListSearch, timetable: Timetable) -> bool:
    """Whether the timetable has a start for every task and transfer: the graph may have changed."""
    try:
        start = search.full.starts_of(timetable)
    except KeyError:  # a transfer that took no time then
        return False
    if start is None:
        return False
    listed = np.arange(start.shape[1]) < search.full.count[:, None]
    return not bool(np.isnan(start[listed]).any())
