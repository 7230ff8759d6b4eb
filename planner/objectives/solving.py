"""Shared by all objectives: baselines, searches, and verified plans of what they find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from planner.baselines import SCHEDULES
from planner.baselines.choices import choice_of
from planner.baselines.replayed import BaselineTimetables, baseline_figures, baseline_timetables, replayed
from planner.common.budget import Control
from planner.common.tolerance import WITHIN
from planner.objectives.baseline import NO_STEADY_STATE, baseline_repetition
from planner.objectives.certified import verified
from planner.objectives.options import NoPlan, SolveOptions
from planner.plan.build import build_plan
from planner.plan.plan import BaselineFigures, Figure, Plan, Unrestricted
from planner.problem import Impossible, Problem
from planner.runtimes.names import ANY
from planner.scheduling.repetition import Repetition, short_step
from planner.scheduling.steady_state import pattern_of
from planner.search import Candidate, Incumbent, SearchParams, SearchState, search
from planner.search.steps.baselines import Baselines
from planner.timetable.event_loop import INTERPRETED
from planner.timetable.figures import figures
from planner.timetable.period import period
from planner.timetable.timetable import Timetable

if TYPE_CHECKING:  # it loads HiGHS, and the first plan does not need it
    from planner.search.repeated import Shortened

LEAST = 1e-12
"""Seconds: a limit that no step keeps, since 0 stands for none."""

READY_AFTER = 1.0
"""Seconds of replaying baselines after which the first that fits becomes a plan at once."""


class Solving:
    """What all objectives need: the problem, how to search it, and how a schedule becomes a verified plan."""

    def __init__(
        self,
        problem: Problem,
        control: Control,
        options: SolveOptions,
        baselines: BaselineTimetables,
        compared: tuple[BaselineFigures, ...],
        shortened: Shortened | None = None,
    ) -> None:
        self.problem, self.control, self.options = problem, control, options
        self.shortened = shortened
        self.params = options.params or SearchParams()
        self.baselines, self.compared = baselines, compared
        self.starts: tuple[Timetable, ...] = ()
        limit = (options.max_makespan or 0.0) * WITHIN  # so that a makespan as a plan prints it can be the limit
        if limit and shortened is not None:
            limit = max(limit - shortened.seconds, LEAST)
        self.limit = limit

    @staticmethod
    def of(problem: Problem, control: Control, options: SolveOptions) -> Solving:
        """Replay the baselines, for comparison and as first schedules; of a very long step, on a short one."""
        shortened, short = None, short_step(problem)
        if short is not None:
            from planner.search.repeated import Shortened

            shortened = Shortened.of(problem, short, control)
            problem = short
        if problem.microbatches * int(problem.has_pass.sum()) > INTERPRETED:  # replays are compiled, too
            from planner.search.compiling import compile_if_needed

            compile_if_needed(control)

        if options.runtime != ANY:  # its plans come first; see ``plan_as_run``
            return Solving(problem, control, options, {}, (), shortened)

        def ready(name: str, timetable: Timetable) -> None:
            """Have a plan for a stop while the others are replayed, where that takes long; then with bounds, too."""
            if control.fallback is None and control.elapsed > READY_AFTER:
                from planner.bounds import problem_bound

                only = {SCHEDULES[name].family: [(name, timetable)]}
                alone = Solving(problem, control, options, only, (), shortened)
                state = alone.state(alone.incumbent(control))
                Baselines().run(state)
                state.incumbent.publish_best()
                state.incumbent.prove(problem_bound, "bounds")
                state.incumbent.publish_best()

        baselines, reasons = replayed(problem, control, ready)
        timetables = dict(entry for entries in baselines.values() for entry in entries)
        compared = tuple(
            _compared(name, problem, timetables[name], shortened)
            if name in timetables
            else BaselineFigures(name, reason=reasons[name] if shortened is None else _of_short(problem, reasons[name]))
            for name in options.baselines
        )
        return Solving(problem, control, options, baselines, compared, shortened)

    def begin_with(self, name: str, starts: Sequence[Timetable], valid: bool = True) -> None:
        """Let the search begin with these schedules beside the baselines; those that do not fit in memory fall away.

        They cannot begin a search for a runtime, or for a step that is planned in part. Where they are not ``valid``,
        their placements and orders are tried.
        """
        if not starts or self.shortened is not None or self.options.runtime != ANY:
            return
        self.starts = tuple(starts)
        if not valid:
            return
        key = "linear" if self.problem.layout == "auto" else self.problem.layout
        others = dict(self.baselines)
        self.baselines = {key: [*((name, start) for start in starts), *others.pop(key, [])], **others}

    def incumbent_of(
        self,
        problem: Problem,
        control: Control,
        enough: float = 0.0,
        publish: Callable[[Candidate], None] = lambda _: None,
    ) -> Incumbent:
        """The incumbent of a search on the problem, or on one with fewer devices or lower caps."""
        gap = self.options.gap
        if self.shortened is None:
            return Incumbent(problem, control, gap, publish, enough)
        from planner.search.repeated import RepeatedIncumbent

        return RepeatedIncumbent(problem, control, gap, publish, enough, shortened=self.shortened)

    def bound(self, problem: Problem, control: Control) -> float:
        """Seconds that no makespan of a search on the problem beats, by the cheap bounds."""
        from planner.bounds import problem_bound

        found = self.incumbent_of(problem, control)
        found.prove(problem_bound, "bounds")
        return found.bound

    def incumbent(self, control: Control, enough: float = 0.0) -> Incumbent:
        """The incumbent of a search; each best schedule becomes a plan at once, for a stop while a solver is busy."""
        incumbent = self.incumbent_of(self.problem, control, enough)

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
        return SearchState(incumbent, baselines, replay, options.seed, options.threads, self.params, self.starts)

    def plan(
        self,
        best: Candidate,
        incumbent: Incumbent,
        proven: bool = True,
        notes: Sequence[str] = (),
        sought: Sequence[Figure] = (),
        unrestricted: Unrestricted | None = None,
    ) -> Plan:
        """The verified plan. ``proven``: whether the objective is, apart from the makespan; ``sought``: its figures."""
        problem, options = self.problem, self.options
        proven &= incumbent.closed(best)
        interrupted = self.control.stop_requested.is_set() and not proven
        repetition = self.repetition(best)
        placed = incumbent.posed_seconds(incumbent.bound_of(best.timetable.placement))
        plan = build_plan(
            problem,
            best.timetable,
            origin="solve",
            status="optimal" if proven else "interrupted" if interrupted else "feasible",
            lower_bound=incumbent.posed_bound,
            placement_lower_bound=placed,
            options=options.flags,
            solve_seconds=round(self.control.elapsed, 3),
            baselines=self.compared,
            notes=(f"found by {best.how}", *notes),
            window=pattern_of(problem, best.timetable) if repetition is None else None,
            repeated=best.repeated,
            whole=None if repetition is None else repetition.figures(),
            objective=options.objective,
            sought=sought,
            unrestricted=unrestricted,
        )
        return verified(plan, problem if self.shortened is None else self.shortened.whole)

    def repetition(self, found: Candidate) -> Repetition | None:
        """The whole step of a schedule of a short one; None where the step is planned in full."""
        if self.shortened is None:
            return None
        assert found.repeated is not None, "an incumbent of a very long step keeps no schedule without"
        return Repetition(self.shortened.whole, self.problem, found.timetable, found.repeated)

    def peak(self, found: Candidate) -> float:
        """Bytes that the fullest device holds."""
        repetition = self.repetition(found)
        return (figures(self.problem, found.timetable) if repetition is None else repetition.figures()).peak_memory

    def period(self, found: Candidate) -> float:
        """Seconds a microbatch of the busiest stream or channel."""
        repetition = self.repetition(found)
        return period(self.problem, found.timetable) if repetition is None else repetition.period()

    def shortest(self, control: Control, limit: float = 0.0) -> tuple[Candidate, SearchState]:
        """The shortest schedule, or one within a limit. Raises ``Impossible`` or ``NoPlan``."""
        incumbent = self.incumbent(control, limit)
        state = self.state(incumbent)
        best = search(state)
        if limit and incumbent.bound > limit * WITHIN:
            longest, least = self.options.max_makespan or incumbent.posed_seconds(limit), incumbent.posed_bound
            asked, bound = f"{longest:g}", f"{least:g}"
            if asked == bound:
                asked, bound = f"{longest:.12g}", f"{least:.12g}"
            raise Impossible(f"no plan takes at most {asked} s: none is shorter than {bound} s")
        if best is None or (limit and best.makespan > limit * WITHIN):
            raise NoPlan("no plan was found within the limits, and none is proven not to exist")
        return best, state


def _compared(name: str, problem: Problem, timetable: Timetable, shortened: Shortened | None) -> BaselineFigures:
    """The row of a baseline; for a very long step, of its steady state repeated."""
    variant = choice_of(problem, timetable.placement)
    if shortened is None:
        return baseline_figures(name, figures(problem, timetable), timetable, variant)
    repetition = baseline_repetition(shortened.whole, problem, timetable)
    if repetition is None:
        return BaselineFigures(name, reason=NO_STEADY_STATE)
    return baseline_figures(name, repetition.figures(), timetable, variant)


def _of_short(problem: Problem, reason: str) -> str:
    return f"replayed on {problem.microbatches} microbatches, whose steady state would be repeated: {reason}"
