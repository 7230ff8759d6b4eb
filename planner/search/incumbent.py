"""The best schedule and the best bound so far, and whether they meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from planner.common.budget import Control
from planner.common.tolerance import closes
from planner.plan.plan import PlanRepetition
from planner.problem import Placement, PlacementKey, Problem, Step
from planner.scheduling.classes import Floats, Ints
from planner.timetable.timetable import Timetable

if TYPE_CHECKING:  # it loads numba, and the first plan does not need it
    from planner.scheduling.list_search import ListSearch


BETTER = 1e-12
"""Makespans closer than this (relatively) are the same: the first found is kept."""


@dataclass(frozen=True)
class Candidate:
    """A schedule that was found, and how."""

    timetable: Timetable
    makespan: float  # seconds
    how: str
    baseline: bool = False  # whether it is a baseline's: an equally short schedule of the search replaces it
    repeated: PlanRepetition | None = None  # a part of it that is repeated, in a step of very many tasks


@dataclass
class Incumbent:
    """The best schedule and bound of a search so far. Steps offer to it and ask it whether to continue."""

    problem: Problem
    control: Control
    gap: float
    publish: Callable[[Candidate], None]  # makes a verified plan, in case a solver does not return before a stop
    enough: float = 0.0  # seconds: a makespan that need not be improved
    best: Candidate | None = None
    bound: float = 0.0  # seconds, for the problem (all placements)
    placement_bounds: dict[PlacementKey, float] = field(default_factory=dict)  # as far as known

    def __post_init__(self) -> None:
        """Find the step of the grid on which all makespans fall."""
        self.step = Step.of(self.problem)
        self.posed = self.problem  # as a user asked for it: what bounds are of

    @property
    def met(self) -> bool:
        """Whether the best is good enough, or time or effort is used up."""
        enough = self.best is not None and self.best.makespan <= self.enough
        return self.proven or enough or self.control.over

    @property
    def proven(self) -> bool:
        """Whether the gap is within what was asked for."""
        return self.best is not None and self.closed(self.best)

    def closed(self, found: Candidate) -> bool:
        """Whether a schedule is within the gap asked for."""
        makespan = self.posed_seconds(found.makespan)
        return closes(makespan, self.posed_bound, self.gap)

    def posed_seconds(self, makespan: float) -> float:
        """A makespan of the search as that of the problem posed."""
        return makespan

    @property
    def posed_bound(self) -> float:
        """The bound of the problem posed."""
        return self.bound

    @property
    def wants_more(self) -> bool:
        """Whether to schedule another placement: for a first schedule even after the deadline.

        A baseline that meets the bound is replaced by a schedule of the search's own, if there is time.
        """
        if self.best is None:
            return True
        return not self.control.over and (self.best.baseline or not self.met)

    @property
    def hopeless(self) -> bool:
        """Whether the bound shows that no schedule is short enough."""
        return 0 < self.enough < self.bound

    @property
    def goal(self) -> float:
        """The makespan (seconds) at which a search may stop."""
        return max(self.enough, self.bound * (1 + self.gap / 2))

    @property
    def cutoff(self) -> float:
        """Only schedules up to this makespan (seconds) are worth finding; between two points of the grid, if any."""
        if self.best is None:
            return float("inf")
        if self.step.seconds is not None:
            return self.best.makespan - self.step.seconds / 2
        return self.best.makespan * (1 - self.gap / 2)

    def offer(self, timetable: Timetable, how: str, baseline: bool = False) -> None:
        """Keep a schedule if it is better than the best."""
        makespan = timetable.makespan(self.problem)
        equal = 1 + BETTER if self.best is not None and self.best.baseline and not baseline else 1 - BETTER
        if self.best is None or makespan < self.best.makespan * equal:
            self.best = Candidate(timetable, makespan, how, baseline)
            self.control.report(how, best=makespan)

    def offer_search(self, search: ListSearch, how: str) -> None:
        """Offer the best of a list search, with exact times, where it may be better."""
        if search.best is None or (self.best is not None and search.seconds > self.best.makespan * (1 + 1e-9)):
            return
        self.offer_starts(search, search.best.start, how, search.best.turn)

    def offer_starts(self, search: ListSearch, start: Floats, how: str, turn: Ints | None = None) -> None:
        """Offer the schedule in the order of these starts (ticks, of the classes of the search), if it fits."""
        from planner.scheduling.retime import retime

        whole = search.whole(start)
        seconds = retime(search.full, whole, None if turn is None else search.whole(turn.astype(float)))
        if seconds is not None:
            self.offer(search.full.timetable(seconds), how)

    def offer_more(self, search: ListSearch) -> None:
        """Offer what there is to find on the placement of a search besides list schedules."""

    def prove(self, value: Callable[[Problem, Control], float], how: str) -> None:
        """Raise the bound by an argument for any problem."""
        self.raise_bound(value(self.posed, self.control), how)

    def raise_bound(self, bound: float, how: str) -> None:
        """Note a proven bound of the problem."""
        bound = self.step.round_up(bound)
        if bound > self.bound:
            self.bound = bound
            self.control.report(how, bound=bound)

    def raise_placement_bound(self, placement: Placement, bound: float) -> None:
        """Note a proven bound of a placement, in seconds."""
        self.placement_bounds[placement.key] = max(bound, self.placement_bounds.get(placement.key, 0.0))

    def publish_best(self) -> None:
        """Make a plan of the best before a solver runs that may not return in time."""
        if self.best is not None:
            self.publish(self.best)

    def bound_of(self, placement: Placement) -> float:
        """The best bound known for a placement."""
        if self.best is not None and self.best.makespan <= self.bound * (1 + BETTER):
            return self.bound  # the best is optimal: no other placement is of interest
        if placement.key not in self.placement_bounds:
            self.placement_bounds[placement.key] = self._placement_bound(placement)
        return max(self.bound, self.placement_bounds[placement.key])

    def _placement_bound(self, placement: Placement) -> float:
        from planner.bounds import placement_bound

        return self.step.round_up(placement_bound(self.problem, placement))
