"""Figures of one strategy: latency and throughput of both phases, memory, and how little any stages could take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from planner.prediction.strategy import Strategy
from planner.problem import Cluster
from planner.strategies.inference.cuts import Cuts, Stages
from planner.strategies.inference.phases import Layers, Phases
from planner.strategies.inference.question import Question

SOLVED, OUT_OF_MEMORY, TOO_SLOW, OPEN = "solved", "out of memory", "too slow", "open"
"""States of a strategy: it has stages; none fit in memory; none meet a limit of latency; it was not looked at."""

TOKEN = 8.0
"""Bytes of a token's index, which the last stage sends to the first."""

ROUNDING = 2e-10
"""Relative: of a bound, so that the rounding of sums never lifts it above a figure."""


@dataclass(frozen=True)
class Channels:
    """Seconds of the transfers between stages: all that a prompt alone and a token meet, and the longest one.

    The longest one in prefill is that of prompts that are read together.
    """

    alone: float = 0.0
    decode: float = 0.0
    busiest_prefill: float = 0.0
    busiest_decode: float = 0.0


@dataclass(frozen=True)
class Figures:
    """Seconds and bytes of a strategy with given stages.

    ``prefill_latency``: of a prompt alone through all stages. ``prefill_period``: of the busiest stage or channel for
    each prompt, of ``prompts`` that are read together.
    ``token_latency``: from a sequence's token to its next one, in the middle of an answer.
    """

    question: Question
    strategy: Strategy
    stages: Stages
    prompts: int
    prefill_latency: float
    prefill_period: float
    pass_latency: float
    decode_period: float
    weights: float  # of the rank with most of both
    caches: float

    @property
    def in_flight(self) -> int:
        """Sequences of a replica: a microbatch a stage."""
        return self.strategy.mbs * self.strategy.pp

    @property
    def token_latency(self) -> float:
        """See above."""
        return token_latency(self.pass_latency, self.decode_period, self.strategy.pp)

    @property
    def request_seconds(self) -> float:
        """Of a replica for each request, where as many are in flight as may be."""
        return self.prefill_period + self.question.steps * self.token_latency / self.in_flight

    @property
    def seconds(self) -> float:
        """GPU seconds of a token of an answer, prefill included: what is minimised."""
        return self.request_seconds * gpus_of_replica(self.strategy) / self.question.output

    @property
    def requests_per_second(self) -> float:
        """Of all replicas."""
        return self.strategy.dp / self.request_seconds

    @property
    def decode_tokens_per_second(self) -> float:
        """Of all replicas while they decode only."""
        return self.strategy.dp * self.in_flight / self.token_latency

    @property
    def prefill_tokens_per_second(self) -> float:
        """Tokens of prompts that all replicas read while they prefill only."""
        return self.strategy.dp * self.question.prompt / self.prefill_period


@dataclass
class Looked:
    """What is known of a strategy. ``lower_bound``: GPU seconds of a token, for all contiguous stages."""

    strategy: Strategy
    state: str = OPEN
    reason: str = ""
    lower_bound: float = 0.0
    figures: Figures | None = None

    @property
    def seconds(self) -> float:
        """GPU seconds of a token; inf where it has no stages."""
        return math.inf if self.figures is None else self.figures.seconds


def token_latency(through: float, period: float, stages: int) -> float:
    """Seconds between tokens of a sequence, with a microbatch a stage in flight.

    A token starts when the one before it has passed ``through`` all stages, and every stage has a microbatch each
    ``period``.
    """
    return max(through, stages * period)


def gpus_of_replica(strategy: Strategy) -> int:
    """GPUs that hold the weights once (of experts, a part of them)."""
    return strategy.tp * strategy.pp


def looked_at(strategy: Strategy, phases: Phases) -> Looked:
    """The best stages of a strategy, or why it has none. Raises ``Unfit`` where the model cannot be shared so."""
    question, layers = phases.question, phases.layers(strategy)
    stages, cap = strategy.pp, phases.cap
    if math.fsum(layers.weights) + math.fsum(layers.caches) > stages * cap:
        return _refused(strategy, OUT_OF_MEMORY, "weights and caches of all stages are more than their memory")
    channels = channels_of(strategy, layers, phases.stages(strategy))
    prefill = math.fsum(layers.alone) + channels.alone
    through = math.fsum(layers.decode) + channels.decode
    cuts = Cuts(layers, stages)

    def cost(busiest_prefill: float, busiest_decode: float) -> float:
        a, b = max(busiest_prefill, channels.busiest_prefill), max(busiest_decode, channels.busiest_decode)
        token = token_latency(through, b, stages)
        each = a / layers.prompts + question.steps * token / (strategy.mbs * stages)
        return each * gpus_of_replica(strategy) / question.output

    if prefill > question.max_prefill:
        return _refused(strategy, TOO_SLOW, "the first token takes longer than --max-prefill-latency, whatever the cut")
    slow = "a token takes longer than --max-token-latency, whatever the cut"
    limited = question.steps > 0 and math.isfinite(question.max_token)
    if limited and token_latency(through, channels.busiest_decode, stages) > question.max_token:
        return _refused(strategy, TOO_SLOW, slow)
    found = cuts.best(cost, cap, question.max_token / stages if limited else math.inf)
    if found is None:
        if limited and cuts.best(cost, cap, math.inf) is not None:
            return _refused(strategy, TOO_SLOW, slow)
        return _refused(strategy, OUT_OF_MEMORY, "no cut into stages leaves each enough memory for weights and caches")
    chosen, bound = found
    fullest = _fullest(layers, chosen)
    figures = Figures(
        question, strategy, chosen, layers.prompts, prefill,
        max(chosen.prefill, channels.busiest_prefill) / layers.prompts, through,
        max(chosen.decode, channels.busiest_decode), *fullest,
    )  # fmt: skip
    return Looked(strategy, SOLVED, "", min(bound, figures.seconds) * (1 - ROUNDING), figures)


def channels_of(strategy: Strategy, layers: Layers, stages: Cluster) -> Channels:
    """The transfers from stage to stage, and of the new tokens from the last to the first.

    Every layer of a decoder writes a hidden state, so they are the same wherever the cuts are.
    """
    names = [device.name for device in stages.devices]
    if len(names) == 1:
        return Channels()
    alone = [stages.transfer_seconds(a, b, layers.alone_state) for a, b in pairwise(names)]
    prompts = [stages.transfer_seconds(a, b, layers.prompt_state) for a, b in pairwise(names)]
    decode = [stages.transfer_seconds(a, b, layers.token_state) for a, b in pairwise(names)]
    decode.append(stages.transfer_seconds(names[-1], names[0], TOKEN * strategy.mbs))
    return Channels(math.fsum(alone), math.fsum(decode), max(prompts), max(decode))


def _fullest(layers: Layers, stages: Stages) -> tuple[float, float]:
    """Bytes of weights and of caches of the stage that has most of both together."""
    both = [
        (sum(layers.weights[start:end]), sum(layers.caches[start:end])) for start, end in pairwise((0, *stages.ends))
    ]
    return max(both, key=sum)


def _refused(strategy: Strategy, state: str, reason: str) -> Looked:
    return Looked(strategy, state, reason, math.inf)
