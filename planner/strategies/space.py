"""The space: every way in which ranks can share a model.

Tensor ranks share a node. Then come context, data and pipeline ranks; experts spread over context and data ranks. What
is the same is there once: experts of a model without any, ZeRO where nothing is replicated. ZeRO 0 and 1 are left out
where the runtime has a stage that holds less (``LESS_HELD_BY``), unless they are fixed. Stages a rank, the schedule and
what is recomputed are the plan's choice, not the space's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product

from planner.files.graph_file import MAX_MICROBATCHES
from planner.importers.huggingface.config import Unfit
from planner.importers.transformer.model import Model, Moe
from planner.importers.transformer.setting import WeightGrad
from planner.prediction.graphs import StrategyGraphs
from planner.prediction.strategy import Strategy
from planner.runtimes.runtime import Runtime
from planner.runtimes.whole_passes import WHOLE_BACKWARD
from planner.strategies.request import Request

MICRO_BATCHES = (1, 2, 4, 8, 16)
"""Sequences of a microbatch that are looked at, where no others are fixed."""

LESS_HELD_BY = {0: (1, 2), 1: (2,)}
"""ZeRO 2 holds less than 1 and takes as long. ZeRO 1 holds less than 0 and updates less; as much is sent, but what it
gathers comes after the update, where reduction may be hidden: a step with 0 may be shorter where memory is ample."""


@dataclass(frozen=True)
class Candidate:
    """A strategy of the space. ``order``: of the types of GPUs along the pipeline, where there are several."""

    strategy: Strategy
    order: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``TP 4, CP 2, PP 4, DP 2, microbatches of 1, ZeRO 1``."""
        s = self.strategy
        parts = [f"{key.upper()} {getattr(s, key)}" for key in ("tp", "cp", "ep", "pp", "dp") if getattr(s, key) > 1]
        parts += [f"microbatches of {s.mbs}"] + ([f"ZeRO {s.zero}"] if s.zero else [])
        return ", ".join(parts) + (f", {' before '.join(self.order)}" if len(self.order) > 1 else "")

    @property
    def key(self) -> list[object]:
        """What tells it from others of its question, as JSON."""
        return [*self.degrees.values(), *self.order]

    @property
    def degrees(self) -> dict[str, int]:
        """Its numbers, by name."""
        s = self.strategy
        return {key: getattr(s, key) for key in ("gpus", "tp", "cp", "ep", "pp", "dp", "mbs", "zero")}


@dataclass
class Space:
    """The valid strategies, and how many are not, by reason."""

    candidates: list[Candidate] = field(default_factory=list)
    invalid: Counter[str] = field(default_factory=Counter)

    @property
    def size(self) -> int:
        """All strategies, the invalid ones too."""
        return len(self.candidates) + self.invalid.total()


def weight_grad(runtime: Runtime) -> WeightGrad:
    """Whether gradients of weights are passes of their own in the graphs of a runtime."""
    whole = bool(runtime.schedules) and set(runtime.schedules) <= WHOLE_BACKWARD
    return WeightGrad.NEVER if whole else WeightGrad.STORED


def space_of(request: Request, graphs: StrategyGraphs) -> Space:
    """All strategies of a question, the valid ones as candidates."""
    found = Space()
    for gpus in request.gpus:
        for candidate in _of(request, graphs, gpus, found):
            found.candidates.append(candidate)
    return found


