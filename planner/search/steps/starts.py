"""Begins with plans that were handed in: their placements are tried first, and their orders are played."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
            for search in state.searches:
                if search.full.placement.key == timetable.placement.key and _is_complete(search, timetable):
                    search.follow(timetable)
                    state.incumbent.offer_search(search, "the order of the plan to begin with")


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
