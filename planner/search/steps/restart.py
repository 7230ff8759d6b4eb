"""Searches the best placement again: annealing keeps the shape of the schedule that it starts from."""

from __future__ import annotations

from dataclasses import dataclass

from planner.scheduling.list_search import ListSearch
from planner.search.state import SearchState
from planner.search.steps.anneal_orders import anneal
from planner.search.steps.vary_rules import shape


@dataclass(frozen=True)
class Restart:
    """Vary rules again on the best placement, with another seed, then anneal."""

    name: str = "restart"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled."""
        return bool(state.searches)

    def run(self, state: SearchState) -> None:
        """A new search on the same placement, unless its schedule is close to its bound."""
        for search in state.ranked[:1]:
            if state.is_close(search, state.params.restart.close):
                return
            state.rounds[self.name] += 1
            seed = state.seed + state.rounds[self.name]
            again = ListSearch.of(state.problem, search.full.placement, seed, state.params.schedule)
            again = again if search.mirrored is None else again.mirror(seed) or again
            shape(state, again)
            anneal(state, again, state.params.restart.rounds)
            state.add(again)
