"""How a transformer is trained or run: batch, degrees of parallelism, precision, optimizer; bytes of a weight.

A device of the planned cluster stands for one rank of a pipeline stage. The stage has tensor x sequence x data ranks;
they run in lockstep, so only one of them is planned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.importers.transformer.pricing import Pricing


class Precision(StrEnum):
    """The precision of GEMMs."""

    BF16 = "bf16"
    FP8 = "fp8"
    FP32 = "fp32"


class Optimizer(StrEnum):
    """The optimizer, which determines the state of every weight."""

    ADAM = "adam"
    ADAM_FP32_MASTER = "adam-fp32-master"
    ADAFACTOR = "adafactor"
    SGD = "sgd"
    NONE = "none"


class Recompute(StrEnum):
    """What backward recomputes instead of storing it; ``choose``: a plan decides, operator by operator."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"
    CHOOSE = "choose"


class WeightGrad(StrEnum):
    """Where the gradients of the weights are a pass of their own, and not part of input_grad.

    ``never``; ``stored``: where nothing is recomputed; ``fitting``: with selective recomputation also in operators in
    which W holds no more than forward has kept, so that a pass of its own costs no memory.
    """

    NEVER = "never"
    STORED = "stored"
    FITTING = "fitting"


class Cut(StrEnum):
    """Where a pipeline may be cut; what lies between is colocated.

    ``operator``: anywhere. ``part``: attention with its collectives, a feed-forward part with its reduction, experts
    from router to combine. ``layer``: between layers, where frameworks cut.
    """

    OPERATOR = "operator"
    PART = "part"
    LAYER = "layer"


class TiedEmbeddings(StrEnum):
    """How embedding and head share one matrix."""

    COPY = "copy"
    COLOCATE = "colocate"


@dataclass(frozen=True)
class Elements:
    """Bytes of an element, by what it is, and device FLOP for one FLOP of a GEMM.

    FP8 as in DeepSeek-V3 (arXiv 2412.19437, section 3.3): GEMM weights and GEMM inputs have 1 byte, all else stays
    BF16, attention included. Cluster files state the BF16 rate: FP8 GEMMs run at twice that, FP32 ones (on tensor
    cores, as TF32) at half of it.
    """

    weight: int
    vector: int  # weights outside GEMMs: norms, biases, embeddings
    activation: int
    gemm_input: int
    gemm_scale: float
    core_scale: float


ELEMENTS = {
    Precision.BF16: Elements(2, 2, 2, 2, 1.0, 1.0),
    Precision.FP8: Elements(1, 2, 2, 1, 0.5, 1.0),
    Precision.FP32: Elements(4, 4, 4, 4, 2.0, 2.0),
}


@dataclass(frozen=True)
class Setting:
    """The flags of ``planner import hf`` that shape the graph, checked and complete."""

    micro_batch: int = 1
    tokens: int = 4096  # a sequence
    decoder_tokens: int = 4096  # of an encoder-decoder model
    images: int = 1  # a sequence
    image_pixels: int | None = None
    microbatches: int = 8
    tensor: int = 1
    context: int = 1  # sequence (context) parallel degree
    expert: int = 1
    data: int = 1
    sends_per_token: int | None = None
    precision: Precision = Precision.BF16
    optimizer: Optimizer = Optimizer.ADAM_FP32_MASTER
    zero: int = 1
    recompute: Recompute = Recompute.NONE
    weight_grad: WeightGrad = WeightGrad.STORED
    training: bool = True
    cached: int | None = None  # tokens before a sequence's new one, in a decode step; None: no decode step
    reserved: int | None = None  # tokens of a sequence that a decode step's cache has room for; None: those it reads
    last_logits: bool = False  # inference: logits of each sequence's last token only, as generation needs
    mtp: bool = True
    freeze_vision: bool = False
    tied: TiedEmbeddings = TiedEmbeddings.COPY
    cut: Cut = Cut.PART
    pricing: Pricing | None = None  # None: work by FLOP and bytes, collectives by bandwidth
    pipeline: int | None = None  # stages that the graph is meant for; None: as many as a cluster has devices
    interconnect: float | None = None  # bytes/s
    tensor_interconnect: float | None = None  # bytes/s
    data_interconnect: float | None = None  # bytes/s
    whole_step: bool = True  # reduction, optimizer and gathering of the weights too
    clip_gradients: bool = True

    @property
    def elements(self) -> Elements:
        """Bytes of an element."""
        return ELEMENTS[self.precision]

    @property
    def decodes(self) -> bool:
        """Whether a pass is a decode step: one new token a sequence, which attends to the cached ones and itself."""
        return self.cached is not None

    @property
    def dense_replicas(self) -> int:
        """Ranks of a stage that hold the same part of a dense weight."""
        return self.data * self.context

    @property
    def expert_replicas(self) -> int:
        """Ranks of a stage that hold the same part of an expert."""
        return self.data * self.context // self.expert

    @property
    def between_replicas(self) -> float | None:
        """Bandwidth of a rank to those that hold the same weights; without data ranks these are sequence ranks."""
        near = self.tensor_interconnect if self.data == 1 else None
        return self.data_interconnect or near or self.interconnect

    @property
    def steps(self) -> bool:
        """Whether operators with weights have step tasks."""
        return self.training and self.whole_step and self.optimizer is not Optimizer.NONE

    @property
    def gathers(self) -> bool:
        """Whether weights are split over ranks and gathered for each pass."""
        priced = self.between_replicas is not None or self.pricing is not None
        return self.zero == 3 and self.whole_step and priced


