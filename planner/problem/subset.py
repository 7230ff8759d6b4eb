"""The same problem on some of the devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.common.messages import listed, shown
from planner.problem.problem import Impossible, Problem


def subset(problem: Problem, devices: Sequence[int]) -> Problem:
    """The problem on these devices alone, in the order given; raises ``Impossible`` where an operator has none."""
    kept = [problem.cluster.devices[d] for d in devices]
    names = {device.name for device in kept}
    links = tuple(k for k in problem.cluster.links if k.source in names and k.target in names)
    operators = []
    for operator in problem.operators:
        if operator.origin is not None:  # names of devices that are left out are no mistakes
            operator = replace(operator, origin=None)  # noqa: PLW2901
        if operator.devices is not None:
            allowed = tuple(d.name for d in kept if any(d.answers_to(name) for name in operator.devices))
            if not allowed:
                raise Impossible(f"operator {shown(operator.name)} may run on none of {listed(sorted(names))}")
            operator = replace(operator, devices=allowed)  # noqa: PLW2901
        operators.append(operator)
    return replace(
        problem,
        graph=replace(problem.graph, operators=tuple(operators)),
        cluster=replace(problem.cluster, devices=tuple(kept), links=links),
    )
