"""What ranks hold where a framework shards less than the graph was made for: ZeRO 1 instead of 2 or 3."""

from __future__ import annotations

from dataclasses import replace

from planner.importers.transformer.setting import ELEMENTS, Optimizer, Precision, bytes_of_weight
from planner.problem import Problem
from planner.problem.made_from import MadeFrom

EXPERTS = "experts"
"""The last part of the names of operators whose weights are spread over expert ranks."""


def with_zero_1(problem: Problem, origin: MadeFrom) -> Problem:
    """The problem with the parameters that every operator has under ZeRO 1, where gradients and weights stay whole.

    Bytes of a weight as ``planner import hf`` counts them, those of FP8 as if all were GEMM weights. The gathering of
    weights for each pass (ZeRO 3) and the room for them stay in the problem: times and memory are no less than with
    ZeRO 1.
    """
    operators = []
    for operator in problem.graph.operators:
        scale = _more(origin, operator.name)
        variants = tuple(replace(v, parameters=v.parameters * scale) for v in operator.variants)
        operators.append(replace(operator, parameters=operator.parameters * scale, variants=variants))
    made_from = replace(origin, zero=1)
    return replace(problem, graph=replace(problem.graph, operators=tuple(operators), made_from=made_from))


def _more(origin: MadeFrom, operator: str) -> float:
    """By how much the parameters of an operator grow from the stage of ZeRO in ``origin`` to stage 1."""
    spread = origin.expert if operator.rpartition(".")[2].endswith(EXPERTS) else 1
    replicas = origin.data * origin.context // spread
    try:
        own, optimizer = ELEMENTS[Precision(origin.precision)].weight, Optimizer(origin.optimizer or Optimizer.NONE)
    except ValueError:
        return 1.0
    whole = bytes_of_weight(own, optimizer)
    return whole.sharded(1, replicas).total / whole.sharded(origin.zero, replicas).total
