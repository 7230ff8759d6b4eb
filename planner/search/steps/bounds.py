"""Bounds of the problem: cheap ones before the search, expensive ones once there is a schedule to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from planner.bounds import BOUNDS, placement_bound, problem_bound
from planner.common.ahead import Ahead, Later
from planner.common.budget import Control
from planner.placement.layouts import only_placement
from planner.problem import Problem
from planner.search.state import SearchState

DEAR = tuple(bound for bound in BOUNDS if bound.dear)


@dataclass(frozen=True)
class CheapBounds:
    """The cheap bounds over all placements."""

    name: str = "cheap bounds"

    def supports(self, state: SearchState) -> bool:
        """Always."""
        return True

    def run(self, state: SearchState) -> None:
        """Raise the bound."""
        state.incumbent.prove(problem_bound, "bounds")


@dataclass(frozen=True)
class OnlyPlacementBound:
    """The bound of the only placement, if the flags leave a single one."""

    name: str = "bound of the only placement"

    def supports(self, state: SearchState) -> bool:
        """Whether the flags leave a single placement."""
        return only_placement(state.incumbent.posed) is not None

    def run(self, state: SearchState) -> None:
        """Raise the bound."""
        only = only_placement(state.incumbent.posed)
        if only is not None:
            state.incumbent.prove(lambda problem, _: placement_bound(problem, only), "bounds")


@dataclass(frozen=True)
class DearBounds:
    """The bounds over all placements that may take seconds."""

    name: str = "dear bounds"

    def supports(self, state: SearchState) -> bool:
        """Always: a bound that does not apply is 0."""
        return True

    def begin(self, state: SearchState, ahead: Ahead) -> None:
        """Begin to compute them ahead."""
        posed = state.incumbent.posed
        state.later[self.name] = [ahead.begin(partial(bound.of, posed)) for bound in DEAR]

    def run(self, state: SearchState) -> None:
        """Raise the bound by each of them."""
        incumbent, later = state.incumbent, state.later.pop(self.name, [])
        for k, bound in enumerate(DEAR):
            how = f"{bound.name} bound"
            incumbent.control.report(how)
            incumbent.prove(_done(later[k]) if later else bound.of, how)


def _done(later: Later[float]) -> Callable[[Problem, Control], float]:
    return lambda problem, control: later.result()
