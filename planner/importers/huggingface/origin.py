"""What an imported graph was made from, for exports and for counting tokens: ``origin`` of graph.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.importers.document import BlockDraft, EntryDraft
from planner.importers.transformer.model import Model, Moe
from planner.importers.transformer.setting import Setting
from planner.importers.transformer.totals import Totals
from planner.problem.made_from import MadeFrom


def made_from(name: str, model: Model, setting: Setting, figures: Totals, entries: Sequence[EntryDraft]) -> MadeFrom:
    """The model, the batch and the degrees. ``figures``: of the model alone, whatever its degrees."""
    experts = [layer.feed_forward.experts for layer in model.decoder.layers if isinstance(layer.feed_forward, Moe)]
    return MadeFrom(
        model=name,
        family=model.family,
        rules=",".join(_rules(model, entries)) or None,
        layers=len(model.decoder.layers),
        experts=max(experts, default=0),
        mtp=model.mtp if setting.mtp else 0,
        sequence=setting.decoder_tokens if model.encoder else setting.tokens,
        micro_batch=setting.micro_batch,
        tensor=setting.tensor,
        context=setting.context,
        expert=setting.expert,
        data=setting.data,
        pipeline=setting.pipeline,
        precision=setting.precision.value,
        optimizer=setting.optimizer.value if setting.training else None,
        zero=setting.zero,
        recompute=setting.recompute.value,
        cut=setting.cut.value,
        tied=model.head.tied,
        flops_per_token=round(figures.training_flops if setting.training else figures.forward_flops),
    )


def _rules(model: Model, entries: Sequence[EntryDraft]) -> Iterator[str]:
    """The layers as Megatron names their kinds; nothing for a model with another tower, which its layouts lack."""
    if model.encoder is not None or model.vision is not None:
        return
    yield "E=embed"
    for entry in entries:
        if isinstance(entry, BlockDraft):
            yield from (f"t={pattern}" for pattern in _layers(entry, entry.name))
    if model.mtp:
        yield from ("L=mtp*_head", "m=mtp*")
    yield "L=head"


def _layers(block: BlockDraft, path: str) -> Iterator[str]:
    """The patterns of a block's layers: ``layer.*``, or ``layer.*.full.*`` where layers of several kinds repeat."""
    inner = [entry for entry in block.operators if isinstance(entry, BlockDraft)]
    if not inner:
        yield f"{path}.*"
    for entry in inner:
        yield from _layers(entry, f"{path}.*.{entry.name}")