def _of(request: Request, graphs: StrategyGraphs, gpus: int, space: Space) -> Iterator[Candidate]:
    runtime, batch = request.runs, request.global_batch
    layers, experts = _layers(request.model), experts_of(request.model)
    sizes = [part.gpus for part in graphs.parts]
    allowed: dict[tuple[int, int, int, int], str] = {}
    for tp, cp, pp in _degrees(request, graphs, gpus):
        dp, ranks = gpus // (tp * cp * pp), gpus // pp
        if not request.allows("dp", dp):
            continue
        why = None
        if pp > layers:
            why = f"more stages than the {layers} layers"
        elif pp > 1 and not runtime.pipeline:
            why = f"{runtime.name} has no pipeline"
        elif batch % dp:
            why = f"dp does not divide the global batch of {batch}"
        elif len(sizes) > 1 and (any(size % ranks for size in sizes) or sum(sizes) != gpus):
            why = "a stage would have GPUs of several types"
        for mbs, ep in product(_micro_batches(request, batch // dp), _spread(request, experts, cp * dp)):
            reason = why
            if reason is None and (batch // dp) % mbs:
                reason = "mbs does not divide the sequences of a replica"
            if reason is None and batch // dp // mbs > MAX_MICROBATCHES:
                reason = f"more than {MAX_MICROBATCHES:,} microbatches"
            for zero in _zeros(request, runtime, cp * dp):
                strategy = Strategy(
                    gpus=gpus, tp=tp, cp=cp, ep=ep, pp=pp, dp=dp, vpp=1, mbs=mbs, gbs=batch, seq=request.sequence,
                    recompute=request.recompute, zero=zero, precision=request.precision, schedule="best",
                    runtime=runtime.name,
                )  # fmt: skip
                whole = reason or _unfit(strategy, graphs, runtime, allowed)
                if whole:
                    space.invalid[whole] += 1
                    continue
                names = [part.device.type.name for part in graphs.parts]
                for order in permutations(names) if len(names) > 1 else [()]:
                    yield Candidate(strategy, tuple(order))


def _degrees(request: Request, graphs: StrategyGraphs, gpus: int) -> Iterator[tuple[int, int, int]]:
    for tp in divisors(gpus):
        if tp > graphs.gpus_per_node or not request.allows("tp", tp):
            continue
        if any(part.per_node % tp for part in graphs.parts) and gpus > graphs.gpus_per_node:
            continue  # a group of tensor ranks would reach over two nodes
        for cp in divisors(gpus // tp):
            if request.sequence % cp or not request.allows("cp", cp):
                continue
            for pp in divisors(gpus // tp // cp):
                if request.allows("pp", pp):
                    yield tp, cp, pp


def _unfit(
    strategy: Strategy, graphs: StrategyGraphs, runtime: Runtime, known: dict[tuple[int, int, int, int], str]
) -> str:
    """Why the model cannot be shared so; empty where it can."""
    key = strategy.tp, strategy.cp, strategy.ep, strategy.dp
    if key not in known:
        try:
            graphs.check(strategy, weight_grad(runtime), runtime)
            known[key] = ""
        except Unfit as reason:
            known[key] = str(reason)
    return known[key]


def _micro_batches(request: Request, sequences: int) -> Sequence[int]:
    return request.fixed.get("mbs") or [mbs for mbs in MICRO_BATCHES if mbs <= max(1, sequences)]


def _spread(request: Request, experts: int, ranks: int) -> list[int]:
    """Ranks over which experts spread: those that divide their number; a model without experts has one way."""
    if not experts:
        return [1]
    return [ep for ep in divisors(ranks) if experts % ep == 0 and request.allows("ep", ep)]


def _zeros(request: Request, runtime: Runtime, replicas: int) -> list[int]:
    if "zero" in request.fixed:
        return [zero for zero in request.fixed["zero"] if zero in runtime.zero]
    if replicas == 1:
        return [0]
    return [zero for zero in runtime.zero if not any(other in runtime.zero for other in LESS_HELD_BY.get(zero, ()))]


def divisors(n: int) -> list[int]:
    """Of a whole number, ascending."""
    small = [k for k in range(1, int(n**0.5) + 1) if n % k == 0]
    return sorted({*small, *(n // k for k in small)})


def _layers(model: Model) -> int:
    stacks = (model.decoder, model.encoder, model.vision.stack if model.vision else None)
    return sum(len(stack.layers) for stack in stacks if stack is not None) + model.mtp


def experts_of(model: Model) -> int:
    """Routed experts of a layer; 0 where there are none."""
    counts = [layer.feed_forward.experts for layer in model.decoder.layers if isinstance(layer.feed_forward, Moe)]
    return max(counts, default=0)
