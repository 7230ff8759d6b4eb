"""Multimodal models: a vision tower, a projector, and a language model of another family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.files.errors import shown
from planner.importers.huggingface.config import HfConfig
from planner.importers.transformer.model import Attention, Layer, Mlp, Model, Stack, Vision

Language = Callable[[HfConfig, str], Model]


def llava(config: HfConfig, language: Language) -> Model:
    """LLaVA 1.5: a CLIP tower, two matrices as projector."""
    tower = config.part("vision_config")
    kind = tower.text_of("model_type", "clip_vision_model")
    if kind != "clip_vision_model":
        tower.fail("model_type", f"{shown(kind)} is not known as a vision tower: clip_vision_model is")
    text = language(config.part("text_config"), "llama")
    hidden, heads = tower.number("hidden_size", 768), tower.number("num_attention_heads", 12)
    layer = _tower_layer(hidden, heads, Mlp(tower.number("intermediate_size", 3072), gated=False, bias=True))
    patch = tower.number("patch_size", 32)
    width = text.decoder.hidden
    return replace(
        text,
        vision=Vision(
            Stack(hidden, (layer,) * tower.layers("num_hidden_layers", 12)),
            patch_inputs=3 * patch * patch,
            patch_pixels=patch,
            image_pixels=tower.number("image_size", 224),
            class_token=True,
            positions=True,
            outer_norms=4 * hidden,
            projector=(hidden, width, width),
        ),
    )


def qwen2_vl(config: HfConfig, language: Language) -> Model:
    """Qwen2-VL (arXiv 2409.12191): any resolution, 2 frames and 2 x 2 patches a token, LayerNorm."""
    tower = config.part("vision_config")
    hidden = tower.number("embed_dim", 1280)
    mlp = Mlp(round(hidden * tower.fraction("mlp_ratio", 4)), gated=False, bias=True)
    layer = _tower_layer(hidden, tower.number("num_heads", 16), mlp, rotary=True)
    return _qwen(config, language, tower, Stack(hidden, (layer,) * tower.layers("depth", 32)), 2 * hidden)


def qwen2_5_vl(config: HfConfig, language: Language) -> Model:
    """Qwen2.5-VL (arXiv 2502.13923): RMSNorm, gated MLPs, windows of patches in all layers but a few."""
    tower = config.part("vision_config")
    hidden, depth = tower.number("hidden_size", 1280), tower.layers("depth", 32)
    mlp = Mlp(tower.number("intermediate_size", 3420), gated=True, bias=True)
    layer = replace(_tower_layer(hidden, tower.number("num_heads", 16), mlp, rotary=True), norm_biases=False)
    edge = tower.number("window_size", 112) // tower.number("patch_size", 14)
    local = replace(layer, attention=replace(layer.attention, window=edge * edge))
    full = tower.numbers("fullatt_block_indexes") or [7, 15, 23, 31]
    layers = tuple(layer if i in full else local for i in range(depth))
    return _qwen(config, language, tower, Stack(hidden, layers), hidden)


def _qwen(config: HfConfig, language: Language, tower: HfConfig, stack: Stack, norm: int) -> Model:
    # The language model's fields are in text_config, or, in files of older releases, beside vision_config.
    text = language(config.part("text_config") if config.has("text_config") else config, "qwen2")
    patch, merge = tower.number("patch_size", 14), tower.number("spatial_merge_size", 2)
    merged = merge * merge
    channels = tower.number("in_channels", tower.number("in_chans", 3))
    frames = tower.number("temporal_patch_size", 2)
    wide = stack.hidden * merged
    return replace(
        text,
        vision=Vision(
            stack,
            patch_inputs=channels * frames * patch * patch,
            patch_pixels=patch,
            image_pixels=None,
            merged=merged,
            projector=(wide, wide, text.decoder.hidden),
            projector_norm=norm,
        ),
    )


def _tower_layer(hidden: int, heads: int, mlp: Mlp, rotary: bool = False) -> Layer:
    attention = Attention(heads, heads, hidden // heads, causal=False, qkv_bias=True, output_bias=True, rotary=rotary)
    return Layer(attention, mlp, norm_biases=True)
