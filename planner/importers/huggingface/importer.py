"""``planner import hf``: the ``config.json`` of a Hugging Face model to an operator graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from planner.files.shipped import model_file
from planner.importers.document import Document
from planner.importers.huggingface.config import HfConfig, Unfit, read_config
from planner.importers.huggingface.families import read_model
from planner.importers.huggingface.flags import HfFlags
from planner.importers.huggingface.header import header, remarks
from planner.importers.huggingface.origin import made_from
from planner.importers.transformer.choices import entries_of
from planner.importers.transformer.graph import image_patches
from planner.importers.transformer.model import Attention, Layer, Mlp, Model, Moe
from planner.importers.transformer.setting import Optimizer, Recompute, Setting
from planner.importers.transformer.totals import totals
from planner.problem.graph import Mode

DEFAULT_TOKENS = 4096


def hf_document(path: Path, flags: HfFlags) -> Document:
    """The graph of the model in ``path``, or of the shipped model of that name.

    Raises ``InputError`` for a file that is wrong or of an unknown family, ``Unfit`` for flags that do not fit.
    """
    config = read_config(path)
    model = read_model(config, flags.family)
    setting = complete(model, flags)
    check_model(model, config)
    entries = entries_of(model, setting)
    figures = totals(model, setting)
    name = flags.name or _model_name(path)
    return Document(
        name=name,
        operators=entries,
        header=header(_source(path), model, setting, figures, flags),
        mode=Mode.TRAINING if setting.training else Mode.INFERENCE,
        microbatches=setting.microbatches,
        clip_gradients=setting.steps and setting.clip_gradients,
        origin=made_from(_model_name(path), model, setting, figures, entries),
        notes=tuple(remarks(model, setting, figures, entries)),
    )


def _source(path: Path) -> str:
    """What the header calls the config, so that its command makes the graph again: a file, or a shipped model."""
    file = model_file(path)
    return path.name if file == path else file.stem


def _model_name(path: Path) -> str:
    """The name of the config's file, or of its folder; ``--name`` names the graph of one strategy, not the model."""
    path = model_file(path)
    return (path.stem if path.stem != "config" else path.resolve().parent.name) or "model"


def complete(model: Model, flags: HfFlags) -> Setting:
    """The setting with its defaults for this model, checked. Raises ``Unfit``."""
    given = flags.setting
    tokens = 1 if given.decodes else flags.tokens or min(DEFAULT_TOKENS, model.longest or DEFAULT_TOKENS)
    spread = given.expert // math.gcd(given.expert, given.context)
    setting = replace(
        given,
        tokens=tokens,
        decoder_tokens=flags.decoder_tokens or tokens,
        data=flags.data or spread,
        images=1 if flags.images is None else flags.images,
    )
    if not setting.training:
        setting = replace(setting, optimizer=Optimizer.NONE, recompute=Recompute.NONE, zero=0, mtp=False)
    for problem in _problems(model, setting, flags):
        raise Unfit(problem)
    return setting


def _problems(model: Model, setting: Setting, flags: HfFlags) -> Iterator[str]:
    """What does not fit, most serious first."""
    if flags.decoder_tokens is not None and model.encoder is None:
        yield f"--decoder-sequence is for encoder-decoder models, and {model.family} has no encoder"
    if model.positions and model.longest is not None and setting.tokens > model.longest:
        yield f"--sequence {setting.tokens} is longer than the model's table of {model.longest} positions"
    if setting.decodes:
        yield from _decode(model, setting, flags)
    yield from _degrees(model, setting, flags)
    yield from _vision(model, setting, flags)


def _decode(model: Model, setting: Setting, flags: HfFlags) -> Iterator[str]:
    assert setting.cached is not None
    if setting.training:
        yield "--cached-tokens is of a decode step: give --mode inference too"
    if flags.tokens is not None:
        yield "--cached-tokens and --sequence exclude each other: a decode step has one new token of each sequence"
    if setting.context > 1:
        yield "--sequence-parallel cannot split the one new token of a sequence in a decode step"
    if model.encoder is not None or model.vision is not None:
        yield f"--cached-tokens is for decoders of text, and {model.family} has another tower"
    elif not all(layer.attention.causal for layer in model.decoder.layers):
        yield f"--cached-tokens is for decoders, and {model.family} generates no tokens"
    seen = max(setting.cached + 1, setting.reserved or 0)
    if model.positions and model.longest is not None and seen > model.longest:
        yield f"{seen} tokens are more than the model's table of {model.longest} positions"


