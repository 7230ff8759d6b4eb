"""Weights and FLOP of imported transformers against public figures and against torch's own count."""

from __future__ import annotations

import pytest
from hf_models import NAMES, PUBLISHED, model_of, setting_of

from planner.importers.transformer.model import Model, Moe
from planner.importers.transformer.totals import totals


def causal_saving(model: Model, tokens: int) -> float:
    """FLOP a token that a causal mask saves of an attention over all pairs; none of these has a shorter window."""
    saved = 0.0
    for layer in model.decoder.layers:
        a = layer.attention
        if a.causal:
            saved += 4 * a.heads * a.head_dim * (tokens - (tokens + 1) / 2)
    return saved


def test_every_config_has_a_published_count() -> None:
    assert set(NAMES) == set(PUBLISHED["weights"])


@pytest.mark.parametrize("name", NAMES)
def test_weights(name: str) -> None:
    counted = totals(model_of(name), setting_of(name, images=0 if model_of(name).vision else None))
    assert counted.weights == pytest.approx(PUBLISHED["weights"][name], rel=1e-5)


@pytest.mark.parametrize("name", PUBLISHED["active"])
def test_weights_that_a_token_meets(name: str) -> None:
    counted = totals(model_of(name), setting_of(name))
    assert counted.active == pytest.approx(PUBLISHED["active"][name], rel=5e-3)


def test_multi_token_prediction_of_deepseek_v3() -> None:
    """The module has one layer with experts, the joining matrix and its norms; the rest it shares."""
    counted = totals(model_of("deepseek-v3"), setting_of("deepseek-v3"))
    layer = (671026404352 - 2 * 129280 * 7168 - 7168) / 61  # mean, of which the three dense ones are smaller
    assert counted.mtp_weights == pytest.approx(11.6e9, rel=5e-3)  # 14 B on the card, with embedding and head again
    assert counted.mtp_weights > layer


@pytest.mark.parametrize("name", PUBLISHED["flops"])
def test_forward_flops_are_those_that_torch_counts(name: str) -> None:
    model = model_of(name)
    counted = totals(model, setting_of(name, tokens=512)).forward_flops
    assert counted == pytest.approx(PUBLISHED["flops"][name] - causal_saving(model, 512), rel=1e-6)


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen2.5-72b", "mixtral-8x7b", "qwen3-235b-a22b"])
def test_training_flops_follow_the_6n_rule(name: str) -> None:
    """6 FLOP a weight that a token meets, less the embedding's rows, and 12 x keys x width of attention."""
    model, tokens = model_of(name), 4096
    figures = totals(model, setting_of(name, tokens=tokens))
    met = figures.active - model.vocabulary * model.decoder.hidden
    attention = sum(12 * (tokens + 1) / 2 * x.attention.heads * x.attention.head_dim for x in model.decoder.layers)
    assert figures.training_flops == pytest.approx(6 * met + attention, rel=1e-3)


def test_windows_save_flops_beyond_their_length() -> None:
    """Mistral's window of 4096: short sequences meet all keys, long ones 4096 on average at most."""
    model = model_of("mistral-7b")
    short, long = (totals(model, setting_of("mistral-7b", tokens=n)).forward_flops for n in (4096, 32768))
    keys = [(4096 + 1) / 2, (4096 * 4097 / 2 + (32768 - 4096) * 4096) / 32768]
    width = 4 * 32 * 128 * 32
    assert long - short == pytest.approx(width * (keys[1] - keys[0]), rel=1e-9)


def test_experts_are_counted_by_hand() -> None:
    """Qwen3-30B-A3B: 48 layers of 128 experts with three matrices of 2048 x 768."""
    figures = totals(model_of("qwen3-30b-a3b"), setting_of("qwen3-30b-a3b"))
    assert figures.weights - figures.active == 48 * (128 - 8) * 3 * 2048 * 768
    kinds = {type(layer.feed_forward) for layer in model_of("qwen3-30b-a3b").decoder.layers}
    assert kinds == {Moe}
