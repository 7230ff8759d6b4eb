"""Plans of one model and batch by different strategies: they differ in degrees, graph and cluster, not in the work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from planner.plan.plan import Plan
from planner.report.facts import PlanFacts
from planner.report.words import NONE, count, gap, percent, plain, quotient, seconds, size

Row = tuple[str, Callable[[PlanFacts, PlanFacts], str]]
"""A heading, and the cell for a plan, given the first plan as well."""


def _tokens(facts: PlanFacts) -> str:
    own = facts.plan.throughput
    return NONE if own is None else count(own.tokens_per_second)


def _each(facts: PlanFacts) -> str:
    own = facts.plan.throughput
    return NONE if own is None else count(own.tokens_per_second_per_gpu)


def _relative(facts: PlanFacts, first: PlanFacts) -> float | None:
    """Tokens a second and GPU, over those of the first plan."""
    own, other = facts.plan.throughput, first.plan.throughput
    if own is None or other is None:
        return None
    ratio = own.tokens_per_second_per_gpu / other.tokens_per_second_per_gpu
    return ratio if math.isfinite(ratio) else None  # a file may state any two figures


def _utilization(facts: PlanFacts) -> str:
    return NONE if facts.plan.throughput is None else percent(facts.plan.throughput.mfu)


TOKEN_ROWS: tuple[Row, ...] = (
    ("tokens/s", lambda f, _: _tokens(f)),
    ("tokens/s/GPU", lambda f, _: _each(f)),
    ("  / the first's", lambda f, first: quotient(_relative(f, first), 1.0)),
    ("MFU", lambda f, _: _utilization(f)),
)

STRATEGY_ROWS: tuple[Row, ...] = (
    ("strategy", lambda f, _: f.strategy or NONE),
    ("GPUs", lambda f, _: NONE if f.plan.throughput is None else str(f.plan.throughput.gpus)),
    ("cluster", lambda f, _: plain(f.plan.cluster.name)),
    ("microbatches", lambda f, _: str(f.plan.microbatches)),
    ("recompute", lambda f, _: NONE if f.plan.graph.origin is None else plain(f.plan.graph.origin.recompute)),
    ("origin", lambda f, _: plain(f.plan.origin)),
    ("status", lambda f, _: f.plan.status),
    ("step time", lambda f, _: seconds(f.plan.makespan)),
    *TOKEN_ROWS,
    ("lower bound", lambda f, _: seconds(f.plan.lower_bound)),
    ("gap", lambda f, _: gap(f.plan.gap)),
    ("bubble", lambda f, _: percent(f.plan.bubble_ratio)),
    ("bubble, all devices", lambda f, _: percent(f.plan.bubble_ratio_all)),
    ("peak memory", lambda f, _: size(f.peak_memory)),
    ("over the cap", lambda f, _: "yes" if f.over_cap else "no"),
    ("copies", lambda f, _: str(f.plan.copies)),
)
"""The table of plans of one model and batch. The makespans of strategies on different GPUs are no match."""

MEANING = (
    "tp, cp, ep, dp, pp: tensor, context, expert, data and pipeline parallel degrees. GPUs: devices of the cluster "
    "x tp x cp x dp.",
    "MFU: FLOP of the model a second over the peak of all GPUs (arXiv 2204.02311, appendix B); recomputation does not "
    "count.",
)


def different_steps(plans: Sequence[Plan]) -> list[str]:
    """How model or batch differ from the first plan's, in words; empty: all do the same work in a step.

    A plan whose graph has no ``origin`` does not say what work it does.
    """
    unknown = dict.fromkeys(plan.graph.name for plan in plans if plan.throughput is None or plan.graph.origin is None)
    if unknown:
        return [f"origin of graph {plain(name)!r} does not say model and sequence" for name in unknown]
    found: dict[str, None] = {}
    first = _step(plans[0])
    for plan in plans[1:]:
        for (what, unit), own in _step(plan).items():
            if own != first[what, unit]:
                found[f"{what} {first[what, unit]}{unit} against {own}{unit}"] = None
    return list(found)


def _step(plan: Plan) -> dict[tuple[str, str], str | int | None]:
    """What a step does, by field and unit."""
    origin, throughput = plan.graph.origin, plan.throughput
    assert origin is not None
    assert throughput is not None
    return {
        ("model", ""): repr(plain(origin.model)),
        ("mode", ""): plan.graph.mode,
        ("global batch", " sequences"): throughput.sequences,
        ("sequence", " tokens"): origin.sequence,
    }


def are_strategies(plans: Sequence[Plan], different: Sequence[str]) -> bool:
    """Whether plans of ``different`` problems do the same work."""
    return bool(different) and not different_steps(plans)


def work_of(plan: Plan) -> str:
    """Model and batch of a plan that says them."""
    origin, throughput = plan.graph.origin, plan.throughput
    assert origin is not None
    assert throughput is not None
    batch = f"{throughput.sequences} sequences of {origin.sequence} tokens a step"
    return plain(f"{origin.model}, {plan.graph.mode}, {batch}")


def of_strategy(facts: PlanFacts, first: PlanFacts) -> dict[str, Any]:
    """The figures in tokens as JSON has them; nothing where they are not known."""
    origin, throughput = facts.plan.graph.origin, facts.plan.throughput
    if origin is None or throughput is None:
        return {}
    return {
        "model": origin.model,
        "mode": facts.plan.graph.mode,
        "sequences": throughput.sequences,
        "sequence": origin.sequence,
        "tokens": throughput.tokens,
        **facts.degrees,
        "gpus": throughput.gpus,
        "tokens_per_second": throughput.tokens_per_second,
        "tokens_per_second_per_gpu": throughput.tokens_per_second_per_gpu,
        "per_gpu_over_first": _relative(facts, first),
        "mfu": throughput.mfu,
    }
