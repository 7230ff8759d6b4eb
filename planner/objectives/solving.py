"""What all objectives of a solve share: published schedules, searches, and verified plans of what they find."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from planner.baselines.replayed import Published, baseline_figures, published_of, replayed
from planner.common.budget import Control
from planner.objectives.certified import verified
from planner.objectives.options import SAME, NoPlan, SolveOptions
from planner.plan.build import build_plan
from planner.plan.plan import BaselineFigures, Figure, Plan
from planner.problem import Impossible, Problem
from planner.scheduling.steady_state import window_of
from planner.search import Candidate, Incumbent, Portfolio


class Solving:
    """What all objectives need: the problem, how to search it, and how a schedule becomes a verified plan."""

    def __init__(
        self,
        problem: Problem,
        control: Control,
        options: SolveOptions,
        published: Published,
        compared: tuple[BaselineFigures, ...],
    ) -> None:
        self.problem, self.control, self.options = problem, control, options
        self.published, self.compared = published, compared
        self.limit = (options.max_makespan or 0.0) * SAME  # a makespan that a plan prints can be asked for

    @staticmethod
    def of(problem: Problem, control: Control, options: SolveOptions) -> Solving:
        """Replay the published schedules, to compare with and to begin with."""
        published, reasons = replayed(problem, control)
        timetables = dict(entry for entries in published.values() for entry in entries)
        compared = tuple(
            baseline_figures(name, problem, timetables[name])
            if name in timetables
            else BaselineFigures(name, reason=reasons[name])
            for name in options.baselines
        )
        return Solving(problem, control, options, published, compared)

    def incumbent(self, control: Control, enough: float = 0.0) -> Incumbent:
        """A search's memory; plans are published as they are found, for a stop while a solver does not return."""
        incumbent = Incumbent(self.problem, control, self.options.gap, lambda _: None, enough)

        def publish(best: Candidate) -> None:
            self.control.incumbent = self.plan(best, incumbent)

        incumbent.publish = publish
        return incumbent

    def portfolio(self, incumbent: Incumbent, brief: bool = False) -> Portfolio:
        """All that is tried on the incumbent's problem, which may be a part of the whole."""
        replay = partial(published_of, control=incumbent.control)
        published = self.published
        if incumbent.problem.n_devices < self.problem.n_devices:
            published = published_of(incumbent.problem, incumbent.control)
        return Portfolio(incumbent, published, replay, self.options.seed, self.options.threads, brief)

    def plan(
        self,
        best: Candidate,
        incumbent: Incumbent,
        proven: bool = True,
        notes: Sequence[str] = (),
        sought: Sequence[Figure] = (),
    ) -> Plan:
        """The verified plan; ``proven``: the objective, apart from the makespan; ``sought``: its figures."""
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
            window=window_of(problem, best.timetable),
            objective=options.objective,
            sought=sought,
        )
        return verified(plan, problem)

    def shortest(self, control: Control, limit: float = 0.0) -> tuple[Candidate, Incumbent, Portfolio]:
        """The shortest schedule, or one within a limit. Raises ``Impossible`` or ``NoPlan``."""
        incumbent = self.incumbent(control, limit)
        search = self.portfolio(incumbent)
        best = search.run()
        if limit and incumbent.bound > limit * SAME:
            raise Impossible(f"no plan takes at most {limit:g} s: none is shorter than {incumbent.bound:g} s")
        if best is None or (limit and best.makespan > limit * SAME):
            raise NoPlan("no plan was found within the limits, and none is proven not to exist")
        return best, incumbent, search
