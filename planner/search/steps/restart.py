"""Searches the best placements again: annealing keeps the shape of the schedule that it starts from."""

from __future__ import annotations

from dataclasses import dataclass

from planner.scheduling.list_search import ListSearch
from planner.search.state import SearchState
from planner.search.steps.anneal_orders import anneal
from planner.search.steps.vary_rules import longer, vary


@dataclass(frozen=True)
class Restart:
    """Vary rules again on the best placement, with another seed, then anneal: the next time on its rival.

    With many tasks a search is short: moves of operators and changes of the placement come between two of them.
    """

    name: str = "restart"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled."""
        return bool(state.searches)

    def run(self, state: SearchState) -> None:
        """A new search on the best placement, or on its best rival in turn, unless that is close to its bound."""
        params = state.params.restart
        rivals = state.rivals(params.rival)
        if not rivals:
            return
        state.rounds[self.name] += 1
        search = rivals[(state.rounds[self.name] - 1) % len(rivals)]
        if state.is_close(search, params.close):
            return
        seed = state.seed + state.rounds[self.name]
        again = ListSearch.of(state.problem, search.full.placement, seed, state.params.schedule)
        again = again if search.mirrored is None else again.mirror(seed) or again
        length = longer(state, again)
        vary(state, again, length * (params.share if state.has_many_tasks else 1.0), afresh=length > 1)
        if again.best is None:
            return
        if again.seconds < state.incumbent.cutoff * params.annealed:
            anneal(state, again, params.rounds)
        state.add(again)
