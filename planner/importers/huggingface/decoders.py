"""Decoders with RMSNorm, rotary positions and gated MLPs: Llama and its descendants, dense and with experts."""

from __future__ import annotations

from planner.importers.huggingface.config import HfConfig
from planner.importers.transformer.model import Attention, Head, Layer, Mla, Mlp, Model, Moe, Stack


def llama(config: HfConfig) -> Model:
    """Llama, Mistral, Qwen2 (biases of queries, keys and values), Qwen3 (norms of queries and keys), Phi-3."""
    kind = config.text_of("model_type", "llama")
    mlp = Mlp(config.number("intermediate_size"), bias=config.flag("mlp_bias", False))
    return _model(config, [Layer(_attention(config, kind, window), mlp) for window in _windows(config, kind)])


def mixtral(config: HfConfig) -> Model:
    """Mixtral: every layer has experts."""
    moe = Moe(
        config.number("num_local_experts"), config.number("num_experts_per_tok"), config.number("intermediate_size")
    )
    _check_experts(config, moe, "num_experts_per_tok")
    return _model(config, [Layer(_attention(config, "mixtral", window), moe) for window in _windows(config, "mixtral")])


def qwen_moe(config: HfConfig) -> Model:
    """Qwen2-MoE (a shared expert with a gate) and Qwen3-MoE: experts every ``decoder_sparse_step`` layers."""
    kind = config.text_of("model_type", "qwen3_moe")
    moe = Moe(
        config.number("num_experts", config.optional("num_local_experts")),
        config.number("num_experts_per_tok"),
        config.number("moe_intermediate_size"),
        shared_width=config.number("shared_expert_intermediate_size", 0, least=0) if kind == "qwen2_moe" else 0,
        shared_gate=kind == "qwen2_moe",
    )
    _check_experts(config, moe, "num_experts_per_tok")
    step, dense = config.number("decoder_sparse_step", 1), set(config.numbers("mlp_only_layers"))
    layers = []
    for i, window in enumerate(_windows(config, kind)):
        sparse = i not in dense and (i + 1) % step == 0
        part = moe if sparse else Mlp(config.number("intermediate_size"))
        layers.append(Layer(_attention(config, kind, window), part))
    return _model(config, layers)


def deepseek(config: HfConfig) -> Model:
    """DeepSeek-V2 and -V3: MLA, dense layers first, then experts with shared ones; V3 predicts further tokens."""
    mla = Mla(
        config.optional("q_lora_rank"),
        config.number("kv_lora_rank"),
        config.number("qk_nope_head_dim"),
        config.number("qk_rope_head_dim"),
        config.number("v_head_dim"),
    )
    heads = config.number("num_attention_heads")
    attention = Attention(heads, heads, mla.qk_dim, mla=mla)
    width = config.number("moe_intermediate_size")
    moe = Moe(
        config.number("n_routed_experts"),
        config.number("num_experts_per_tok"),
        width,
        shared_width=width * config.number("n_shared_experts", 0, least=0),
        router_bias=config.text_of("topk_method", "") == "noaux_tc",
    )
    _check_experts(config, moe, "num_experts_per_tok")
    dense = config.number("first_k_dense_replace", 0, least=0)
    every = config.number("moe_layer_freq", 1)
    layers = []
    for i in range(config.layers("num_hidden_layers")):
        sparse = i >= dense and i % every == 0
        layers.append(Layer(attention, moe if sparse else Mlp(config.number("intermediate_size"))))
    return _model(config, layers, mtp=config.number("num_nextn_predict_layers", 0, least=0, most=64))


def gemma(config: HfConfig) -> Model:
    """Gemma (tied head), Gemma 2 (a second norm after each part, every other layer with a window), Gemma 3."""
    kind = config.text_of("model_type", "gemma")
    mlp = Mlp(config.number("intermediate_size"))
    norms = 1 if kind == "gemma" else 2
    layers = [Layer(_attention(config, kind, window), mlp, norms=norms) for window in _windows(config, kind)]
    return _model(config, layers, tied=True)


def _model(config: HfConfig, layers: list[Layer], tied: bool = False, mtp: int = 0) -> Model:
    hidden = config.number("hidden_size")
    return Model(
        vocabulary=config.number("vocab_size"),
        decoder=Stack(hidden, tuple(layers), final_norm=hidden),
        head=Head(tied=config.flag("tie_word_embeddings", tied)),
        longest=config.optional("max_position_embeddings"),
        mtp=mtp,
    )


def _attention(config: HfConfig, kind: str, window: int | None) -> Attention:
    """Attention of layers with a window or without one."""
    heads = config.number("num_attention_heads")
    kv_heads = config.number("num_key_value_heads", 8 if kind == "mixtral" else heads)
    if heads % kv_heads:
        config.fail("num_key_value_heads", f"must divide the {heads} heads (got {kv_heads})")
    dim = config.number("head_dim", _head_dim(config, kind, heads))
    bias = config.flag("attention_bias", False)
    return Attention(
        heads,
        kv_heads,
        dim,
        window=window,
        qkv_bias=kind in ("qwen2", "qwen2_moe") or bias,
        output_bias=bias,
        qk_norm=2 * dim if kind.startswith(("qwen3", "gemma3")) else 0,
    )


def _head_dim(config: HfConfig, kind: str, heads: int) -> int:
    """The family's default where the file has none."""
    fixed = {"qwen3": 128, "gemma": 256}
    for family, dim in fixed.items():
        if kind.startswith(family):
            return dim
    hidden = config.number("hidden_size")
    if hidden % heads and not config.has("head_dim"):
        config.fail(
            "num_attention_heads", f"must divide hidden_size {hidden}, where there is no head_dim (got {heads})"
        )
    return hidden // heads


def _windows(config: HfConfig, kind: str) -> list[int | None]:
    """The window of each layer: from the list of types if the file has one, else the family's pattern."""
    layers = config.layers("num_hidden_layers")
    window = config.optional("sliding_window")
    if window is None or not config.flag("use_sliding_window", not kind.startswith("qwen")):
        return [None] * layers
    types = config.words("layer_types", layers)
    if types is not None:
        return [window if t == "sliding_attention" else None for t in types]
    if kind.startswith("qwen"):
        first = config.number("max_window_layers", 28, least=0)
        return [window if i >= first else None for i in range(layers)]
    every = {"gemma2": 2, "gemma3_text": config.number("sliding_window_pattern", 6)}.get(kind)
    if every is None:
        return [window] * layers
    return [window if (i + 1) % every else None for i in range(layers)]


def _check_experts(config: HfConfig, moe: Moe, key: str) -> None:
    if moe.per_token > moe.experts:
        config.fail(key, f"must be at most the number of experts, {moe.experts} (got {moe.per_token})")
