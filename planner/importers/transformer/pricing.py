"""Times of kernels and collectives in place of work and bandwidths: what a calibrated cost model gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from planner.problem.graph import Collective, Pass


class Kind(StrEnum):
    """What a kernel is, which decides how its time follows from its shape."""

    GEMM = "gemm"  # m, n, k, groups
    ATTENTION = "attention"  # sequences, queries, keys, heads, kv heads, width of keys, of values, causal (0 or 1)
    DECODE = "decode"  # sequences, keys, heads, kv heads, width of keys, of values, bytes read and written
    MEMORY = "memory"  # bytes


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of one pass, by its shape: what a calibrated time is made of. ``Work`` is the same in sums."""

    which: Pass
    kind: Kind
    shape: tuple[float, ...]


class Pricing(Protocol):
    """Seconds by shape. ``group``: the ranks of a collective; None: those with the same weights.

    ``kept``: how often kernels without reuse keep what a fused one keeps once.
    """

    @property
    def kept(self) -> float:
        """See above."""
        ...

    def seconds(self, kernels: Sequence[Kernel]) -> float:
        """Seconds of kernels that run one after the other."""
        ...

    def update(self, size: float) -> float:
        """Seconds in which the optimizer reads and writes so many bytes."""
        ...

    def collective(self, op: str, size: float, group: Collective | None, ranks: int) -> float:
        """Seconds of ``all_reduce``, ``all_gather``, ``reduce_scatter`` or ``all_to_all`` of a buffer.

        ``size``: bytes of the whole buffer; of an all_to_all, those that a rank sends.
        """
        ...
