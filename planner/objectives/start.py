"""A plan that a search begins with: that of an earlier run, or of other flags.

Its placement is tried, and its order is played where there are as many microbatches, so that it is of use where
the inputs have changed a little. A plan of the very same inputs is also a first plan as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.common.messages import shown
from planner.objectives.certified import violations_of
from planner.plan.build import timetable_of

if TYPE_CHECKING:
    from planner.plan.plan import Plan
    from planner.problem import Problem
    from planner.timetable.timetable import Timetable


@dataclass(frozen=True)
class Start:
    """A timetable to begin with. ``valid``: as it stands, it has been verified for the problem."""

    timetable: Timetable
    valid: bool


def start_of(plan: Plan, problem: Problem) -> Start:
    """What a search on a problem can begin with. Raises ``ValueError`` where the plan is of no use for it."""
    if plan.repeated is not None:
        raise ValueError("it lists its steady state once, and a search begins with a plan of all tasks")
    placed = {p.operator for p in plan.placement}
    known = {o.name: o for o in problem.operators}
    if placed != known.keys():
        only = sorted(placed - known.keys())
        there, here = ("the plan", "the graph") if only else ("the graph", "the plan")
        name = only[0] if only else sorted(known.keys() - placed)[0]
        raise ValueError(f"{there} has an operator {shown(name)} that {here} has not")
    devices = {d.name for d in problem.cluster.devices}
    for p in plan.placement:
        if p.device not in devices:
            raise ValueError(f"it runs {shown(p.operator)} on {shown(p.device)}, a device that the cluster has not")
        if p.variant not in known[p.operator].versions:
            raise ValueError(f"it has {shown(p.operator)} in variant {shown(p.variant)}, which the graph has not")
    if plan.copies > problem.copies:
        raise ValueError(f"it has {plan.copies} copies: add --copies {plan.copies}")
    made = plan.options.get("layout", "auto"), plan.options.get("chunks")
    if problem.layout != "auto" and made != (problem.layout, problem.chunks):
        raise ValueError(f"it was not made with layout {problem.layout} and the same chunks")
    try:
        timetable = timetable_of(plan, problem)
    except (KeyError, IndexError) as error:
        raise ValueError("its tasks are not those of its placement: planner verify says more") from error
    placement = timetable.placement
    for copy in range(placement.copies):
        for i, version in enumerate(problem.versions_of(placement, copy)):
            if version not in problem.versions[i]:
                name = problem.operators[i].name
                raise ValueError(f"it has {shown(name)} in a variant that --variants does not allow")
    if not problem.allows_copies(placement):
        raise ValueError("its placement is not allowed here (devices or colocate of operators)")
    same = (plan.graph.sha256, plan.cluster.sha256) == (problem.graph.sha256, problem.cluster.sha256)
    return Start(timetable, same and plan.microbatches == problem.microbatches and not violations_of(plan, problem))
