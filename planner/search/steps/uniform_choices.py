"""All operators in one version: what a user would set by one flag, searched a little each, beside the best mixed ones.

By known rules alone one choice looks better or worse than it is. What becomes of it when rules are varied and orders
annealed is known only once that has been done. So no plan is worse than a uniform one that was found on the way, and
the report tells what the choice of the plan gains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from planner.common.messages import shown
from planner.placement.versions import choices_by_kind, different_choices, in_versions
from planner.scheduling.list_search import ListSearch
from planner.search.state import SearchState
from planner.search.steps.anneal_orders import anneal
from planner.search.steps.vary_rules import vary


@dataclass(frozen=True)
class UniformChoices:
    """Vary rules and anneal orders on the best placements of each uniform choice of versions, and of mixed ones."""

    name: str = "uniform choices"

    def supports(self, state: SearchState) -> bool:
        """Whether operators have alternatives, and anything has been scheduled."""
        return bool(state.problem.free and state.searches)

    def run(self, state: SearchState) -> None:
        """The best few of each choice; then choices by kind of operator, where the best of these ran."""
        params = state.params.uniform
        some = [uniform_searches(state, name) for name in different_choices(state.problem)]
        uniform = {id(search) for searches in some for search in searches}
        mixed = [search for search in state.ranked if id(search) not in uniform]
        chosen = [search for searches in some for search in searches[: params.placements]]
        _tune(state, [*chosen, *mixed[: params.mixed]])
        before = {id(search) for search in state.searches}
        places = {search.full.placement.device_of: search.full.placement for search in reversed(state.ranked)}
        by_kind = choices_by_kind(state.problem)
        for placement in list(reversed(places.values()))[: params.families]:
            state.try_all(in_versions(state.problem, placement, versions, "by kind") for versions in by_kind)
        new = [search for search in state.ranked if id(search) not in before]
        _tune(state, new[: params.by_kind])


def _tune(state: SearchState, searches: Iterable[ListSearch]) -> None:
    for search in searches:
        vary(state, search, state.params.uniform.varied)
        anneal(state, search, state.params.uniform.rounds)


def uniform_searches(state: SearchState, name: str) -> list[ListSearch]:
    """The searches on placements with all operators in the versions of one uniform choice, best first."""
    wanted = different_choices(state.problem)[name]
    found = []
    for search in state.ranked:
        placement = search.full.placement
        if all(state.problem.versions_of(placement, copy) == wanted for copy in range(placement.copies)):
            found.append(search)
    return found


def uniform_note(state: SearchState) -> list[str]:
    """What the best schedules found with each uniform choice take, in one line; empty without alternatives."""
    if not state.problem.free:
        return []
    words = []
    for name in different_choices(state.problem):
        for search in uniform_searches(state, name)[:1]:
            words.append(f"{shown(name)} {state.incumbent.posed_seconds(search.seconds):.6g} s")
    if not words:
        return []
    return [f"best schedules found with one variant for all operators that have it: {', '.join(words)}"]
