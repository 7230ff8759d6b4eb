"""The public figures of a model: weights, active weights, FLOP a token. For the header, and for tests.

They are those of the model alone: one rank, BF16, no recomputation, shared matrices counted once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.importers.transformer.drafts import Counted
from planner.importers.transformer.graph import TransformerGraph
from planner.importers.transformer.model import Layer, Model, Moe
from planner.importers.transformer.setting import Optimizer, Precision, Recompute, Setting, TiedEmbeddings


@dataclass(frozen=True)
class Totals:
    """The figures of the model in the header of the graph."""

    weights: float  # without multi-token prediction
    active: float  # active: those that are applied to a token
    mtp_weights: float
    forward_flops: float  # a token of the decoder, everything else of the model included, without MTP

    @property
    def training_flops(self) -> float:
        """FLOP a token of forward and backward: three times forward (6 N and attention; arXiv 2204.02311, app. B)."""
        return 3 * self.forward_flops


def totals(model: Model, setting: Setting) -> Totals:
    """Count the model on one rank."""
    plain = replace(
        setting,
        tensor=1,
        context=1,
        expert=1,
        data=1,
        precision=Precision.BF16,
        optimizer=Optimizer.SGD,
        recompute=Recompute.NONE,
        training=True,
        mtp=False,
        tied=TiedEmbeddings.COLOCATE,
    )
    counted = TransformerGraph(model, plain).counted
    weights = _weights(counted)
    all_weights = _weights(TransformerGraph(model, replace(plain, mtp=True)).counted)
    hidden = model.decoder.hidden
    length = plain.decoder_tokens if model.encoder else plain.tokens
    flops = sum(each.cost.forward.flops * each.times for each in counted)
    return Totals(
        weights=weights,
        active=weights - sum(_idle(layer, hidden) for layer in model.decoder.layers),
        mtp_weights=all_weights - weights,
        forward_flops=flops / (plain.micro_batch * length),
    )


def _weights(counted: list[Counted]) -> float:
    return sum((each.cost.matrices + each.cost.vectors) * each.times for each in counted)


def _idle(layer: Layer, hidden: int) -> float:
    """Weights of the routed experts to which a token is not routed."""
    moe = layer.feed_forward
    return (moe.experts - moe.per_token) * 3 * hidden * moe.width if isinstance(moe, Moe) else 0.0
