"""The least period: a placement whose busiest stream or channel works least for a microbatch.

First the families of placements, then annealing over moves of operators, then an integer program from the best so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from planner.bounds.packing import compute_period_bound
from planner.bounds.problem import least_load
from planner.common.budget import Control
from planner.common.threads import side_by_side
from planner.placement.earliest import earliest_finish_placement
from planner.placement.fit import find_fit, fits
from planner.placement.layouts import family_placements
from planner.placement.loads import Loads
from planner.placement.period_model import PeriodModel
from planner.placement.versions import different_choices, in_versions, is_leanest, leanest
from planner.problem import Impossible, Placement, Problem
from planner.search.compiling import compile_if_needed
from planner.search.params import PeriodParams


@dataclass(frozen=True)
class LeastPeriod:
    """The placement found, its period, and a lower bound of all periods (seconds per microbatch)."""

    placement: Placement
    seconds: float
    bound: float


@dataclass
class PeriodSearch:
    """The search on one problem."""

    problem: Problem
    control: Control
    gap: float
    seed: int
    threads: int
    params: PeriodParams
    enough: float = 0.0  # seconds: a period up to this ends the search

    def run(self) -> LeastPeriod | None:
        """The best placement whose memory holds a microbatch; None if none was found in time. Raises ``Impossible``.

        Operators with alternatives are all in the same version, in each that there is, or in those of least memory.
        """
        compile_if_needed(self.control)
        problem = self.problem
        bound = period_bound(problem, self.control)
        if problem.default is problem:
            return self._run(bound)
        best: LeastPeriod | None = None
        lean = leanest(problem)
        refused: Impossible | None = None
        for versions in dict.fromkeys((*different_choices(problem).values(), lean)):
            if best is not None and self._done([(best.seconds, best.placement)], bound):
                break
            try:
                found = replace(self, problem=problem.chosen(versions))._run(bound)
            except Impossible as impossible:
                refused = impossible if versions == lean else refused
                continue
            if found is not None and (best is None or found.seconds < best.seconds):
                best = LeastPeriod(in_versions(problem, found.placement, versions), found.seconds, bound)
        if best is None and refused is not None and is_leanest(problem, lean):
            raise refused
        return best

    def _run(self, bound: float) -> LeastPeriod | None:
        loads = Loads(self.problem)
        found = sorted(self._families(loads), key=lambda each: each[0])
        if self.problem.layout == "auto" and not self._done(found, bound):
            found = sorted([*found, *self._annealed(loads, found, bound)], key=lambda each: each[0])
            if not self._done(found, bound):
                more, proven = self._modelled(loads, found)
                if self.problem.copies == 1:
                    bound = max(bound, proven)
                found = sorted([*found, *more], key=lambda each: each[0])
        for seconds, placement in found:
            if fits(self.problem, placement):
                return LeastPeriod(placement, seconds, min(bound, seconds))
        if self.problem.layout != "auto":
            return None
        free = find_fit(self.problem, self.control)
        return None if free is None else LeastPeriod(free, loads.of(free.device_of[0])[0], bound)

    def _done(self, found: list[tuple[float, Placement]], bound: float) -> bool:
        return self.control.over or (bool(found) and found[0][0] <= self._goal(bound))

    def _goal(self, bound: float) -> float:
        return max(self.enough, bound * (1 + self.gap / 2))

    def _families(self, loads: Loads) -> Iterator[tuple[float, Placement]]:
        self.control.report("periods of the families")
        for placement in family_placements(self.problem):
            yield loads.of_copies(placement), placement

    def _annealed(
        self, loads: Loads, found: list[tuple[float, Placement]], bound: float
    ) -> Iterator[tuple[float, Placement]]:
        self.control.report("annealing over placements")
        single = [placement.device_of[0] for _, placement in found if placement.copies == 1]
        starts = [*single[:2], earliest_finish_placement(self.problem).device_of[0]]
        rngs = np.random.default_rng(self.seed).spawn(self.params.walkers)
        goal = self._goal(bound)
        moves = self.params.moves
        work = [
            partial(loads.anneal, starts[k % len(starts)], moves, goal, self.control, rng) for k, rng in enumerate(rngs)
        ]
        for device_of in dict.fromkeys(side_by_side(lambda job: job(), work, self.threads)):
            yield loads.of(device_of)[0], Placement.single(device_of, "annealing over placements")

    def _modelled(
        self, loads: Loads, found: list[tuple[float, Placement]]
    ) -> tuple[list[tuple[float, Placement]], float]:
        """The placement that the integer program finds, and its bound."""
        model = PeriodModel.of(loads)
        if model is None:
            return [], 0.0
        self.control.report("integer program of the least period")
        start = next((p.device_of[0] for _, p in found if p.copies == 1), None)
        limited = self.control.rest(self.params.model_share)
        device_of, proven = model.solve(start, limited, self.gap / 2, None)
        if device_of is None:
            return [], proven
        return [(loads.of(device_of)[0], Placement.single(device_of, "integer program of the least period"))], proven


def period_bound(problem: Problem, control: Control) -> float:
    """A lower bound of the busiest stream's seconds per microbatch on any placement, without transfers."""
    problem = problem.relaxed
    low = least_load(problem, control)
    if problem.copies > 1:
        return low
    for comm in (False, True):
        for g, members in enumerate(problem.groups):
            here = [i for i in members if bool(problem.on_comm[i]) == comm]
            if here:
                low = max(low, float(problem.duration[here].sum(axis=(0, 1))[problem.group_runs_on[g]].min()))
    return compute_period_bound(problem, low, 2.0 * low, control)
