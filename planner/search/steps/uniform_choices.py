"""All operators in one version: what a user would set by one flag, searched a little each.

By known rules alone one choice looks better or worse than it is. What becomes of it when rules are varied and orders
annealed is known only once that has been done. So no plan is worse than a uniform one that was found on the way, and
the report tells what the choice of the plan gains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from planner.common.messages import shown
from planner.scheduling.list_search import ListSearch
from planner.search.state import SearchState
from planner.search.steps.anneal_orders import anneal
from planner.search.steps.vary_rules import vary


@dataclass(frozen=True)
class UniformChoices:
    """Vary rules and anneal orders on the best placements of each uniform choice of versions."""

    name: str = "uniform choices"

    def supports(self, state: SearchState) -> bool:
        """Whether operators have alternatives, and anything has been scheduled."""
        return bool(state.problem.free and state.searches)

    def run(self, state: SearchState) -> None:
        """The best few of each choice."""
        params = state.params.uniform
        best = (search for searches in state.uniform.values() for search in searches[: params.placements])
        tune(state, best, params.varied)


def tune(state: SearchState, searches: Iterable[ListSearch], share: float) -> None:
    """Vary rules where that may help; with few tasks anneal, too: with many it takes long and changes little."""
    params = state.params.uniform
    for search in searches:
        if state.is_hopeless(search, params.hopeless):
            continue
        vary(state, search, share * min(1.0, params.tasks / search.classes.n_tasks))
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
