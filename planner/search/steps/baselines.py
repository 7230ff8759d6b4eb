"""Offers the baselines as first plans. It loads neither numba nor HiGHS, so the first plan is there at once."""

from __future__ import annotations

from dataclasses import dataclass

from planner.search.state import SearchState
from planner.timetable.figures import figures


@dataclass(frozen=True)
class Baselines:
    """Offer the baselines whose layout, copies and memory the problem allows."""

    name: str = "baselines"

    def supports(self, state: SearchState) -> bool:
        """Whether any applies."""
        return bool(state.baselines)

    def run(self, state: SearchState) -> None:
        """Offer each that is shorter than the best and fits in memory."""
        problem = state.problem
        for layout, timetables in state.baselines.items():
            if problem.layout not in ("auto", layout):
                continue
            for name, timetable in timetables:
                best = state.incumbent.best
                if best is not None and timetable.makespan(problem) >= best.makespan:
                    continue  # checking its memory would take longer
                if timetable.placement.copies <= problem.copies and figures(problem, timetable).fits:
                    state.incumbent.offer(timetable, f"the order of {name}", baseline=True)
