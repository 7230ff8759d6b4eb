"""All operators in one version: what a user would set by one flag, searched a little each, beside the best mixed ones.

By known rules alone one choice looks better or worse than it is. What becomes of it when rules are varied and orders
annealed is known only once that has been done. So no plan is worse than a uniform one that was found on the way, and
the report tells what the choice of the plan gains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from planner.common.messages import shown
from planner.placement.versions import Versions, choices_by_kind, in_versions
from planner.scheduling.list_search import DoesNotFit, ListSearch
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
        some = state.uniform.values()
        uniform = {id(search) for searches in some for search in searches}
        mixed = [search for search in state.ranked if id(search) not in uniform]
        chosen = [search for searches in some for search in searches[: params.placements]]
        _tune(state, [*chosen, *mixed[: params.mixed]])
        places = {search.full.placement.device_of: search for search in reversed(state.ranked)}
        new = [
            found
            for search in list(reversed(places.values()))[: params.families]
            for versions in choices_by_kind(state.problem)
            if (found := _by_kind(state, search, versions)) is not None
        ]
        _tune(state, sorted(new, key=lambda search: search.seconds)[: params.by_kind])


def _by_kind(state: SearchState, known: ListSearch, versions: Versions) -> ListSearch | None:
    """The search of a placement in other versions, if the best rules of the one known make it promising."""
    placement = in_versions(state.problem, known.full.placement, versions, "by kind")
    incumbent, params = state.incumbent, state.params.uniform
    if incumbent.met or incumbent.best is None or placement.key in state.seen:
        return None
    state.seen.add(placement.key)
    incumbent.control.report(f"placement {placement.origin}")
    try:
        search = ListSearch.of(state.problem, placement, state.seed, state.params.schedule)
    except DoesNotFit:
        return None
    ticks = incumbent.best.makespan * params.promising / search.classes.tick
    rules = sorted(known.pool, key=lambda entry: entry[0])[: params.rules]
    search.pool = [(search.try_rule(rule, ticks), rule) for _, rule in rules]
    incumbent.control.spend(len(rules))
    if search.best is None:
        return None
    search.justify(incumbent.control)
    state.searches.append(search)
    incumbent.offer_search(search, f"list scheduling on placement {placement.origin}")
    return search


def _tune(state: SearchState, searches: Iterable[ListSearch]) -> None:
    """Vary rules where that may help; with few tasks anneal, too: with many it takes long and changes little."""
    params = state.params.uniform
    for search in searches:
        if state.is_hopeless(search, params.hopeless):
            continue
        vary(state, search, params.varied * min(1.0, params.tasks / search.classes.n_tasks))
        if not state.has_many_tasks:
            anneal(state, search, params.rounds)


def uniform_note(state: SearchState) -> list[str]:
    """What the best schedules found with each uniform choice take, in one line; empty without alternatives."""
    if not state.problem.free:
        return []
    words = []
    for name, searches in state.uniform.items():
        for search in searches[:1]:
            words.append(f"{shown(name)} {state.incumbent.posed_seconds(search.seconds):.6g} s")
    if not words:
        return []
    return [f"best schedules found with one variant for all operators that have it: {', '.join(words)}"]
