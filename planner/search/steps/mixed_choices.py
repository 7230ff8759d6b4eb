"""Choices of versions by kind of operator, and shares of a kind on each device, on the best placements.

Local search over versions changes those of some operators at a time, so it does not come from one choice by kind to
another: with more memory left, or less, other rules are the best. And what lies between two choices by kind is often
better than both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.common.tolerance import SAME
from planner.placement.kinds import Between, Versions, between_kinds
from planner.placement.versions import in_versions
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.search.state import SearchState
from planner.search.steps.move_operators import by_known_rules
from planner.search.steps.uniform_choices import tune

ENDS_AND_MIDDLE = (0.5, 0.0, 1.0)
QUARTERS = (0.25, 0.75)


@dataclass(frozen=True)
class MixedChoices:
    """Schedule choices by kind and the middle between two of them, by the best rules known; then near the best ones."""

    name: str = "mixed choices"

    def supports(self, state: SearchState) -> bool:
        """Whether operators have alternatives, and anything has been scheduled."""
        return bool(state.problem.free and state.searches)

    def run(self, state: SearchState) -> None:
        """Ends and middles on each placement, quarters of the best pairs; rules are varied on the best of all."""
        params = state.params.mixed
        tries = _Tries(state)
        found: list[tuple[float, ListSearch, Between]] = []
        for known in _placements(state):
            for pair in between_kinds(state.problem, known.full.placement):
                found += [(new.seconds, known, pair) for new in tries.of(known, pair, ENDS_AND_MIDDLE)]
        for _, known, pair in sorted(found, key=lambda entry: entry[0])[: params.refined]:
            tries.of(known, pair, QUARTERS)
        for count, share in params.tuned:
            tune(state, state.ranked[: max(1, min(count, int(params.varied * _fewer(state)) // state.tasks))], share)


def _fewer(state: SearchState) -> float:
    """The share of the usual effort: with many tasks all later steps take long, too."""
    return min(1.0, state.params.mixed.many / state.tasks)


def _placements(state: SearchState) -> list[ListSearch]:
    """The best searches on different devices."""
    params = state.params.mixed
    some = state.ranked_by_devices[: params.placements]
    return [search for search in some if not state.is_hopeless(search, params.near)]


class _Tries:
    """Searches on placements in other versions, by few rules, until too many tasks have been scheduled."""

    def __init__(self, state: SearchState) -> None:
        self.state, self.left = state, state.params.mixed.tasks * _fewer(state)

    def of(self, known: ListSearch, pair: Between, shares: Sequence[float]) -> list[ListSearch]:
        """Those that are promising at some shares of a pair, by the best rules of the search ``known``."""
        some = (self._tried(known, pair.at(share)) for share in shares)
        return [new for new in some if new is not None]

    def _tried(self, known: ListSearch, versions: Versions) -> ListSearch | None:
        state, params = self.state, self.state.params.mixed
        placement = in_versions(state.problem, known.full.placement, versions, "by kind")
        incumbent = state.incumbent
        if incumbent.met or incumbent.best is None or placement.key in state.seen or self.left <= 0:
            return None
        state.seen.add(placement.key)
        if not state.problem.allows_copies(placement):
            return None
        if incumbent.bound_of(placement) > incumbent.best.makespan * (1 + SAME):
            return None
        incumbent.control.report(f"placement {placement.origin}")
        limit = incumbent.best.makespan * params.promising
        try:
            search = by_known_rules(state, placement, known, limit, params.rules, None, state.free_threads)
        except DoesNotFit:
            return None
        if search.best is not None:
            state.searches.append(search)
            incumbent.offer_search(search, f"list scheduling on placement {placement.origin}")
        self.left -= search.evaluations * search.classes.n_tasks
        return None if search.best is None else search
