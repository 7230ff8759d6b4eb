"""The whole check: rule after rule."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial

from planner.plan.plan import Plan, PlanRepetition
from planner.problem.cluster import Cluster
from planner.problem.graph import Graph
from planner.verification.bounds import check_bounds
from planner.verification.exchanges import check_exchanges
from planner.verification.facts import Facts, Violation
from planner.verification.figures import check_figures
from planner.verification.memory import DeviceMemory, check_memory, device_memory
from planner.verification.order import check_order
from planner.verification.placement import check_placement
from planner.verification.repeated import check_repetition, instant_in, repeated_plan, repetitions_to_check
from planner.verification.rules import Rule
from planner.verification.runtime import check_runtime
from planner.verification.sought import check_sought
from planner.verification.step import check_step_order, check_step_tasks
from planner.verification.tasks import check_streams, check_tasks
from planner.verification.throughput import check_throughput
from planner.verification.transfers import check_channels, check_transfers
from planner.verification.work import Work


def verify_plan(
    plan: Plan,
    graph: Graph,
    cluster: Cluster,
    *,
    copies: int,
    memory_cap: float | None,
    microbatches: int,
    variants: Collection[str] | None = None,
) -> list[Violation]:
    """Every violation of rules 1 to 8 in the plan; an empty list means that the plan is valid.

    ``copies`` is the most copies that the plan may have, ``memory_cap`` (bytes) overrides the cluster's, and
    ``microbatches`` is the number that one step must run. ``variants``: the names of the variants, ``base`` among
    them, that operators may be in (None: all); an operator that has none of these is base.
    """
    limits = Limits(copies, memory_cap, variants)
    if plan.repeated is not None:
        return _repeated(plan, plan.repeated, graph, cluster, limits, microbatches)
    facts = limits.facts(plan, graph, cluster, microbatches)
    memory = device_memory(facts)
    work = Work.of(facts)
    return [
        *_schedule(facts, memory),
        *check_figures(facts, work, memory, lambda instant: instant),
        *check_sought(plan, work, memory),
        *check_throughput(facts, work),
        *check_bounds(facts),
    ]


@dataclass(frozen=True)
class Limits:
    """What a plan may have."""

    copies: int
    memory_cap: float | None
    variants: Collection[str] | None

    def facts(self, plan: Plan, graph: Graph, cluster: Cluster, microbatches: int) -> Facts:
        """The facts of a plan that is to run so many microbatches."""
        return Facts(
            plan,
            graph,
            cluster,
            copies=self.copies,
            memory_cap=self.memory_cap,
            microbatches=microbatches,
            variants=self.variants,
        )


def _schedule(facts: Facts, memory: dict[str, DeviceMemory]) -> Iterator[Violation]:
    """Rules 1 to 5, and 8."""
    yield from check_placement(facts)
    yield from check_tasks(facts)
    yield from check_step_tasks(facts)
    yield from check_streams(facts)
    yield from check_order(facts)
    yield from check_step_order(facts)
    yield from check_transfers(facts)
    yield from check_exchanges(facts)
    yield from check_channels(facts)
    yield from check_memory(facts, memory)
    yield from check_runtime(facts)


def _repeated(
    plan: Plan, repeated: PlanRepetition, graph: Graph, cluster: Cluster, limits: Limits, microbatches: int
) -> list[Violation]:
    """The check of a plan with a part that is repeated, on a step with few repetitions (see ``repeated``)."""
    broken = list(check_repetition(plan, repeated))
    if broken:
        return broken
    times = repetitions_to_check(plan, repeated)
    short, once, long = (
        limits.facts(each, graph, cluster, each.microbatches)
        for each in (repeated_plan(plan, repeated, k) for k in (0, 1, times))
    )
    memory = device_memory(long)
    work = Work.of(long)
    if times < repeated.times:
        work = Work.of(once).repeated(work, times - 1, repeated.times - 1)
    whole = limits.facts(plan, graph, cluster, microbatches)
    found = [
        Violation(v.rule, f"{v.message} (with {k} of {repeated.times} repetitions)")
        for k, facts, held in ((0, short, device_memory(short)), (times, long, memory))
        for v in _schedule(facts, held)
    ]
    if microbatches != plan.microbatches:
        what = f"microbatches is {plan.microbatches}, but the step has {microbatches}"
        found.append(Violation(Rule.FIGURES, what))
    return [
        *found,
        *check_figures(whole, work, memory, partial(instant_in, repeated, times)),
        *check_sought(plan, work, memory),
        *check_throughput(whole, work),
        *check_bounds(whole),
    ]