def _degrees(model: Model, setting: Setting, flags: HfFlags) -> Iterator[str]:
    tensor, context, expert = setting.tensor, setting.context, setting.expert
    for what, size in _tensor_cuts(model, tensor):
        if size % tensor:
            yield f"--tensor-parallel {tensor} must divide the {size} {what} of the model"
    for flag, tokens in (("--sequence", setting.tokens), ("--decoder-sequence", setting.decoder_tokens)):
        if tokens % context:
            yield f"--sequence-parallel {context} must divide {flag} {tokens}"
    experts = {layer.feed_forward.experts for layer in model.decoder.layers if isinstance(layer.feed_forward, Moe)}
    if expert > 1 and not experts:
        yield f"--expert-parallel {expert}: {model.family} has no experts"
    for count in experts:
        if count % expert:
            yield f"--expert-parallel {expert} must divide the {count} experts of the model"
    if (setting.data * context) % expert:
        yield (
            f"--expert-parallel {expert} spreads experts over the data x sequence parallel ranks of a stage, and must "
            f"divide their number, {setting.data} x {context}: give --data-parallel {expert} or a multiple"
        )
    if setting.sends_per_token is not None and expert == 1:
        yield "--sends-per-token is for experts on several ranks: give --expert-parallel too"
    many = [
        f"--{name}-parallel" for name, n in (("tensor", tensor), ("sequence", context), ("expert", expert)) if n > 1
    ]
    if many and setting.interconnect is None:
        yield f"{many[0]} needs --interconnect, the bandwidth of a rank between them, such as 50GB/s"


def _tensor_cuts(model: Model, tensor: int) -> Iterator[tuple[str, int]]:
    """The sizes that tensor parallelism divides, each with its name in a message."""
    stacks = [model.decoder, model.encoder, model.vision.stack if model.vision else None]
    for layer in {layer for stack in stacks if stack is not None for layer in stack.layers}:
        yield "attention heads", layer.attention.heads
        if layer.attention.kv_heads > tensor:
            yield "key and value heads", layer.attention.kv_heads
        part = layer.feed_forward
        yield ("columns of the MLP" if isinstance(part, Mlp) else "columns of an expert"), part.width
        if isinstance(part, Moe) and part.shared_width:
            yield "columns of the shared expert", part.shared_width


def _vision(model: Model, setting: Setting, flags: HfFlags) -> Iterator[str]:
    vision = model.vision
    if vision is None:
        if setting.image_pixels is not None or flags.images is not None or setting.freeze_vision:
            yield f"--images, --image-size and --freeze-vision are for models that see, and {model.family} does not"
        return
    if vision.image_pixels is None and setting.image_pixels is None:
        yield f"{model.family} takes images of any size: give --image-size, their edge in pixels, such as 448"
        return
    edge = setting.image_pixels or vision.image_pixels or 0
    multiple = vision.patch_pixels * math.isqrt(vision.merged)
    if vision.image_pixels is not None and edge != vision.image_pixels:
        yield f"--image-size must be that of the model, {vision.image_pixels} pixels"
    elif not edge or (edge % multiple and vision.image_pixels is None):
        yield f"--image-size {edge} must be a multiple of {multiple} pixels"
    tokens = setting.images * image_patches(vision, setting) // vision.merged
    if tokens > setting.tokens:
        yield f"{setting.images} image(s) are {tokens} tokens, more than --sequence {setting.tokens}: raise it"


def check_model(model: Model, config: HfConfig) -> None:
    """Raise ``InputError`` if the dimensions of the file make no model."""
    for stack in (model.decoder, model.encoder, model.vision.stack if model.vision else None):
        for layer in set(stack.layers if stack else ()):
            _check_layer(layer, config)


def _check_layer(layer: Layer, config: HfConfig) -> None:
    attention: Attention = layer.attention
    if attention.head_dim < 1:
        config.fail("hidden_size", f"leaves nothing for each of {attention.heads} heads")