@dataclass(frozen=True)
class WeightBytes:
    """Bytes of one weight: itself, its gradient, optimizer state; ``factored``: bytes for each row and column.

    ``master``: the state has a copy of the weight, which the optimizer updates in its place.
    """

    weight: float
    gradient: float
    state: float
    factored: float = 0.0
    master: bool = False

    def sharded(self, zero: int, replicas: int) -> WeightBytes:
        """The share of a rank under ZeRO (arXiv 1910.02054, section 5): stage 1 splits the state, 2 also gradients,
        3 also the weights, over all ranks that hold the same part."""
        parts = [replicas if zero >= stage else 1 for stage in (3, 2, 1)]
        return replace(
            self,
            weight=self.weight / parts[0],
            gradient=self.gradient / parts[1],
            state=self.state / parts[2],
            factored=self.factored / parts[2],
        )

    @property
    def total(self) -> float:
        """Bytes a weight, factored state aside."""
        return self.weight + self.gradient + self.state


def weight_bytes(setting: Setting, gemm: bool, frozen: bool = False) -> WeightBytes:
    """Bytes of one weight (of a GEMM, or another) before ZeRO."""
    own = setting.elements.weight if gemm else setting.elements.vector
    trained = setting.training and not frozen
    return bytes_of_weight(own, setting.optimizer if trained else Optimizer.NONE)


def bytes_of_weight(own: float, optimizer: Optimizer) -> WeightBytes:
    """Bytes of a weight that has ``own`` bytes itself.

    - ``adam-fp32-master``: gradients accumulated in FP32, FP32 master weights and two FP32 moments, 18 bytes in all
      with BF16 weights (Megatron-LM, docs of the distributed optimizer); no master if the weights are FP32 already.
    - ``adam``: gradients and both moments in the precision of the weights, but BF16 where those are FP8, with a BF16
      copy that the optimizer updates.
    - ``adafactor``: no moments, but an FP32 factor for each row and column (arXiv 1804.04235, section 3).
    - ``sgd``: no momentum, so no state. ``none``, and in inference and where frozen: the weight alone.
    """
    full = max(own, 2.0)  # FP8 is too coarse to accumulate in
    copy = full if own < 2 else 0.0
    match optimizer:
        case Optimizer.NONE:
            return WeightBytes(own, 0, 0)
        case Optimizer.ADAM_FP32_MASTER:
            return WeightBytes(own, 4, 8 if own >= 4 else 12, master=own < 4)
        case Optimizer.ADAM:
            return WeightBytes(own, full, copy + 2 * full, master=own < 2)
        case Optimizer.ADAFACTOR:
            return WeightBytes(own, full, copy, 4, master=own < 2)
        case _:
            return WeightBytes(own, full, copy, master=own < 2)
