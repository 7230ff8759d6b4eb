"""Verified plans: only those that the checker finds valid leave the program."""

from __future__ import annotations

from planner.plan.plan import Plan
from planner.problem import Problem
from planner.verification import Rule, Violation, verify_plan


class InvalidPlan(Exception):
    """A plan failed verification: a fault of the program, unless the plan was made from a faulty file."""


def violations_of(plan: Plan, problem: Problem) -> list[Violation]:
    """The violations that the checker finds. A baseline may have more copies than the problem allows."""
    return verify_plan(
        plan,
        problem.graph,
        problem.cluster,
        copies=problem.copies if plan.origin == "solve" else max(problem.copies, plan.copies),
        memory_cap=problem.memory_cap,
        microbatches=problem.microbatches,
        variants=problem.variants,
    )


def verified(plan: Plan, problem: Problem, cap: bool = True) -> Plan:
    """The plan itself, checked against every rule (``cap``: memory too); raises ``InvalidPlan``."""
    violations = [v for v in violations_of(plan, problem) if cap or v.rule is not Rule.MEMORY]
    if violations:
        raise InvalidPlan(f"{len(violations)} violations, the first: {violations[0]}")
    return plan
