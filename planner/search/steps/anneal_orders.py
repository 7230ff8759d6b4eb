"""Anneals the orders of the best schedules along their critical paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.scheduling.list_search import ListSearch
from planner.search.state import SearchState


@dataclass(frozen=True)
class AnnealSome:
    """Anneal ever fewer of the best searches for ever longer: annealing changes which is best.

    ``halving``: a field of ``AnnealOrdersParams``.
    """

    halving: Literal["first", "some", "brief"]

    @property
    def name(self) -> str:
        """Which halving it is."""
        return f"anneal orders, {self.halving}"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled."""
        return bool(state.searches)

    def run(self, state: SearchState) -> None:
        """So many of the best searches, so many rounds each, then the next entry of the halving."""
        params = state.params.anneal
        halvings = {"first": params.first, "some": params.some, "brief": params.brief}
        for searches, rounds in halvings[self.halving]:
            for search in state.ranked[:searches]:
                anneal(state, search, rounds)


@dataclass(frozen=True)
class AnnealBest:
    """Anneal the best at length."""

    name: str = "anneal orders, best"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled."""
        return bool(state.searches)

    def run(self, state: SearchState) -> None:
        """As long as it gains; only one round with many tasks and a schedule close to its bound."""
        for search in state.ranked[:1]:
            close = state.has_many_tasks and state.is_close(search, state.params.restart.close)
            anneal(state, search, 1 if close else state.params.anneal.rounds)


def anneal(state: SearchState, search: ListSearch, rounds: int) -> None:
    """Rounds of annealing while they gain anything; each improvement is offered at once."""
    incumbent = state.incumbent
    how = f"annealing on placement {search.classes.placement.origin}"
    still = 0
    for _ in range(rounds):
        if incumbent.met or still == state.params.anneal.still or state.is_close(search):
            return
        incumbent.control.report(how)
        before = search.makespan
        search.anneal(1, incumbent.control, state.goal(search), state.free_threads)
        still = 0 if search.makespan < before else still + 1
        incumbent.offer_search(search, how)
