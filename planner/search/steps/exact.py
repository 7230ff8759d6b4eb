"""The exact decomposition over both levels: a little of it before other steps, more between them, the rest at last."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.exact.assignments import COMBINATIONS_AT_MOST, combinations
from planner.exact.decomposition import Decomposition
from planner.placement.layouts import all_cuts
from planner.problem import Problem
from planner.scheduling.classes import Classes, Floats
from planner.scheduling.retime import retime
from planner.search.state import SearchState

EXACT = "exact decomposition"
"""Key of ``SearchState.learnt``: the decomposition, which goes on where it was cut off."""

CHOICES_AT_MOST = 64
"""Choices of versions with which every placement of a layout is looked at in each of them."""

TICKS = 2.0**46
"""Ticks of the best makespan where no step divides all times."""


def few_choices(problem: Problem) -> bool:
    """Whether every listed placement can be looked at in all versions."""
    return bool(math.prod(len(some) for some in problem.versions) ** problem.copies <= CHOICES_AT_MOST)


def decides(state: SearchState) -> bool:
    """Whether the problem is of a size at which a proof is not out of reach, and its placements are known."""
    problem = state.problem
    copies = 2 if problem.layout == "bidirectional" else 1
    if combinations(problem) > COMBINATIONS_AT_MOST:
        return False
    listed = problem.layout == "auto" or (
        problem.copies == copies and all_cuts(problem) is not None and few_choices(problem)
    )
    splits = problem.microbatches ** (problem.copies - 1)  # at most
    return listed and state.tasks <= state.params.exact.tasks and splits <= state.params.exact.splits


@dataclass(frozen=True)
class Exact:
    """Shorter schedules and a bound from the exact decomposition, over every placement that the flags allow.

    ``part``: ``first`` and ``more`` have a limit of effort (``ExactParams``), ``all`` has none.
    """

    part: str

    @property
    def name(self) -> str:
        """What it is, and how much of it."""
        return f"{EXACT}, {self.part}"

    def supports(self, state: SearchState) -> bool:
        """Whether it can decide the problem, and the part before has brought something."""
        known = state.learnt.get(EXACT)
        return decides(state) and (known is None or known.fruitful or self.part == "all")

    def run(self, state: SearchState) -> None:
        """Go on with the decomposition while it can decide anything."""
        incumbent = state.incumbent
        if incumbent.best is None:
            return
        decomposition = state.learnt.get(EXACT)
        if decomposition is None:
            tick = incumbent.step.seconds or incumbent.best.makespan / TICKS
            on_grid = incumbent.step.seconds is not None
            below = math.ceil(incumbent.cutoff / tick)
            decomposition = Decomposition(state.problem, tick, below, on_grid, all_cuts(state.problem))
            state.learnt[EXACT] = decomposition

        def found(classes: Classes, start: Floats) -> None:
            seconds = retime(classes, start)
            if seconds is not None:
                incumbent.offer(classes.timetable(seconds), f"the {EXACT}")

        control, tick = incumbent.control, decomposition.tick
        params = state.params.exact
        limit = {"first": params.first, "more": params.more}.get(self.part, math.inf) / max(1, state.tasks)
        spent, before = 0.0, (decomposition.decided, incumbent.bound, incumbent.best)
        control.report(EXACT)
        while decomposition.open and not incumbent.met and spent < limit:
            decomposition.shorten(math.ceil(incumbent.cutoff / tick))
            effort = decomposition.step(found, control) if decomposition.open else 0.0
            spent += effort
            control.spend(effort)
        incumbent.raise_bound(min(decomposition.bound * tick, incumbent.best.makespan), EXACT)
        brought = before != (decomposition.decided, incumbent.bound, incumbent.best)
        few = len(state.problem.groups) * state.problem.copies <= params.decisions
        decomposition.fruitful = brought or (few and self.part == "first")
        state.notes = [*(note for note in state.notes if not note.startswith(EXACT)), decomposition.describe()]
        if not incumbent.met:  # where order and time are hard to decide, the other searches of level 2 may do better
            best = incumbent.best.timetable.placement
            for placement in (best, *decomposition.promising(params.proposed)):
                state.try_placement(placement)
