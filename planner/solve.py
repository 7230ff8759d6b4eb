"""From a problem to a verified plan: level 1, level 2, bounds, baselines; the best of all that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from planner.search import Candidate, Incumbent, LeastMemory, Portfolio, Published, least_memory

FIRST_SHARE = 0.5
"""Of the time limit, what the search for the best makespan may take where the least memory for it is asked for."""


class NoPlan(Exception):
    """A limit was reached before any plan was found; nothing is proven."""


class InvalidPlan(Exception):
    """A plan failed verification: a fault of the program, never of its user."""


@dataclass(frozen=True)
class SolveOptions:
    """What for and how hard to search.

    ``objective`` memory: the least peak over the devices for a makespan of at most ``max_makespan`` seconds, or for
    the best that is found. ``baselines`` are the names to compare with; ``flags`` go into the plan's options.
    """

    flags: Mapping[str, Any]
    gap: float = 1e-6
    seed: int = 0
    threads: int = 2
    baselines: tuple[str, ...] = ()
    objective: str = "makespan"
    max_makespan: float | None = None


def solve(problem: Problem, control: Control, options: SolveOptions) -> Plan:
    """The best plan found before the control's deadline or a stop, verified.

    Raises ``Impossible`` (proven: no plan exists) or ``NoPlan``.
    """
    published, reasons = replayed(problem, control)
    timetables = dict(entry for entries in published.values() for entry in entries)
    compared = tuple(
        baseline_figures(name, problem, timetables[name])
        if name in timetables
        else BaselineFigures(name, reason=reasons[name])
        for name in options.baselines
    )

    def publish(best: Candidate) -> None:
        control.incumbent = plan_of(best)

    def plan_of(best: Candidate, least: LeastMemory | None = None) -> Plan:
        proven = best.makespan - incumbent.bound <= options.gap * best.makespan
        if in_memory:  # both must be proven: the gap is that of the makespan
            proven &= least is not None and least.peak - least.bound <= options.gap * least.peak
        interrupted = control.stop_requested.is_set() and not proven
        plan = build_plan(
            problem,
            best.timetable,
            origin="solve",
            status="optimal" if proven else "interrupted" if interrupted else "feasible",
            lower_bound=incumbent.bound,
            placement_lower_bound=incumbent.bound_of(best.timetable.placement),
            options=options.flags,
            solve_seconds=round(control.elapsed, 3),
            baselines=compared,
            notes=(f"found by {best.how}", *search.notes),
            window=window_of(problem, best.timetable),
            objective=options.objective,
            memory_lower_bound=None if least is None else least.bound,
        )
        return verified(plan, problem)

    def portfolio(incumbent: Incumbent, brief: bool = False) -> Portfolio:
        replay = partial(_published, control=incumbent.control)
        return Portfolio(incumbent, published, replay, options.seed, options.threads, brief)

    in_memory = options.objective == "memory"
    limit = (options.max_makespan or 0.0) * (1 + 1e-9)  # a makespan that a plan prints can be asked for
    first_control = control.part(FIRST_SHARE) if in_memory and not limit else control
    incumbent = Incumbent(problem, first_control, options.gap, publish, limit)
    search = portfolio(incumbent)
    best = search.run()
    if limit and incumbent.bound > limit * (1 + 1e-9):
        raise Impossible(f"no plan takes at most {limit:g} s: none is shorter than {incumbent.bound:g} s")
    if best is None or (limit and best.makespan > limit * (1 + 1e-9)):
        raise NoPlan("no plan was found within the limits, and none is proven not to exist")
    if not in_memory:
        return plan_of(best)
    incumbent.publish_best()

    def within(capped: Problem, seconds: float) -> Candidate | None:
        """A schedule under lower caps that takes no longer than so many seconds."""
        low = Incumbent(capped, control, options.gap, lambda _: None, seconds * (1 + 1e-9))
        found = portfolio(low, brief=True).run()
        return found if found is not None and found.makespan <= low.enough else None

    least = least_memory(problem, best, limit or best.makespan, within, control)
    return plan_of(least.best, least)


def _published(problem: Problem, control: Control) -> Published:
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


def baseline_plan(name: str, problem: Problem, flags: Mapping[str, Any]) -> Plan:
    """The plan of a published schedule; raises ``planner.baselines.NotApplicable`` with the reason.

    It ignores the memory cap: whether it fits stands in its figures. Its bounds are those of the problem, as
    far as they need no search, where it respects the copies and the cap; else they say nothing about it.
    """
    from planner.bounds import placement_bound, problem_bound

    control = Control()
    timetable = baseline_timetable(name, problem)
    fits = figures(problem, timetable).fits
    comparable = fits and timetable.placement.copies <= problem.copies
    plan = build_plan(
        problem,
        timetable,
        origin=f"baseline:{name}",
        status="feasible",
        lower_bound=problem_bound(problem, control) if comparable else None,
        placement_lower_bound=placement_bound(problem, timetable.placement) if comparable else None,
        options=flags,
        solve_seconds=round(control.elapsed, 3),
        notes=(
            "contiguous stages, balanced by time; the published order, replayed with the same costs, transfers "
            "and memory",
            *(() if fits else ("needs more memory than the devices offer",)),
        ),
        window=window_of(problem, timetable),
    )
    return verified(plan, problem, cap=fits)


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
