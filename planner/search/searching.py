"""Runs the steps of a programme on a problem."""

from __future__ import annotations

from collections.abc import Iterable

from planner.problem import Placement
from planner.search.incumbent import Candidate
from planner.search.state import SearchState
from planner.search.step import Step
from planner.search.steps.baselines import Baselines


def search(state: SearchState, brief: bool = False) -> Candidate | None:
    """Search over placements and schedules. Returns the best candidate.

    None if a limit was reached before there was any, or if the bound shows that no schedule is as short as asked for.
    ``brief``: known rules and a little annealing only. Raises ``Impossible`` with the proof that there is no plan.
    """
    Baselines().run(state)
    # These load numba and HiGHS, which a first plan does not need.
    from planner.search.compiling import compile_if_needed
    from planner.search.programme import OPENING, begin_ahead, programme

    compile_if_needed(state.incumbent.control, state.incumbent.publish_best)
    steps = programme(state, brief)
    begin_ahead(state, steps)
    try:
        for step in OPENING:
            if step.supports(state):
                step.run(state)
            if state.incumbent.hopeless:
                return None
        return run_steps(state, steps)
    finally:
        if state.ahead is not None:
            state.ahead.end()


def search_on(state: SearchState, placement: Placement) -> Candidate | None:
    """Search for the best schedule on one placement; None if there was no time for any."""
    from planner.search.compiling import compile_if_needed
    from planner.search.programme import on_placement
    from planner.search.steps.bounds import CheapBounds

    compile_if_needed(state.incumbent.control)
    CheapBounds().run(state)
    state.try_placement(placement)
    return run_steps(state, on_placement(state))


def run_steps(state: SearchState, steps: Iterable[Step]) -> Candidate | None:
    """Run the steps while there is a gap and time. A plan is made before each, since a step may not return in time."""
    incumbent = state.incumbent
    for step in steps:
        if incumbent.best is None or incumbent.met:
            break
        if step.supports(state):
            incumbent.publish_best()
            step.run(state)
    return incumbent.best
