"""Shared by all objectives: baselines, searches, and verified plans of what they find."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from planner.baselines.replayed import BaselineTimetables, baseline_figures, baseline_timetables, replayed
from planner.common.budget import Control
from planner.common.tolerance import WITHIN
from planner.objectives.certified import verified
from planner.objectives.options import NoPlan, SolveOptions
from planner.plan.build import build_plan
from planner.plan.plan import BaselineFigures, Figure, Plan
from planner.problem import Impossible, Problem
from planner.scheduling.steady_state import pattern_of
from planner.search import Candidate, Incumbent, SearchParams, SearchState, search
from planner.timetable.event_loop import INTERPRETED


class Solving:
    """What all objectives need: the problem, how to search it, and how a schedule becomes a verified plan."""

    def __init__(
        self,
        problem: Problem,
        control: Control,
        options: SolveOptions,
        baselines: BaselineTimetables,
        compared: tuple[BaselineFigures, ...],
    ) -> None:
        self.problem, self.control, self.options = problem, control, options
        self.params = options.params or SearchParams()
        self.baselines, self.compared = baselines, compared
        self.limit = (options.max_makespan or 0.0) * WITHIN  # so that a makespan as a plan prints it can be the limit

    @staticmethod
    def of(problem: Problem, control: Control, options: SolveOptions) -> Solving:
        """Replay the baselines, for comparison and as first schedules."""
        if problem.microbatches * int(problem.has_pass.sum()) > INTERPRETED:  # replays are compiled, too
            from planner.search.compiling import compile_if_needed

            compile_if_needed(control)
        baselines, reasons = replayed(problem, control)
        timetables = dict(entry for entries in baselines.values() for entry in entries)
        compared = tuple(
            baseline_figures(name, problem, timetables[name])
            if name in timetables
            else BaselineFigures(name, reason=reasons[name])
            for name in options.baselines
        )
        return Solving(problem, control, options, baselines, compared)

    def incumbent(self, control: Control, enough: float = 0.0) -> Incumbent:
        """The incumbent of a search; each best schedule becomes a plan at once, for a stop while a solver is busy."""
        incumbent = Incumbent(self.problem, control, self.options.gap, lambda _: None, enough)

        def publish(best: Candidate) -> None:
            # meanwhile nothing is proven for another objective
            self.control.fallback = self.plan(best, incumbent, self.options.objective == "makespan")

        incumbent.publish = publish
        return incumbent

    def state(self, incumbent: Incumbent) -> SearchState:
        """The state of a search on the incumbent's problem, which may be a part of the whole."""
        replay = partial(baseline_timetables, control=incumbent.control)
        baselines = self.baselines
        if incumbent.problem.n_devices < self.problem.n_devices:
            baselines = baseline_timetables(incumbent.problem, incumbent.control)
        options = self.options
        return SearchState(incumbent, baselines, replay, options.seed, options.threads, self.params)

    def plan(
        self,
        best: Candidate,
        incumbent: Incumbent,
        proven: bool = True,
        notes: Sequence[str] = (),
        sought: Sequence[Figure] = (),
    ) -> Plan:
        """The verified plan. ``proven``: whether the objective is, apart from the makespan; ``sought``: its figures."""
        problem, options = self.problem, self.options
        proven &= best.makespan - incumbent.bound <= options.gap * best.makespan
        interrupted = self.control.stop_requested.is_set() and not proven
        plan = build_plan(
            problem,
            best.timetable,
            origin="solve",
            status="optimal" if proven else "interrupted" if interrupted else "feasible",
            lower_bound=incumbent.bound,
            placement_lower_bound=incumbent.bound_of(best.timetable.placement),
            options=options.flags,
            solve_seconds=round(self.control.elapsed, 3),
            baselines=self.compared,
            notes=(f"found by {best.how}", *notes),
            window=pattern_of(problem, best.timetable),
            objective=options.objective,
            sought=sought,
        )
        return verified(plan, problem)

    def shortest(self, control: Control, limit: float = 0.0) -> tuple[Candidate, SearchState]:
        """The shortest schedule, or one within a limit. Raises ``Impossible`` or ``NoPlan``."""
        incumbent = self.incumbent(control, limit)
        state = self.state(incumbent)
        best = search(state)
        if limit and incumbent.bound > limit * WITHIN:
            asked, bound = f"{limit:g}", f"{incumbent.bound:g}"
            if asked == bound:
                asked, bound = f"{limit:.12g}", f"{incumbent.bound:.12g}"
            raise Impossible(f"no plan takes at most {asked} s: none is shorter than {bound} s")
        if best is None or (limit and best.makespan > limit * WITHIN):
            raise NoPlan("no plan was found within the limits, and none is proven not to exist")
        return best, state
