"""Bounds of a strategy in milliseconds, from the entries of its graph alone.

Each stage has one device. The busiest computes at least the mean, and holds at least the mean of weights, gradients and
optimizer state: seconds that no plan of the strategy beats, and bytes that no plan does without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from planner.importers.document import BlockDraft, EntryDraft, OperatorDraft
from planner.importers.transformer.setting import Cut, Recompute, WeightGrad
from planner.prediction.graphs import StrategyGraphs
from planner.problem import BASE
from planner.problem.graph import ByDevice, Pass, PassTime, Stream
from planner.runtimes.runtime import Runtime
from planner.strategies.space import Candidate, weight_grad


@dataclass(frozen=True)
class Quick:
    """Lower bounds: seconds of a step, bytes of the fullest rank. ``likely``: seconds that a step may take, or None.

    ``likely`` is no bound: it says what to look at first. It is 1F1B with ideal balance and the best uniform choice
    that fits in memory so.
    """

    seconds: float
    bytes: float
    likely: float | None


@dataclass
class _Sums:
    """Of all operators: seconds of a microbatch, seconds of the update, bytes."""

    compute: float = 0.0
    comm: float = 0.0
    update: float = 0.0
    parameters: float = 0.0
    activation: float = 0.0


def quick(candidate: Candidate, graphs: StrategyGraphs, runtime: Runtime, cap: float, closely: bool = True) -> Quick:
    """The bounds of a candidate. What is recomputed only adds time, so the operators as they stand take the least.

    ``cap``: bytes of a GPU. Not ``closely``: without what might be recomputed, in half the time.
    """
    strategy = candidate.strategy
    if not closely and strategy.recompute == Recompute.CHOOSE:
        strategy = replace(strategy, recompute=Recompute.NONE.value)
    entries, _ = graphs.entries(strategy, weight_grad(runtime), runtime, Cut.LAYER)
    drafts = list(_drafts(entries))
    names = dict.fromkeys(variant.name for draft, _ in drafts for variant in draft.variants)
    plain, *others = (_sums(drafts, runtime, name) for name in (BASE, *names))
    stages, m = strategy.pp, strategy.microbatches
    busiest = max(m * plain.compute + plain.update, m * plain.comm)
    in_turn = weight_grad(runtime) is WeightGrad.NEVER and not graphs.has_branches
    one = plain.compute if in_turn else 0.0  # a microbatch passes all stages, there and back
    likely = [
        max(1.0, (m + (stages - 1) / 2) / stages) * each.compute
        for each in (plain, *others)
        if each.parameters + min(stages, m) * each.activation <= cap * stages
    ]
    return Quick(max(one, busiest / stages), plain.parameters / stages, min(likely, default=None))


def _sums(drafts: Iterable[tuple[OperatorDraft, int]], runtime: Runtime, name: str) -> _Sums:
    """Those with every operator that has it in the variant ``name``."""
    found = _Sums()
    for draft, times in drafts:
        chosen = next((variant for variant in draft.variants if variant.name == name), draft)
        seconds = times * sum(_least(chosen.times[which]) for which in chosen.times)
        if draft.stream is Stream.COMM:
            found.comm += seconds
        if draft.stream is not Stream.COMM or draft.collective not in runtime.hides:
            found.compute += seconds
        found.update += times * _least(draft.step.get(Pass.U, 0.0))
        found.parameters += times * draft.parameters
        found.activation += times * chosen.activation
    return found


def _drafts(entries: Sequence[EntryDraft], times: int = 1) -> Iterator[tuple[OperatorDraft, int]]:
    """Every operator, and how often it is in the graph."""
    for entry in entries:
        if isinstance(entry, BlockDraft):
            yield from _drafts(entry.operators, times * entry.repeat)
        else:
            yield entry, times


def _least(cost: PassTime) -> float:
    """Seconds on the fastest type of device; 0 where they are not stated as seconds."""
    if isinstance(cost, ByDevice):
        return min(cost.seconds.values(), default=0.0)
    return float(cost) if isinstance(cost, int | float) else 0.0
