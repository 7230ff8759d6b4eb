"""Operators as lines of graph.yaml, one line each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from planner.importers.document import OperatorDraft, VariantDraft, quoted
from planner.problem.graph import STEP_KEYS, ByDevice, Pass, PassTime

KEYS = {Pass.F: "forward", Pass.I: "input_grad", Pass.W: "weight_grad"}


@dataclass(frozen=True)
class ResidentVariant(VariantDraft):
    """A variant with other bytes of parameters."""

    parameters: float = 0.0


def entry(operator: OperatorDraft, indent: int = 2) -> str:
    """``- {name: ..., inputs: [...], time: {...}, parameters: ..., ...}``; sizes rounded to bytes."""
    fields = [f"name: {quoted(operator.name)}"]
    if operator.inputs is not None:
        fields.append(f"inputs: [{', '.join(map(quoted, operator.inputs))}]")
    if operator.stream.value != "compute":
        fields.append(f"stream: {operator.stream.value}")
    fields.append(f"time: {{{', '.join(_times(operator.times, operator.parameters))}}}")
    for key in ("parameters", "activation", "output"):
        if round(getattr(operator, key)):
            fields.append(f"{key}: {round(getattr(operator, key))}")
    if operator.colocate is not None:
        fields.append(f"colocate: {quoted(operator.colocate)}")
    if operator.step:
        fields.append(f"step: {{{', '.join(_step(operator))}}}")
    if operator.variants:
        fields.append(f"variants: [{', '.join(_variant(operator, variant) for variant in operator.variants)}]")
    return f"{' ' * indent}- {{{', '.join(fields)}}}\n"


def entries(operators: Iterable[OperatorDraft], indent: int = 2) -> str:
    """Several of them."""
    return "".join(entry(operator, indent) for operator in operators)


def seconds(value: float) -> str:
    """A time as people read it, exact to a nanosecond's thousandth."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value == 0:
            return "0"
        if value * scale >= 0.1 or unit == "us":
            return f"{round(value * scale, 9):.12g}" + (f" {unit}" if unit != "s" else "")
    raise AssertionError


def _times(times: Mapping[Pass, PassTime], parameters: float) -> Iterable[str]:
    for which, key in KEYS.items():
        if which in times:
            yield f"{key}: {_cost(times[which])}"
    if Pass.I in times and Pass.W not in times and round(parameters):
        yield "weight_grad: null"


def _step(operator: OperatorDraft) -> Iterable[str]:
    for which, key in STEP_KEYS.items():
        if which in operator.step:
            yield f"{key}: {_cost(operator.step[which])}"
    if round(operator.gradient):
        yield f"gradient: {round(operator.gradient)}"


def _variant(operator: OperatorDraft, variant: VariantDraft) -> str:
    """Times that differ from the operator's own, and the sizes."""
    times = [f"{KEYS[p]}: {_cost(cost)}" for p, cost in variant.times.items() if cost != operator.times.get(p)]
    if Pass.W in operator.times and Pass.W not in variant.times:
        times.append("weight_grad: null")
    fields = [f"name: {quoted(variant.name)}", f"time: {{{', '.join(times)}}}"]
    if isinstance(variant, ResidentVariant):
        fields.append(f"parameters: {round(variant.parameters)}")
    fields.append(f"activation: {round(variant.activation)}")
    return f"{{{', '.join(fields)}}}"


def _cost(cost: PassTime) -> str:
    if isinstance(cost, ByDevice):
        return "{" + ", ".join(f"{quoted(name)}: {seconds(value)}" for name, value in cost.seconds.items()) + "}"
    assert isinstance(cost, int | float)
    return seconds(cost)
