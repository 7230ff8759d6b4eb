"""A runtime: a framework's limits on placements and orders, and what it overlaps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from planner.problem.graph import BASE, Collective

IN_ALL_LAYERS = "selective"
"""The variant that is a choice of modules: where first layers are recomputed in full, no other is recomputed so."""


class Cut(StrEnum):
    """Where a stage may end."""

    ANYWHERE = "anywhere that the graph's labels allow"
    LAYER = "between layers"


class Transfers(StrEnum):
    """Whether a device computes while it sends or receives."""

    HIDDEN = "hidden"
    EXPOSED = "exposed"
    INTERLEAVED = "exposed, hidden with virtual stages"


class Recomputing(StrEnum):
    """Which choices among variants a runtime can be told."""

    OPERATOR = "each operator by itself"
    STAGE = "each stage by itself"
    FIRST_LAYERS = "all layers alike, or as many first layers of every stage"
    UNIFORM = "all layers alike"


@dataclass(frozen=True)
class Runtime:
    """What a framework can run, how it runs it, and how it is launched.

    ``schedules``: the baselines whose order of stage passes it can run (empty: any order of operators). A stage pass
    runs as a whole: its operators one after another, and what it sends leaves when it ends. ``hides``: the collectives
    that run beside computation inside a stage pass; all others stop it. ``sources``: where that is documented.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    cut: Cut = Cut.LAYER
    schedules: tuple[str, ...] = ()
    chunks: int = 1  # most stages on a device, where a schedule has several
    uneven: bool = True  # stages may have any numbers of layers; else as equal as can be
    pipeline: bool = True
    hides: frozenset[Collective] = frozenset()
    transfers: Transfers = Transfers.EXPOSED
    balanced: bool = False  # unless told, it divides layers by their cost; else into equal numbers
    reduces_beside: bool = True  # gradients are reduced while other layers still compute their own
    recompute: Recomputing = Recomputing.UNIFORM
    zero: tuple[int, ...] = (0, 1)  # stages of ZeRO that it can run
    groups: str = ""  # how many microbatches a stage runs in a row
    host_seconds: float = 0.0  # that the host needs to launch the pass of one operator; for predictions only
    moved: float = 1.0  # how often kernels without reuse move their bytes: above 1 where they are not fused; as before
    launch: str = ""
    left_out: str = ""  # what it could also do and is not modelled

    @property
    def kept(self) -> float:
        """How often kernels without reuse keep their bytes: a chain of ``moved`` kernels has one less in between."""
        return max(1.0, self.moved - 1.0)

    @property
    def is_any(self) -> bool:
        """Whether it is the device model as it is."""
        return not self.schedules and self.pipeline

    def may_mix(self, name: str) -> bool:
        """Whether some layers may be in a variant of this name and others not."""
        if self.recompute is Recomputing.FIRST_LAYERS:
            return name not in (BASE, IN_ALL_LAYERS)
        return self.recompute is not Recomputing.UNIFORM

    def exposes_transfers(self, chunks: int) -> bool:
        """Whether transfers stop computation, with so many stages on a device."""
        return self.transfers is Transfers.EXPOSED or (self.transfers is Transfers.INTERLEAVED and chunks == 1)
