"""Varies the rules of the list scheduler."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.scheduling.list_search import ListSearch
from planner.search.state import SearchState


@dataclass(frozen=True)
class VaryRules:
    """Vary rules on the best placements, most on the very best: there ``at_length``, unless that is for a restart.

    Where operators have alternatives, also on the best placements of each uniform choice: it might lose only because
    mixed ones have been tuned already.
    """

    at_length: bool = True
    name: str = "vary rules"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled."""
        return bool(state.searches)

    def run(self, state: SearchState) -> None:
        """A little on each of the best, then at length on the best of them."""
        params = state.params.vary
        for search in self._compared(state):
            vary(state, search, params.compared * math.sqrt(longer(state, search)))
        for search in state.ranked[: int(self.at_length)]:
            length = longer(state, search)
            vary(state, search, length, afresh=length > 1)

    def _compared(self, state: SearchState) -> list[ListSearch]:
        params, most = state.params.vary, state.params.vary.placements
        if state.problem.free:  # changes of placements, which come later, gain more and need the time
            most = max(1, min(most, params.with_versions // state.tasks))
        found = state.ranked[:most]
        for searches in state.uniform.values():
            alike = [search for search in searches[:most] if not state.is_hopeless(search, params.hopeless)]
            found += [search for search in alike if not any(search is other for other in found)]
        return found


def longer(state: SearchState, search: ListSearch) -> float:
    """How long rules are varied, x the usual: with many tasks, the longer the fewer there are."""
    tasks = search.classes.n_tasks
    if tasks <= state.params.schedule.many_tasks:
        return 1.0
    return max(1.0, state.params.vary.long / tasks)


def vary(state: SearchState, search: ListSearch, share: float, afresh: bool = False) -> None:
    """Vary rules, for a share of the usual evaluations; ``afresh``: not those that have been varied before."""
    incumbent = state.incumbent
    if incumbent.met or state.is_close(search):
        return
    how = f"list scheduling on placement {search.classes.placement.origin}, rules varied"
    incumbent.control.report(how)
    evaluations = int(state.params.vary.evaluations * share)
    search.vary_rules(evaluations, incumbent.control, state.goal(search), state.free_threads, afresh)
    incumbent.offer_search(search, how)
