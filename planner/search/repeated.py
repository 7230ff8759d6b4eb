"""The search for a step of very many tasks: on a short step, a part of which is repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from planner.bounds import placement_bound
from planner.bounds.problem import least_load
from planner.common.budget import Control
from planner.problem import Placement, Problem
from planner.scheduling.modulo import modulo_schedule
from planner.scheduling.repetition import repetition_of
from planner.search.incumbent import BETTER, Candidate, Incumbent
from planner.search.params import ModuloParams
from planner.timetable.timetable import Timetable

if TYPE_CHECKING:  # it loads numba
    from planner.scheduling.list_search import ListSearch


@dataclass(frozen=True)
class Shortened:
    """A whole step, the short step that is searched in its place, and the seconds that it is longer, at least.

    A makespan of the search is that of the whole step less these seconds. So it is at least that of the short step,
    equal at the best pace, and limits and bounds of the whole step less the same seconds are those of the search.
    """

    whole: Problem
    short: Problem
    seconds: float

    @staticmethod
    def of(whole: Problem, short: Problem, control: Control) -> Shortened:
        """With what the further microbatches take at the least pace that the load allows."""
        pace = least_load(whole.relaxed, control)
        return Shortened(whole, short, (whole.microbatches - short.microbatches) * pace)

    def whole_of(self, problem: Problem) -> Problem:
        """The whole step of a short one, which may have fewer devices or lower caps."""
        return problem.with_microbatches(self.whole.microbatches)


@dataclass
class RepeatedIncumbent(Incumbent):
    """The best short step that has a part to repeat: the one with the shortest whole step.

    Bounds are those of the whole step: what is proven of the short one proves nothing of it.
    """

    shortened: Shortened = field(kw_only=True)

    def __post_init__(self) -> None:
        """Name the whole step, too."""
        super().__post_init__()
        self.posed = self.shortened.whole_of(self.problem)
        self.proven_seconds = 0.0

    def offer(self, timetable: Timetable, how: str, baseline: bool = False) -> None:
        """Keep a schedule if its whole step is shorter than that of the best."""
        equal = 1 + BETTER if self.best is not None and self.best.baseline and not baseline else 1 - BETTER
        limit = float("inf") if self.best is None else self.posed_seconds(self.best.makespan) * equal
        if self.posed_seconds(timetable.makespan(self.problem)) >= limit:
            return
        found = repetition_of(self.posed, self.problem, timetable)
        if found is not None and found.makespan < limit:
            makespan = found.makespan - self.shortened.seconds
            self.best = Candidate(found.timetable, makespan, how, baseline, found.part)
            self.control.report(how, best=found.makespan)

    def offer_more(self, search: ListSearch) -> None:
        """Offer a modulo schedule, which has a steady state. A list schedule may have none."""
        found = modulo_schedule(search.ordered, ModuloParams.periods)
        if found is not None:
            timetable = search.full.timetable(found.starts(search.ordered))
            self.offer(timetable, f"a modulo schedule on placement {search.full.placement.origin}")

    def prove(self, value: Callable[[Problem, Control], float], how: str) -> None:
        """Raise the bound by an argument for any problem."""
        bound = self.step.round_up(value(self.posed, self.control))
        if bound > self.proven_seconds:
            self.proven_seconds = bound
            self.bound = bound - self.shortened.seconds
            self.control.report(how, bound=bound)

    def raise_bound(self, bound: float, how: str) -> None:
        """Nothing: the bound is of the short step."""

    def raise_placement_bound(self, placement: Placement, bound: float) -> None:
        """Nothing: the bound is of the short step."""

    def posed_seconds(self, makespan: float) -> float:
        """The makespan of the whole step."""
        return makespan + self.shortened.seconds

    @property
    def posed_bound(self) -> float:
        """The bound of the whole step."""
        return self.proven_seconds

    def _placement_bound(self, placement: Placement) -> float:
        return self.step.round_up(placement_bound(self.posed, placement)) - self.shortened.seconds
