"""Plans that may leave the program: those that the checker finds valid."""

from __future__ import annotations

from planner.plan.plan import Plan
from planner.problem import Problem
from planner.verify.check import verify_plan
from planner.verify.rules import Rule


class InvalidPlan(Exception):
    """A plan failed verification: a fault of the program, never of its user."""


def verified(plan: Plan, problem: Problem, cap: bool = True) -> Plan:
    """The plan itself, checked against every rule (``cap``: memory too); raises ``InvalidPlan``."""
    violations = verify_plan(
        plan,
        problem.graph,
        problem.cluster,
        copies=max(problem.copies, 1 if cap else plan.copies, plan.copies if plan.origin != "solve" else 1),
        memory_cap=problem.memory_cap,
        microbatches=problem.microbatches,
    )
    violations = [v for v in violations if cap or v.rule is not Rule.MEMORY]
    if violations:
        raise InvalidPlan(f"{len(violations)} violations, the first: {violations[0]}")
    return plan
