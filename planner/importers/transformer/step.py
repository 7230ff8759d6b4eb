"""What comes once a step, after the microbatches: reduction of the gradients, optimizer, gathering of the weights.

n ranks hold the same weights. A ring moves (n - 1) / n of a buffer through every rank for a reduce-scatter, and as much
for an all-gather; an all-reduce is both (Patarasuk and Yuan 2009, doi 10.1016/j.jpdc.2008.09.002). Which of them a
stage of ZeRO needs: arXiv 1910.02054, section 7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from planner.importers.transformer.costs import Cost
from planner.importers.transformer.setting import Optimizer, Setting, WeightBytes, weight_bytes
from planner.problem.graph import Pass, PassTime, Work


@dataclass(frozen=True)
class Step:
    """The step tasks of an operator, and the bytes of its whole gradient."""

    times: Mapping[Pass, PassTime] = field(default_factory=dict)
    gradient: float = 0.0


def ring(size: float, ranks: int, bandwidth: float) -> float:
    """Seconds of a reduce-scatter or an all-gather of ``size`` bytes."""
    return (ranks - 1) / ranks * size / bandwidth


def between_replicas(op: str, size: float, ranks: int, setting: Setting) -> float:
    """Seconds of a reduce_scatter or an all_gather of ``size`` bytes between the ranks with the same weights."""
    if setting.pricing is not None:
        return setting.pricing.collective(op, size, None, ranks)
    bandwidth = setting.between_replicas
    assert bandwidth is not None
    return ring(size, ranks, bandwidth)


def step_of(cost: Cost, setting: Setting, replicas: int) -> Step:
    """The step of an operator whose weights ``replicas`` ranks hold.

    ZeRO 0 adds the gradients up everywhere and updates all weights on every rank. ZeRO 1 and 2 leave each rank its
    part of the sums, the update of this part, and gather the weights. ZeRO 3 does not gather: every pass does that.
    """
    if not setting.steps or not cost.matrices + cost.vectors:
        return Step()
    gradient = _of_weights(cost, setting, lambda each: each.gradient)
    own = replicas if setting.zero else 1
    size, pricing = touched(cost, setting) / own, setting.pricing
    times: dict[Pass, PassTime] = {Pass.U: Work(0, size) if pricing is None else pricing.update(size)}
    if replicas > 1 and (pricing is not None or setting.between_replicas is not None):
        scatter = between_replicas("reduce_scatter", gradient, replicas, setting)
        times[Pass.R] = scatter if setting.zero else 2 * scatter
        if setting.zero in (1, 2):
            times[Pass.G] = between_replicas("all_gather", weights(cost, setting), replicas, setting)
    return Step(times, gradient)


def weights(cost: Cost, setting: Setting) -> float:
    """Bytes of the weights alone, as the passes read them."""
    return _of_weights(cost, setting, lambda each: each.weight)


def touched(cost: Cost, setting: Setting) -> float:
    """Bytes that the optimizer reads and writes for all weights of the operator, rows and columns of Adafactor too."""
    factors = cost.factors * 2 * weight_bytes(setting, True).factored
    return factors + _of_weights(cost, setting, lambda each: _touched(each, setting.optimizer))


def touched_bytes(setting: Setting) -> float:
    """Bytes that the optimizer reads and writes for one weight of a matrix product, its row and column aside."""
    return _touched(weight_bytes(setting, True), setting.optimizer)


def _touched(each: WeightBytes, optimizer: Optimizer) -> float:
    """Bytes for one weight: the gradient is read, the state read and written, the weight written.

    Where the state has no master copy of the weight, the weight is read, too. Adafactor reads the gradient twice, for
    its factors and for the update (arXiv 1804.04235, algorithm 4).
    """
    reads = 2 if optimizer is Optimizer.ADAFACTOR else 1
    return reads * each.gradient + 2 * each.state + (1 if each.master else 2) * each.weight


def _of_weights(cost: Cost, setting: Setting, of: Callable[[WeightBytes], float]) -> float:
    return cost.matrices * of(weight_bytes(setting, True)) + cost.vectors * of(weight_bytes(setting, False))
