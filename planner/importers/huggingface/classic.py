"""Older families: GPT-2, OPT, GPT-NeoX, T5 and BERT."""

from __future__ import annotations

from planner.importers.huggingface.config import HfConfig
from planner.importers.transformer.model import Attention, Head, Layer, Mlp, Model, Stack


def gpt2(config: HfConfig) -> Model:
    """GPT-2: LayerNorm, biases everywhere, learned positions, tied head."""
    hidden, heads = config.number("n_embd"), config.number("n_head")
    layer = _classic(hidden, heads, config.number("n_inner", 4 * hidden))
    return Model(
        vocabulary=config.number("vocab_size"),
        decoder=Stack(hidden, (layer,) * config.layers("n_layer"), final_norm=2 * hidden),
        head=Head(tied=config.flag("tie_word_embeddings", True)),
        positions=config.number("n_positions"),
        longest=config.number("n_positions"),
    )


def opt(config: HfConfig) -> Model:
    """OPT: like GPT-2, with two more positions; the 350M model has narrow embeddings and norms after each part."""
    hidden = config.number("hidden_size")
    layer = _classic(hidden, config.number("num_attention_heads"), config.number("ffn_dim"))
    first = config.flag("do_layer_norm_before", True)
    width = config.number("word_embed_proj_dim", hidden)
    return Model(
        vocabulary=config.number("vocab_size"),
        decoder=Stack(hidden, (layer,) * config.layers("num_hidden_layers"), final_norm=2 * hidden if first else 0),
        head=Head(tied=config.flag("tie_word_embeddings", True), width=None if width == hidden else width),
        embedding_width=None if width == hidden else width,
        positions=config.number("max_position_embeddings") + 2,
        longest=config.number("max_position_embeddings"),
    )


def gpt_neox(config: HfConfig) -> Model:
    """GPT-NeoX and Pythia: rotary positions, an untied head; parallel parts are planned one after the other."""
    hidden = config.number("hidden_size")
    bias = config.flag("attention_bias", True)
    layer = _classic(
        hidden, config.number("num_attention_heads"), config.number("intermediate_size"), bias, rotary=True
    )
    return Model(
        vocabulary=config.number("vocab_size"),
        decoder=Stack(hidden, (layer,) * config.layers("num_hidden_layers"), final_norm=2 * hidden),
        head=Head(tied=config.flag("tie_word_embeddings", False)),
        longest=config.optional("max_position_embeddings"),
    )


def bert(config: HfConfig) -> Model:
    """BERT with its masked-language-model head: attention to all tokens, a norm in the embedding, a pooler."""
    hidden = config.number("hidden_size")
    layer = _classic(hidden, config.number("num_attention_heads"), config.number("intermediate_size"), causal=False)
    rows = config.number("max_position_embeddings") + config.number("type_vocab_size", 2)
    return Model(
        vocabulary=config.number("vocab_size"),
        decoder=Stack(hidden, (layer,) * config.layers("num_hidden_layers")),
        head=Head(tied=config.flag("tie_word_embeddings", True), bias=True, transform=True, pooler=True),
        positions=rows,
        longest=config.number("max_position_embeddings"),
        embedding_norm=2 * hidden,
    )


def t5(config: HfConfig) -> Model:
    """T5 and mT5 (arXiv 1910.10683): RMSNorm, no biases, relative positions in each side's first layer, one table."""
    hidden, heads, dim = config.number("d_model"), config.number("num_heads"), config.number("d_kv")
    kind = config.text_of("feed_forward_proj", "relu")
    mlp = Mlp(config.number("d_ff"), gated=kind.startswith("gated"))
    table = config.number("relative_attention_num_buckets", 32) * heads
    both = config.layers("num_layers")
    encoder = Layer(Attention(heads, heads, dim, causal=False, rotary=False), mlp)
    cross = Attention(heads, heads, dim, causal=False, rotary=False, cross=True)
    decoder = Layer(Attention(heads, heads, dim, rotary=False), mlp, cross=cross)
    return Model(
        vocabulary=config.number("vocab_size"),
        encoder=Stack(hidden, (encoder,) * both, final_norm=hidden + table),
        decoder=Stack(hidden, (decoder,) * config.layers("num_decoder_layers", both), final_norm=hidden + table),
        head=Head(tied=config.flag("tie_word_embeddings", True)),
        longest=config.number("n_positions", 512),
    )


def _classic(
    hidden: int, heads: int, width: int, bias: bool = True, causal: bool = True, rotary: bool = False
) -> Layer:
    """A layer with LayerNorm, biases and a plain MLP."""
    attention = Attention(heads, heads, hidden // heads, causal=causal, qkv_bias=bias, output_bias=bias, rotary=rotary)
    return Layer(attention, Mlp(width, gated=False, bias=True), norm_biases=True)
