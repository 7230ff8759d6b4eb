"""The variants of a plan's operators, for formats that have one copy of everything, and the problem without others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.common.messages import shown
from planner.exporters import CannotExport
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.graph import BASE


def variants_of(plan: Plan) -> dict[str, str]:
    """The variant of every operator; empty where all are ``base``.

    Copies that no microbatch uses do not count. Raises ``CannotExport`` where the others differ.
    """
    used = {task.copy for task in plan.tasks}
    found: dict[str, str] = {}
    for placed in plan.placement:
        if placed.copy in used and found.setdefault(placed.operator, placed.variant) != placed.variant:
            raise CannotExport(
                f"the copies of operator {shown(placed.operator)} are in different variants "
                f"({shown(found[placed.operator])}, {shown(placed.variant)}), and there it exists once; "
                "solve with --copies 1"
            )
    return found if any(variant != BASE for variant in found.values()) else {}


def in_variants(problem: Problem, variants: Mapping[str, str]) -> Problem:
    """The problem with every operator in the variant of that name (base where there is none), without alternatives."""
    return problem.chosen([o.versions.index(variants.get(o.name, BASE)) for o in problem.operators])


def microbatches_alone(problem: Problem) -> Problem:
    """The problem without what follows the last microbatch."""
    if not problem.ends_with_step_tasks:
        return problem
    operators = tuple(replace(o, step={}, gradient=0.0) for o in problem.operators)
    return replace(problem, graph=replace(problem.graph, operators=operators))
