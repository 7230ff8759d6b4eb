"""How good the first picks of the search for strategies are, measured: on a table of steps, its space as measured."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from measured_steps.compared import LEAST_STRATEGIES
from measured_steps.steps import Step, cluster_of, model_of, read_steps
from planner.engine import Limits
from planner.importers.transformer.model import Model
from planner.prediction.strategy import strategy_of
from planner.problem import Cluster
from planner.strategies.evaluate import OUT_OF_MEMORY, SOLVED, Look, SolveWork
from planner.strategies.request import Request
from planner.strategies.space import Candidate

SECONDS = 20.0
"""Limit for one strategy; small models take far less."""


def picks(path: Path) -> dict[str, object]:
    """The best measured time of the first three picks, over the best measured: geometric mean and worst of all groups.

    A group is one model, number of GPUs and batch with strategies that were measured; each strategy is ranked by the
    best plan that the search finds for it, those without one last.
    """
    groups: dict[tuple[str, ...], list[Step]] = defaultdict(list)
    for step in read_steps(path):
        if step.seconds is not None and not step.left_out:
            groups[step.group].append(step)
    some = [group for group in groups.values() if len(group) >= LEAST_STRATEGIES]
    ranked = [_ranked(group) for group in some]
    ratios = {n: [_ratio(group, n) for group in ranked] for n in (1, 3)}
    return {
        "table": path.name,
        "groups": len(some),
        "strategies": sum(map(len, some)),
        "first": _mean(ratios[1]),
        "three": _mean(ratios[3]),
        "worst": max(ratios[3]),
    }


def _ranked(group: list[Step]) -> list[float]:
    """The measured seconds of a group, the pick that comes first first."""
    model, cluster = model_of(group[0]), cluster_of(group[0])
    rank: list[tuple[int, float, float]] = []
    for step in group:
        assert step.seconds is not None
        rank.append((*_found(step, step.strategy, model, cluster), step.seconds))
    return [seconds for *_, seconds in sorted(rank)]


def _found(step: Step, columns: Mapping[str, str], model: Model, cluster: Cluster) -> tuple[int, float]:
    """Whether the search has a plan for a strategy (0), none (1), or proves that there is none (2); its seconds."""
    strategy = strategy_of(columns, len(cluster.devices))
    request = Request(
        step.group[1], model, repr(model), cluster, strategy.gbs, strategy.seq, (strategy.gpus,),
        runtime=strategy.runtime, precision=strategy.precision, recompute=strategy.recompute,
    )  # fmt: skip
    result = SolveWork(request, Candidate(strategy), math.inf, SECONDS, Look.SOON).run(Limits(1))
    state = {SOLVED: 0, OUT_OF_MEMORY: 2}.get(result["state"], 1)
    return state, float(result.get("seconds") or math.inf)


def _ratio(measured: list[float], picks: int) -> float:
    return min(measured[:picks]) / min(measured)


def _mean(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
