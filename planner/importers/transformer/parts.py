"""Operators of a transformer on one rank of a stage: sums of the costs of their parts.

``tensor`` ranks share every layer as in Megatron-LM (arXiv 1909.08053: columns of the first matrix, rows of the
second), with sequence parallelism between the layers' matrix products (Korthikanti et al. 2022, arXiv 2205.05198,
section 4.2), so that all stored activations are divided by the tensor degree. ``--recompute selective`` does not keep
outputs that are cheap to recompute: those of norms and activation functions, and of MLA's up-projections (DeepSeek-V3,
arXiv 2412.19437, 3.2.3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from planner.importers.transformer.costs import (
    Cost,
    activation_function,
    attention_core,
    cross_entropy,
    decode_attention,
    linear,
    lookup,
    mean_keys,
    norm,
    rotary,
)
from planner.importers.transformer.model import Attention, Layer, Mla, Mlp, Model, Moe, Vision
from planner.importers.transformer.setting import ELEMENTS, Precision, Recompute, Setting
from planner.problem.graph import Pass, Work


@dataclass(frozen=True)
class Batch:
    """Tokens of one microbatch on one rank: it has 1 / ``split`` of each sequence.

    ``past``: tokens before them in each sequence, whose keys and values are cached.
    """

    sequences: float
    length: int
    split: int = 1
    past: int = 0

    @property
    def tokens(self) -> float:
        """Tokens of this rank (of all its tensor ranks together)."""
        return self.sequences * self.length / self.split

    @property
    def seen(self) -> int:
        """Tokens of a sequence up to the last of them."""
        return self.past + self.length


class Parts:
    """The operators' costs under one setting."""

    def __init__(self, setting: Setting) -> None:
        self.e = setting.elements
        self.t = setting.tensor
        self.expert = setting.expert
        self.selective = setting.training and setting.recompute is Recompute.SELECTIVE
        self.decodes, self.reserved = setting.decodes, setting.reserved

    def normed(self, tokens: float, width: float, weights: float) -> Cost:
        """A norm, on this rank's part of the tokens."""
        cost = norm(self.e, tokens / self.t, width, weights)
        return cost + cost.again() if self.selective else cost

    def column(self, tokens: float, n_in: float, n_out: float, bias: bool = False, remade: bool = True) -> Cost:
        """A matrix split by columns; ``remade``: its input is a norm's output, which selective recomputation drops."""
        keep = not (self.selective and remade)
        return linear(self.e, tokens, n_in, n_out / self.t, bias, keep_input=keep, input_share=1 / self.t)

    def row(self, tokens: float, n_in: float, n_out: float, bias: bool = False, remade: bool = False) -> Cost:
        """A matrix split by rows; its outputs are summed over the tensor ranks."""
        keep = not (self.selective and remade)
        return linear(self.e, tokens, n_in / self.t, n_out, bias, keep_input=keep, output_share=1 / self.t)

    # -- attention ------------------------------------------------------------------------------------------

    def projections(self, layer: Layer, attention: Attention, hidden: int, batch: Batch, source: Batch) -> Cost:
        """The norm before attention, and queries, keys and values; keys and values of ``source``."""
        a, tokens = attention, batch.tokens
        cost = self.normed(tokens, hidden, norm_weights(layer, hidden))
        if a.mla is not None:
            return cost + self._latents(a.mla, a.heads, hidden, tokens)
        queries, kv = a.heads * a.head_dim, max(a.kv_heads, self.t) * a.head_dim
        if a.cross:
            cost += self.column(tokens, hidden, queries, a.qkv_bias)
            cost += self.column(source.tokens, hidden, 2 * kv, a.qkv_bias, remade=False)
        else:
            cost += self.column(tokens, hidden, queries + 2 * kv, a.qkv_bias)
        if a.qk_norm:
            cost += norm(self.e, tokens, (queries + kv) / self.t, a.qk_norm)
        if a.rotary:
            cost += rotary(self.e, tokens, (queries + kv) / self.t)
        return cost

    def _latents(self, m: Mla, heads: int, hidden: int, tokens: float) -> Cost:
        """MLA: every rank projects its part of the tokens down to the latents, and up for its heads."""
        own, down = tokens / self.t, m.kv_rank + m.rope_dim
        up = self.column(tokens, m.kv_rank, heads * (m.nope_dim + m.value_dim))
        cost = self.normed(tokens, m.kv_rank, m.kv_rank)
        if m.q_rank is None:
            # The same input feeds both matrices: it is kept once.
            cost += linear(self.e, own, hidden, down, input_share=0)
            cost += self.column(tokens, hidden, heads * m.qk_dim)
        else:
            cost += linear(self.e, own, hidden, m.q_rank + down, keep_input=not self.selective)
            cost += self.normed(tokens, m.q_rank, m.q_rank)
            up += self.column(tokens, m.q_rank, heads * m.qk_dim)
        up += rotary(self.e, tokens, heads / self.t * m.rope_dim + m.rope_dim)
        return cost + up + (up.again() if self.selective else Cost())

    def core(self, layer: Layer, attention: Attention, hidden: int, batch: Batch, source: Batch) -> Cost:
        """Attention itself, and the projection of its output."""
        a, m = attention, attention.mla
        heads, kv_heads = a.heads / self.t, max(a.kv_heads / self.t, 1)
        qk, value = (a.head_dim, a.head_dim) if m is None else (m.qk_dim, m.value_dim)
        cost = (
            self._decoded(a, batch, heads, kv_heads)
            if self.decodes
            else attention_core(
                self.e,
                batch.tokens,
                mean_keys(source.length, a.causal, a.window),
                source.sequences * source.length,
                source.tokens,
                heads,
                kv_heads,
                qk,
                value,
                keep_qkv=not (self.selective and m is not None),
                shape=_attention_shape(batch, source, a, heads, kv_heads, qk, value),
            )
        )
        # The output is kept as flash attention reads it, not in FP8.
        cost += linear(
            self.e,
            batch.tokens,
            heads * value,
            hidden,
            a.output_bias,
            input_bytes=self.e.activation,
            output_share=1 / self.t,
        )
        return cost + self._after(layer, hidden, batch.tokens)

    def _decoded(self, a: Attention, batch: Batch, heads: float, kv_heads: float) -> Cost:
        """Attention of one new token a sequence. MLA attends to the latents themselves, its up-projections of keys and
        values being applied to queries and outputs instead (DeepSeek-V2, arXiv 2405.04434, section 2.1.2): the FLOP of
        those are the same."""
        keys, m = mean_keys(batch.length, a.causal, a.window, batch.past), a.mla
        if m is None:
            stored = kv_heads * 2 * a.head_dim
            return decode_attention(self.e, batch.sequences, keys, heads, kv_heads, a.head_dim, a.head_dim, stored)
        latent = m.kv_rank + m.rope_dim
        return decode_attention(self.e, batch.sequences, keys, heads, 1, latent, m.kv_rank, latent)

    def _after(self, layer: Layer, hidden: int, tokens: float) -> Cost:
        """The norm after a part, if the layer has one (Gemma 2)."""
        return self.normed(tokens, hidden, norm_weights(layer, hidden)) if layer.norms == 2 else Cost()

    def key_values(self, attention: Attention, tokens: float) -> float:
        """Bytes of keys and values of so many tokens, as attention reads them."""
        m = attention.mla
        if m is not None:
            return tokens * attention.heads / self.t * (m.qk_dim + m.value_dim) * self.e.activation
        return tokens * max(attention.kv_heads / self.t, 1) * 2 * attention.head_dim * self.e.activation

    def cache(self, attention: Attention, tokens: float) -> float:
        """Bytes that inference keeps of so many tokens: keys and values, of MLA the latents (on every rank)."""
        m = attention.mla
        if m is not None:
            return tokens * (m.kv_rank + m.rope_dim) * self.e.activation
        return self.key_values(attention, tokens)

    def resident(self, attention: Attention, batch: Batch) -> float:
        """Bytes of the caches of a microbatch's sequences in decode: of the tokens that are read, or reserved."""
        length = self.reserved or batch.seen
        kept = length if attention.window is None else min(attention.window, length)
        return self.cache(attention, batch.sequences * kept)

    # -- feed-forward ---------------------------------------------------------------------------------------

    def mlp(self, layer: Layer, mlp: Mlp, hidden: int, tokens: float) -> Cost:
        """A dense feed-forward part with its norms."""
        before = self.normed(tokens, hidden, norm_weights(layer, hidden))
        return before + self._mlp(mlp, hidden, tokens) + self._after(layer, hidden, tokens)

    def _mlp(self, mlp: Mlp, hidden: int, tokens: float) -> Cost:
        function = activation_function(self.e, tokens, mlp.width / self.t, mlp.gated)
        cost = self.column(tokens, hidden, mlp.width * (2 if mlp.gated else 1), mlp.bias) + function
        cost += self.row(tokens, mlp.width, hidden, mlp.bias, remade=True)
        return cost + function.again() if self.selective else cost

    def router(self, layer: Layer, moe: Moe, hidden: int, tokens: float) -> Cost:
        """The norm before the experts and the router; the router computes in BF16 if the precision is FP8."""
        e = self.e if self.e.activation == 4 else ELEMENTS[Precision.BF16]
        gate = linear(e, tokens / self.t, hidden, moe.experts, moe.router_bias, keep_input=not self.selective)
        gate = replace(gate, matrices=0, vectors=gate.vectors + gate.matrices)
        return self.normed(tokens, hidden, norm_weights(layer, hidden)) + gate

    def experts(self, moe: Moe, hidden: int, tokens: float) -> Cost:
        """This rank's routed experts, balanced: as many pairs of token and expert as its own tokens have."""
        pairs, groups, width = tokens * moe.per_token, moe.experts // self.expert, moe.width / self.t
        used = self._used(moe, groups, tokens)
        function = activation_function(self.e, pairs, width, gated=True)
        sort = Work(0, 4 * pairs / self.t * hidden * self.e.activation)  # into the experts' order and back
        cost = Cost(forward=sort, input_grad=sort).of_memory() + function
        share = 1.0 if self.expert > 1 else 1 / self.t  # inputs from other ranks cannot be recomputed here
        cost += linear(self.e, pairs, hidden, 2 * width, groups=groups, input_share=share, used=used)
        cost += linear(self.e, pairs, width, hidden, groups=groups, keep_input=not self.selective, used=used)
        return cost + function.again() if self.selective else cost

    def _used(self, moe: Moe, groups: int, tokens: float) -> int:
        """This rank's experts that have any of the few tokens of a decode step, whose weights are read.

        Expected, where each of the tokens of all ranks chooses its experts evenly. A prompt meets all of them.
        """
        if not self.decodes:
            return groups
        missed: float = (1 - moe.per_token / moe.experts) ** (tokens * self.expert)
        return max(1, round(groups * (1 - missed)))

    def shared(self, moe: Moe, hidden: int, tokens: float) -> Cost:
        """The shared expert, through which all tokens pass."""
        if not moe.shared_width:
            return Cost()
        cost = self._mlp(Mlp(moe.shared_width), hidden, tokens)
        return cost + (Cost(vectors=hidden) if moe.shared_gate else Cost())

    # -- ends -----------------------------------------------------------------------------------------------

    def embedding(self, model: Model, hidden: int, tokens: float, learned: bool = True) -> Cost:
        """The table of this rank's part of the vocabulary, learned positions, and the norm that BERT has here."""
        width = model.embedding_width or hidden
        cost = lookup(self.e, tokens, width, model.vocabulary / self.t)
        if learned:
            cost += Cost(vectors=model.positions * hidden)
        if model.embedding_norm:
            cost += self.normed(tokens, hidden, model.embedding_norm)
        if width != hidden:
            cost += linear(self.e, tokens, width, hidden)
        return cost

    def head(self, model: Model, hidden: int, tokens: float, loss: bool) -> Cost:
        """The last norm, BERT's transform, the logits and, in training, the loss."""
        head, cost = model.head, Cost()
        if model.decoder.final_norm:
            cost += self.normed(tokens, hidden, model.decoder.final_norm)
        if head.transform:
            cost += linear(self.e, tokens, hidden, hidden, True) + self.normed(tokens, hidden, 2 * hidden)
        if head.pooler:
            cost += Cost(matrices=hidden * hidden, vectors=hidden)
        width = head.width or hidden
        if width != hidden:
            cost += linear(self.e, tokens, hidden, width)
        # FP8 spares the head (arXiv 2412.19437, section 3.3.1).
        e = self.e if self.e.activation == 4 else ELEMENTS[Precision.BF16]
        logits = linear(e, tokens, width, model.vocabulary / self.t, head.bias, input_share=1 / self.t)
        cost += replace(logits, matrices=0, vectors=logits.vectors + logits.matrices)
        return cost + (cross_entropy(self.e, tokens, model.vocabulary / self.t) if loss else Cost())

    def patches(self, vision: Vision, positions: int, tokens: float) -> Cost:
        """Patches to vectors: a GEMM (the stride of the convolution is its kernel), positions, the outer norms."""
        hidden = vision.stack.hidden
        gemm = linear(self.e, tokens, vision.patch_inputs, hidden, vision.patch_bias)
        vectors = (positions * vision.positions + vision.class_token) * hidden + vision.outer_norms
        # No operator before it needs a gradient: no input_grad.
        kernels = tuple(kernel for kernel in gemm.kernels if kernel.which is not Pass.I)
        return replace(gemm, vectors=gemm.vectors + vectors, input_grad=Work(), kernels=kernels)

    def projector(self, vision: Vision, patches: float) -> Cost:
        """The MLP from patches to tokens of the language model; perhaps with a norm over each patch."""
        widths, tokens, cost = vision.projector, patches / vision.merged, Cost()
        if vision.projector_norm:
            cost += self.normed(patches, vision.stack.hidden, vision.projector_norm)
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            if i:
                cost += activation_function(self.e, tokens, n_in / self.t, gated=False)
            cost += self.column(tokens, n_in, n_out, True) if i == 0 else self.row(tokens, n_in, n_out, True)
        return cost

    def combined(self, hidden: int, tokens: float) -> Cost:
        """DeepSeek-V3's multi-token prediction: two norms, then a matrix from both to one (section 2.2)."""
        norms = self.normed(tokens, hidden, hidden) + self.normed(tokens, hidden, hidden)
        return norms + self.column(tokens, 2 * hidden, hidden)


def _attention_shape(
    batch: Batch, source: Batch, a: Attention, heads: float, kv_heads: float, qk: float, value: float
) -> tuple[float, ...]:
    """Of the kernel: sequences, queries, keys, heads, kv heads, widths, causal.

    With a window, or where a rank has a part of the queries, a query meets its mean number of keys.
    """
    queries = batch.length / batch.split
    if a.causal and a.window is None and batch.split == 1 and not a.cross:
        return (batch.sequences, queries, source.length, heads, kv_heads, qk, value, 1.0)
    keys = mean_keys(source.length, a.causal, a.window)
    return (batch.sequences, queries, keys, heads, kv_heads, qk, value, 0.0)


def norm_weights(layer: Layer, width: int) -> int:
    """Weights of one of the layer's norms."""
    return width * (2 if layer.norm_biases else 1)
