"""A problem whose stages end only where a runtime can end them: by labels that keep layers together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fnmatch import fnmatchcase

from planner.problem import Problem
from planner.runtimes.runtime import Cut, Runtime


def layer_of(name: str, rules: str | None = None) -> str | None:
    """The layer that an operator is a part of, by its name; None for what is no layer.

    A layer is a repetition of the innermost block: of ``layer.3.attn`` it is ``layer.3``. Modules of multi-token
    prediction, which ``rules`` name (``m=mtp*``), are layers, too.
    """
    parts = name.split(".")
    last = max((k for k, part in enumerate(parts) if part.isdigit()), default=0)
    if last:
        return ".".join(parts[: last + 1])
    for rule in (rules or "").split(","):
        kind, _, pattern = rule.partition("=")
        if pattern and fnmatchcase(parts[0], pattern):
            return parts[0].partition("_")[0] if kind == "m" else None
    return None


def counted_layer_of(name: str, rules: str | None = None) -> str | None:
    """The layer that an operator is a part of, where a runtime counts it among those that it recomputes first.

    Modules of multi-token prediction are not counted: ``m`` of the rules.
    """
    for rule in (rules or "").split(","):
        kind, _, pattern = rule.partition("=")
        if kind == "m" and pattern and any(fnmatchcase(part, pattern) for part in (name, name.partition(".")[0])):
            return None
    return layer_of(name, rules)


def cut_for(problem: Problem, runtime: Runtime) -> Problem:
    """The problem with the labels that a runtime's cuts add; itself where they add none.

    Labels that reach over several layers (an embedding and a head that share a matrix) stay.
    """
    if runtime.cut is not Cut.LAYER:
        return problem
    origin = problem.graph.made_from
    rules = None if origin is None else origin.rules
    layers = [layer_of(operator.name, rules) for operator in problem.operators]
    reach: dict[str, set[str | None]] = {}
    for operator, layer in zip(problem.operators, layers, strict=True):
        if operator.colocate is not None:
            reach.setdefault(operator.colocate, set()).add(layer)
    many = Counter(layers)
    made = [
        replace(operator, colocate=f"{layer} (layer)")
        if layer is not None and many[layer] > 1 and len(reach.get(operator.colocate or "", {layer})) == 1
        else operator
        for operator, layer in zip(problem.operators, layers, strict=True)
    ]
    if made == list(problem.operators):
        return problem
    return replace(problem, graph=replace(problem.graph, operators=tuple(made)))
