"""What points give each other at the end: plans to wider points, bounds and proofs to narrower ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.bounds import placement_bound
from planner.common.budget import Control
from planner.common.tolerance import closes
from planner.objectives.certified import verified
from planner.objectives.solving import Solving
from planner.plan.build import build_plan, timetable_of
from planner.plan.plan import BaselineFigures, Plan
from planner.scheduling.steady_state import pattern_of
from planner.sweeping.order import allows
from planner.sweeping.point import INFEASIBLE, NO_PLAN, Point

SAME = 1e-9
"""Makespans and bounds that differ by less, relatively, are the same."""


@dataclass(frozen=True)
class Solved:
    """What came of a point: its plan, or a reason with the code of ``planner solve``; ``seconds`` that it took."""

    plan: Plan | None
    reason: str
    code: int
    seconds: float


def shared(points: Sequence[Point], names: Sequence[str], solved: Sequence[Solved | None]) -> list[Solved | None]:
    """Every point with the best plan of the points that it allows and the best bound of those that allow it.

    Each plan is verified with the flags of its point. None: a point that was not reached stays so. Raises
    ``InvalidPlan`` where plan and bound contradict each other, which is a fault of the program.
    """
    return [_with_others(k, points, names, solved) for k in range(len(points))]


def _with_others(
    k: int, points: Sequence[Point], names: Sequence[str], solved: Sequence[Solved | None]
) -> Solved | None:
    own, point = solved[k], points[k]
    if own is None:
        return None
    others = [(j, each) for j, each in enumerate(solved) if j != k and each is not None]
    wider = [(j, each) for j, each in others if allows(points[j], point)]
    if own.plan is None and own.code != INFEASIBLE:
        proof = next((j for j, each in wider if each.code == INFEASIBLE), None)
        if proof is not None:
            return replace(own, code=INFEASIBLE, reason=f"infeasible, as {names[proof]} is")
    plans = [(j, each.plan) for j, each in others if each.plan is not None and allows(point, points[j])]
    best = _best(own.plan, plans)
    bound, of = 0.0, -1
    for j, each in wider:
        if each.plan is not None and each.plan.lower_bound is not None and each.plan.lower_bound > bound:
            bound, of = each.plan.lower_bound, j
    if best is not None:
        made = _adopted(point, own, plans[best][1], names[plans[best][0]])
        own = Solved(made, "", 0, own.seconds)
    if own.plan is None:
        return own
    raised = own.plan
    if bound > (raised.lower_bound or 0.0) * (1 + SAME):
        raised = _raised(raised, bound, f"the bound is that of {names[of]}")
    assert point.problem is not None
    return replace(own, plan=verified(raised, point.problem))


def _best(own: Plan | None, plans: Sequence[tuple[int, Plan]]) -> int | None:
    """The index of the shortest plan that is shorter than the point's own; of equal ones the first."""
    usable = [k for k, (_, plan) in enumerate(plans) if plan.repeated is None]
    shortest = min(usable, key=lambda k: plans[k][1].makespan, default=None)
    if shortest is None or (own is not None and plans[shortest][1].makespan >= own.makespan * (1 - SAME)):
        return None
    return shortest


def _adopted(point: Point, own: Solved, plan: Plan, name: str) -> Plan:
    """The plan of another point as one of this point: its caps and flags, and bounds that hold here."""
    problem, options = point.problem, point.options
    assert problem is not None and options is not None
    timetable = timetable_of(plan, problem)
    bound, baselines = _known(point, own.plan)
    return build_plan(
        problem,
        timetable,
        origin="solve",
        status="optimal" if closes(plan.makespan, bound, options.gap) else "feasible",
        lower_bound=bound,
        placement_lower_bound=max(bound, placement_bound(problem, timetable.placement)),
        options=options.flags,
        solve_seconds=round(own.seconds, 3),
        baselines=baselines,
        notes=(f"the plan is that of {name}", *plan.notes[:1]),
        window=pattern_of(problem, timetable),
    )


def _known(point: Point, own: Plan | None) -> tuple[float, tuple[BaselineFigures, ...]]:
    """Bound and baselines of a point: those of its own plan, else the cheap bounds and the baselines replayed."""
    if own is not None:
        return own.lower_bound or 0.0, own.baselines
    assert point.problem is not None and point.options is not None
    solving = Solving.of(point.problem, Control(), point.options)
    return solving.bound(point.problem, Control()), solving.compared


def _raised(plan: Plan, bound: float, note: str) -> Plan:
    """The plan with a higher bound of its problem. A bound that is above by rounding alone is the makespan."""
    if plan.makespan < bound <= plan.makespan * (1 + SAME):
        bound = plan.makespan
    asked = plan.options.get("gap")
    done = closes(plan.makespan, bound, float(asked) if isinstance(asked, int | float) else SAME)
    return replace(
        plan,
        lower_bound=bound,
        placement_lower_bound=max(bound, plan.placement_lower_bound or 0.0),
        gap=0.0 if plan.makespan == 0 else (plan.makespan - bound) / plan.makespan,
        status="optimal" if done else plan.status,
        notes=(*plan.notes, note),
    )


def exit_code(solved: Sequence[Solved | None]) -> int:
    """0 where a point has a plan, 3 where all are proven infeasible, else 4."""
    if any(each is not None and each.plan is not None for each in solved):
        return 0
    infeasible = all(each is not None and each.code == INFEASIBLE for each in solved)
    return INFEASIBLE if infeasible else NO_PLAN
