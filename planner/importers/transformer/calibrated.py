"""Calibrated times of kernels and collectives, for degrees of parallelism on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from planner.costs.accelerator import Accelerator, accelerator, known, read_accelerator
from planner.costs.collectives import Network, collective_seconds
from planner.costs.kernels import attention_seconds, decode_seconds, gemm_seconds, memory_seconds
from planner.importers.transformer.pricing import Kernel, Kind
from planner.importers.transformer.setting import Precision
from planner.problem.cluster import DeviceType, NetworkLevel
from planner.problem.graph import Collective, Pass


@dataclass(frozen=True)
class Calibrated:
    """``planner.importers.transformer.pricing.Pricing`` of an accelerator.

    ``per_node``: how many ranks of each group sit on one node (None: those with the same weights). ``floor``: the
    seconds that the host needs to launch one operator's pass, below which the device waits for it. ``moved``: how often
    kernels without reuse move their bytes, where the framework does not fuse them. ``kept``: how often they keep them.
    """

    accelerator: Accelerator
    between: Network | None
    per_node: tuple[tuple[Collective | None, int], ...]
    precision: Precision
    floor: float = 0.0
    moved: float = 1.0
    kept: float = 1.0

    def seconds(self, kernels: Sequence[Kernel]) -> float:
        """Seconds of kernels that run one after the other."""
        found = 0.0
        for kernel in kernels:
            times = self.moved if kernel.kind is Kind.MEMORY else 1.0
            found += times * _seconds(self.accelerator, kernel, self.precision)
        return max(self.floor, found)

    def update(self, size: float) -> float:
        """Seconds in which the optimizer reads and writes so many bytes."""
        return memory_seconds(self.accelerator, size)

    def collective(self, op: str, size: float, group: Collective | None, ranks: int) -> float:
        """Seconds of a collective of a buffer."""
        if ranks == 1:
            return 0.0
        per_node = min(ranks, max(1, dict(self.per_node).get(group, 1)))
        return collective_seconds(self.accelerator, op, size, ranks, per_node, self.between)


SUSTAINED = {"h100": 0.87, "h800": 0.87, "a100": 0.84}
"""Share of the rates of kernels alone that GEMMs and attention keep in a training step, by accelerator.

Fitted: ``scripts/measured_steps/fitted.py`` says on which rows. Of H800 it is that of H100.
"""

SUSTAINED_ELSEWHERE = 0.87
"""Where no training step was at hand: that of H100."""


def sustained(name: str) -> float:
    """The share of an accelerator."""
    return SUSTAINED.get(name, SUSTAINED_ELSEWHERE)


def ranks_per_node(tensor: int, context: int, node: int) -> tuple[tuple[Collective | None, int], ...]:
    """How many ranks of each group are on a node of so many GPUs: tensor ranks first, then context, data, stages."""
    inner = tensor * context
    return (
        (Collective.TENSOR, min(tensor, node)),
        (Collective.CONTEXT, max(1, node // tensor)),
        (Collective.EXPERT, max(1, node // tensor)),
        (Collective.WEIGHTS, max(1, node // inner)),
        (None, max(1, node // (tensor if context > 1 else inner))),
    )


def accelerator_named(name: str) -> Accelerator:
    """A shipped calibration by name, or that of a file, with the share of its rates that a step keeps.

    Raises ``ValueError`` for an unknown name, and ``InputError`` for a file that is wrong.
    """
    if name in known():
        return replace(accelerator(name), derate=sustained(name))
    path = Path(name)
    if path.suffix or path.exists():
        own = read_accelerator(path)
        return own if own.derate < 1 else replace(own, derate=sustained(own.name))
    return accelerator(name)  # which says what there is


def accelerator_of(kind: DeviceType, within_node: NetworkLevel | None, share: float | None = None) -> Accelerator:
    """The shipped calibration whose name the type begins with (``h100-sxm``); else a roofline of its rates.

    ``share``: of its rates that a training step keeps; None: as fitted. A roofline has its own efficiency. Raises
    ``ValueError`` where there is neither.
    """
    name = kind.name.lower().replace("_", "-")
    for each in sorted(known(), key=len, reverse=True):
        if name == each or name.startswith(f"{each}-"):
            return replace(accelerator(each), derate=sustained(each) if share is None else share)
    return Accelerator.roofline(kind, within_node)


def _seconds(accelerator: Accelerator, kernel: Kernel, precision: Precision) -> float:
    if kernel.kind is Kind.GEMM:
        m, n, k, groups = kernel.shape
        if kernel.which is Pass.W and groups > 1:  # each group has its own gradient, from its own tokens
            m, k = m * groups, k / groups
        return gemm_seconds(accelerator, m, n, k, precision.value, int(groups))
    if kernel.kind is Kind.ATTENTION:
        batch, queries, keys, heads, kv_heads, qk, value, causal = kernel.shape
        backward = kernel.which is not Pass.F
        return attention_seconds(accelerator, batch, queries, keys, heads, kv_heads, qk, value, bool(causal), backward)
    if kernel.kind is Kind.DECODE:
        sequences, keys, heads, kv_heads, qk, value, size = kernel.shape
        return decode_seconds(accelerator, sequences, keys, heads, kv_heads, qk, value, size)
    return memory_seconds(accelerator, kernel.shape[0])
