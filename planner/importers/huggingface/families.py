"""Families of models on Hugging Face: which fields of ``config.json`` hold which dimensions.

A field that a file leaves out has the default of the family's class in ``transformers``. The numbers of weights agree
with that library's models (``tests/importers/huggingface/test_hf_weights.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.files.errors import did_you_mean, listed, shown
from planner.importers.huggingface.classic import bert, gpt2, gpt_neox, opt, t5
from planner.importers.huggingface.config import HfConfig, Unfit
from planner.importers.huggingface.decoders import deepseek, gemma, llama, mixtral, qwen_moe
from planner.importers.huggingface.vision import llava, qwen2_5_vl, qwen2_vl
from planner.importers.transformer.model import Model

Reader = Callable[[HfConfig], Model]

TEXT: dict[str, Reader] = {
    "llama": llama,
    "mistral": llama,
    "qwen2": llama,
    "qwen3": llama,
    "phi3": llama,
    "gemma": gemma,
    "gemma2": gemma,
    "gemma3_text": gemma,
    "mixtral": mixtral,
    "qwen2_moe": qwen_moe,
    "qwen3_moe": qwen_moe,
    "deepseek_v2": deepseek,
    "deepseek_v3": deepseek,
    "kimi_k2": deepseek,
    "gpt2": gpt2,
    "opt": opt,
    "gpt_neox": gpt_neox,
    "t5": t5,
    "mt5": t5,
    "bert": bert,
}

FAMILIES: dict[str, Reader] = {
    **TEXT,
    "llava": lambda config: llava(config, _language),
    "qwen2_vl": lambda config: qwen2_vl(config, _language),
    "qwen2_5_vl": lambda config: qwen2_5_vl(config, _language),
}
"""By ``model_type``."""

LANGUAGE_OF = dict.fromkeys(("qwen2_vl_text", "qwen2_5_vl_text", "qwen2_vl", "qwen2_5_vl"), "qwen2")
"""The language models that have their own ``model_type`` inside a multimodal model."""


def read_model(config: HfConfig, family: str | None) -> Model:
    """The model's dimensions; ``family``: the known ``model_type`` to read an unknown one as.

    Raises ``InputError`` for the file, ``Unfit`` for ``family``.
    """
    if family is not None and family not in FAMILIES:
        raise Unfit(f"--family {family} is not known: {did_you_mean(family, FAMILIES)}")
    wanted = family or config.text_of("model_type", "")
    if not wanted:
        config.fail("model_type", "is missing: it says which family the model is of; --family says it instead")
    if wanted not in FAMILIES:
        known = listed(FAMILIES, most=len(FAMILIES))
        config.fail("model_type", f"{shown(wanted)} is not known; --family reads it as one of {known}")
    return replace(FAMILIES[wanted](config.read_as(wanted)), family=wanted)


def _language(config: HfConfig, default: str) -> Model:
    """The language model in a multimodal one."""
    kind = config.text_of("model_type", default)
    kind = LANGUAGE_OF.get(kind, kind)
    if kind not in TEXT:
        config.fail("model_type", f"{shown(kind)} is not known as a language model: {did_you_mean(kind, TEXT)}")
    return replace(TEXT[kind](config.read_as(kind)), family=kind)
