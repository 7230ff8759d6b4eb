"""What all objectives of a solve share: published schedules, searches, and verified plans of what they find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from planner.baselines import BASELINES, SCHEDULES, NotApplicable, baseline_timetable
from planner.control import Control
from planner.plan.build import build_plan
from planner.plan.figures import figures
from planner.plan.plan import BaselineFigures, Plan
from planner.plan.timetable import Timetable
from planner.problem import Impossible, Problem
from planner.schedule.window import window_of
from planner.search import Candidate, Incumbent, Portfolio, Published

SAME = 1 + 1e-9
"""Makespans and periods closer than this are the same."""


class NoPlan(Exception):
    """A limit was reached before any plan was found; nothing is proven."""


class InvalidPlan(Exception):
    """A plan failed verification: a fault of the program, never of its user."""


@dataclass(frozen=True)
class SolveOptions:
    """What for and how hard to search.

    ``objective`` memory: the least peak over the devices for a makespan of at most ``max_makespan`` seconds, or for
    the best that is found. period: the least work of the busiest stream for a microbatch. utilization: the fewest
    devices for ``max_makespan`` or ``max_period`` (seconds). ``baselines`` are the names to compare with; ``flags``
    go into the plan's options.
    """

    flags: Mapping[str, Any]
    gap: float = 1e-6
    seed: int = 0
    threads: int = 2
    baselines: tuple[str, ...] = ()
    objective: str = "makespan"
    max_makespan: float | None = None
    max_period: float | None = None


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
        self, best: Candidate, incumbent: Incumbent, proven: bool = True, notes: Sequence[str] = (), **sought: Any
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
        )
        return verified(replace(plan, **sought), problem)

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


def published_of(problem: Problem, control: Control) -> Published:
    """The timetables of the baselines by layout."""
    return replayed(problem, control)[0]


def replayed(problem: Problem, control: Control) -> tuple[Published, dict[str, str]]:
    """The timetables of the baselines by layout, and the reasons why others are not there."""
    published: dict[str, list[tuple[str, Timetable]]] = {}
    reasons: dict[str, str] = {}
    for name in BASELINES:
        control.report(f"baseline {name}")
        if published and control.remaining < control.time_limit / 2:
            reasons[name] = "not replayed: half of the time limit was over"
            continue
        try:
            published.setdefault(SCHEDULES[name].family, []).append((name, baseline_timetable(name, problem)))
        except NotApplicable as reason:
            reasons[name] = str(reason)
    return published, reasons


def baseline_figures(name: str, problem: Problem, timetable: Timetable) -> BaselineFigures:
    """The row of a baseline in a plan."""
    found = figures(problem, timetable)
    return BaselineFigures(
        name=name,
        makespan=found.makespan,
        bubble_ratio=found.bubble_ratio,
        span_bubble_ratio=found.span_bubble_ratio,
        peak_memory=found.peak_memory,
        copies=timetable.placement.copies,
        fits=found.fits,
        devices=len({d for device_of in timetable.placement.device_of for d in device_of}),
    )


def verified(plan: Plan, problem: Problem, cap: bool = True) -> Plan:
    """The plan itself, checked against every rule (``cap``: memory too); raises ``InvalidPlan``."""
    from planner.plan.verify import verify_plan

    violations = verify_plan(
        plan,
        problem.graph,
        problem.cluster,
        copies=max(problem.copies, 1 if cap else plan.copies, plan.copies if plan.origin != "solve" else 1),
        memory_cap=problem.memory_cap,
        microbatches=problem.microbatches,
    )
    violations = [v for v in violations if cap or v.rule != 5]
    if violations:
        raise InvalidPlan(f"{len(violations)} violations, the first: {violations[0]}")
    return plan
