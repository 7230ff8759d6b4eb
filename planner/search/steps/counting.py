"""The counting model on the best placements: ever shorter schedules, and proofs that there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.placement.layouts import only_placement
from planner.scheduling.list_search import ListSearch
from planner.scheduling.models.counting import STEPS_AT_MOST, VARIABLES_AT_MOST, CountingModel
from planner.search.state import SearchState
from planner.search.steps.exact import decides


@dataclass(frozen=True)
class Counting:
    """Ask the counting model about the best placements; ``small``: only about the very best, if the model is small."""

    small: bool = False

    @property
    def name(self) -> str:
        """Which models are asked."""
        return "counting, small models" if self.small else "counting"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled, and the exact decomposition does not ask the same of all placements."""
        return bool(state.searches) and not decides(state)

    def run(self, state: SearchState) -> None:
        """Ask. A small model, on a coarse grid, soon finds schedules that other searches miss if memory is short."""
        params = state.params.counting
        for search in state.ranked[: 1 if self.small else params.placements]:
            if not state.incumbent.met:
                count(state, search, params.small if self.small else VARIABLES_AT_MOST)


def count(state: SearchState, search: ListSearch, most: int) -> None:
    """Ask the counting model, of ``most`` variables at most, for ever shorter schedules on one placement.

    First it is asked for a schedule as short as the bound. If a question is not answered in time, a longer schedule
    is asked for. With several copies, an answer "no" proves nothing.
    """
    incumbent = state.incumbent
    classes, control = search.classes, incumbent.control
    placement, tick = classes.placement, classes.tick
    if incumbent.best is None:
        return
    low = math.ceil(incumbent.bound_of(placement) / tick - 1e-6)  # no schedule has fewer steps
    high = math.ceil(incumbent.best.makespan / tick - 1e-6) - 1  # more is no improvement
    how = f"counting model on placement {placement.origin}"
    target = low
    while low <= high and not incumbent.met and high <= STEPS_AT_MOST:
        model = CountingModel(classes, target)
        if model.size > most:
            return
        control.report(f"{how}, {target * tick:g} s")
        answer = model.solve(control, state.params.counting.nodes, certify=placement.copies == 1)
        if answer.start is not None:
            incumbent.offer_starts(search, answer.start, how)
            high = target - 1
            target = (low + high) // 2
        elif answer.impossible:
            low = target = target + 1
            if placement.copies == 1:
                incumbent.raise_placement_bound(placement, low * tick)
                only = only_placement(incumbent.problem)
                if only is not None and only.key == placement.key:
                    incumbent.raise_bound(low * tick, how)
        elif target < high:
            target = (target + high + 1) // 2
        else:
            return
