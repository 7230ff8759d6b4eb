"""The whole check: rule after rule."""

from __future__ import annotations

from planner.plan.plan import Plan
from planner.problem.cluster import Cluster
from planner.problem.graph import Graph
from planner.verification.bounds import check_bounds
from planner.verification.facts import Facts, Violation
from planner.verification.figures import check_figures
from planner.verification.memory import check_memory, device_memory
from planner.verification.order import check_order
from planner.verification.placement import check_placement
from planner.verification.sought import check_sought
from planner.verification.tasks import check_streams, check_tasks
from planner.verification.transfers import check_channels, check_transfers


def verify_plan(
    plan: Plan,
    graph: Graph,
    cluster: Cluster,
    *,
    copies: int,
    memory_cap: float | None,
    microbatches: int,
) -> list[Violation]:
    """Every violation of rules 1 to 7 in the plan; an empty list means that the plan is valid.

    ``copies`` is the most copies that the plan may have, ``memory_cap`` (bytes) overrides the cluster's, and
    ``microbatches`` is the number that one step must run.
    """
    facts = Facts(plan, graph, cluster, copies=copies, memory_cap=memory_cap, microbatches=microbatches)
    memory = device_memory(facts)
    return [
        *check_placement(facts),
        *check_tasks(facts),
        *check_streams(facts),
        *check_order(facts),
        *check_transfers(facts),
        *check_channels(facts),
        *check_memory(facts, memory),
        *check_figures(facts, memory),
        *check_sought(facts, memory),
        *check_bounds(facts),
    ]
