"""What is asked: a model, GPUs, the lengths of prompt and answer, limits of latency, and what is fixed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from planner.importers.transformer.model import Model
from planner.importers.transformer.setting import Precision
from planner.problem import Cluster
from planner.strategies.asked import read_both

DEGREES = ("tp", "ep", "pp", "dp", "mbs")
"""What ``fixed`` may name, each with the values that it may have."""


PRECISIONS = tuple(each.value for each in Precision)

TOKENS_TOGETHER = 8192
"""Tokens of short prompts that are read in one pass: vLLM's ``max_num_batched_tokens`` on GPUs of this size."""


@dataclass(frozen=True)
class Question:
    """One question.

    ``prompt``, ``output``: tokens of a request, read and written. ``memory``: bytes of a GPU, in place of the
    cluster's. ``max_prefill``, ``max_token``: seconds to the first token, and from token to token. ``fixed``: the
    values of degrees that are allowed, by name.
    """

    name: str
    model: Model
    cluster: Cluster
    gpus: int
    prompt: int
    output: int
    precision: str = "bf16"
    memory: float | None = None
    calibration: str | None = None
    max_prefill: float = math.inf
    max_token: float = math.inf
    fixed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def allows(self, name: str, value: int) -> bool:
        """Whether a degree may have the value."""
        return name not in self.fixed or value in self.fixed[name]

    @property
    def cached(self) -> int:
        """Tokens that a decode step finds in the cache, in the middle of an answer."""
        return self.prompt + max(0, self.output - 2) // 2

    def together(self, in_flight: int) -> int:
        """Prompts that a replica reads in one pass, of so many sequences that it may have in flight."""
        return min(in_flight, max(1, TOKENS_TOGETHER // self.prompt))

    @property
    def steps(self) -> int:
        """Decode steps of a request: prefill makes the first token."""
        return self.output - 1


def question_of(
    config: Path,
    cluster: Path,
    *,
    prompt: int,
    output: int,
    family: str | None = None,
    gpus: int | None = None,
    precision: str = "bf16",
    memory: float | None = None,
    calibration: str | None = None,
    max_prefill: float = math.inf,
    max_token: float = math.inf,
    fixed: Mapping[str, tuple[int, ...]] | None = None,
) -> Question:
    """The question about a model (its file, or the name of a shipped one) on a cluster.

    ``gpus``: how many to use; None: all. Raises ``InputError`` for the files, ``ValueError`` for the other arguments.
    """
    name, model, machines, (many,) = read_both(config, cluster, family, None if gpus is None else (gpus,))
    fixed = fixed or {}
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}")
    for degree in fixed:
        if degree not in DEGREES:
            raise ValueError(f"inference has no degree {degree!r} to fix: {', '.join(DEGREES)}")
    if len({device.type.name for device in machines.devices}) > 1:
        raise ValueError("inference is planned on GPUs of one type: name a cluster of one")
    if model.encoder is not None or model.vision is not None:
        raise ValueError(f"inference is planned for decoders of text, and {model.family} has another tower")
    if not all(layer.attention.causal for layer in model.decoder.layers):
        raise ValueError(f"inference is planned for decoders, and {model.family} generates no tokens")
    if model.positions and model.longest is not None and prompt + output > model.longest:
        raise ValueError(
            f"a prompt of {prompt:,} tokens and {output:,} more exceed the model's {model.longest:,} positions"
        )
    return Question(
        name, model, machines, many, prompt, output, precision, memory, calibration, max_prefill, max_token, fixed
    )
