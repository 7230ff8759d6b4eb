"""A MoE layer of DeepSeek-V3 as four operators, with measured times and derived bytes."""

from __future__ import annotations

from configurations.deepseek_figures import DEEPSEEK_MICROSECONDS, DeepSeekSizes
from planner.importers.document import OperatorDraft
from planner.problem.graph import Pass, Stream

PASSES = {"forward": Pass.F, "input_grad": Pass.I, "weight_grad": Pass.W}
ON_COMM = ("dispatch", "combine")


def measured(operator: str, factor: float = 1.0) -> dict[Pass, float]:
    """Seconds of the passes that were measured, means over four layers."""
    passes = DEEPSEEK_MICROSECONDS[operator]
    return {which: factor * sum(passes[key]) / len(passes[key]) / 1e6 for key, which in PASSES.items() if key in passes}


def moe_layer(s: DeepSeekSizes) -> list[OperatorDraft]:
    """Attention, dispatch, experts, combine, each reading the one before; the first reads the block's input."""
    sizes = {
        "attention": (s.attention_parameters, s.attention_activation, s.attention_output),
        "dispatch": (0, s.dispatch_activation, s.dispatch_output),
        "experts": (s.experts_parameters, s.experts_activation, s.experts_output),
        "combine": (0, 0, s.stage_output),
    }
    drafts: list[OperatorDraft] = []
    for name, (parameters, activation, output) in sizes.items():
        stream = Stream.COMM if name in ON_COMM else Stream.COMPUTE
        reads = (drafts[-1].name,) if drafts else None
        drafts.append(OperatorDraft(name, measured(name), reads, stream, parameters, activation, output=output))
    return drafts
