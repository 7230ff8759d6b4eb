"""What a graph was made from: the model, the batch and the degrees of parallelism that an importer knew.

Plans do not depend on it. Exports write launch files from it, and throughput is counted in tokens with it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """``origin`` of graph.yaml; field by field as there.

    ``rules``: the layers as ``export --layers`` takes them, ``E=embed,t=layer.*,L=head``. ``flops_per_token``: of the
    model in one step (products of matrices and attention, each once, forward and backward), for MFU. ``pipeline``: the
    stages that the graph is meant for (None: as many as a cluster has devices).
    """

    model: str
    family: str | None = None
    rules: str | None = None
    layers: int | None = None  # of the decoder
    experts: int = 0  # routed, in a layer
    mtp: int = 0  # layers of multi-token prediction
    sequence: int | None = None  # tokens
    micro_batch: int = 1  # sequences
    tensor: int = 1
    context: int = 1
    expert: int = 1
    data: int = 1
    pipeline: int | None = None
    precision: str = "bf16"
    optimizer: str | None = None
    zero: int = 0
    recompute: str = "none"
    cut: str = "operator"
    tied: bool = False  # embedding and head share a matrix
    flops_per_token: float | None = None

    @property
    def stated(self) -> dict[str, str | int | float | bool]:
        """The fields by name that are not as by default."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {each.name: found[each.name] for each in fields(self) if found[each.name] != each.default}

    @property
    def ranks(self) -> int:
        """The GPUs for which a device of the cluster stands: those of its pipeline stage."""
        return self.tensor * self.context * self.data

    def sequences(self, microbatches: int) -> int:
        """The global batch, in sequences."""
        return self.micro_batch * self.data * microbatches

    def tokens(self, microbatches: int) -> int | None:
        """The tokens of a step over all replicas; None where the length of a sequence is not known."""
        return None if self.sequence is None else self.sequences(microbatches) * self.sequence
