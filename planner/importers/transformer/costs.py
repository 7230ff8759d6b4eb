"""Costs of the parts of a transformer on one rank: weights, FLOP, bytes moved, bytes kept for backward.

A part is a few lines of arithmetic with its source; ``parts.py`` adds them up to operators. A matrix product
of (t x n) and (n x m) takes 2 t n m FLOP, and in backward as many again for the gradient of its input and for that of
its weights. What a part keeps for backward is its own input, since the output of one is the input of the next; so the
sums are those of Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1: 34 s b h bytes a layer, less the two dropout
masks of s b h each, which are obsolete), with flash attention in place of the s^2 terms.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from planner.importers.transformer.pricing import Kernel, Kind
from planner.importers.transformer.setting import Elements
from planner.problem.graph import Pass, Work

NO_WORK = Work()


def plus(a: Work, b: Work) -> Work:
    """The work of both."""
    return Work(a.flops + b.flops, a.bytes + b.bytes)


@dataclass(frozen=True)
class Cost:
    """Cost of a part on one rank, for one microbatch. FLOP are device FLOP (see ``Elements``)."""

    matrices: float = 0.0  # weights of GEMMs
    vectors: float = 0.0  # other weights
    factors: float = 0.0  # rows and columns of the matrices
    forward: Work = field(default=NO_WORK)
    input_grad: Work = field(default=NO_WORK)
    weight_grad: Work = field(default=NO_WORK)
    kept: float = 0.0  # bytes from F to I
    held: float = 0.0  # bytes from I to W: inputs and output gradients of GEMMs
    unfused: float = 0.0  # of the bytes kept: those of kernels without reuse, which keep more where they are not fused
    kernels: tuple[Kernel, ...] = ()

    def __add__(self, other: Cost) -> Cost:
        """The cost of both parts."""
        both: dict[str, Any] = {}
        for each in fields(self):
            a, b = getattr(self, each.name), getattr(other, each.name)
            both[each.name] = plus(a, b) if isinstance(a, Work) else a + b
        return Cost(**both)

    def again(self) -> Cost:
        """The cost of recomputing it: its forward pass as an addition to backward."""
        again = tuple(replace(kernel, which=Pass.I) for kernel in self.kernels if kernel.which is Pass.F)
        return Cost(input_grad=self.forward, kernels=again)

    def of_memory(self) -> Cost:
        """The cost with a kernel for the bytes that each pass moves."""
        passes = {Pass.F: self.forward, Pass.I: self.input_grad, Pass.W: self.weight_grad}
        made = (Kernel(which, Kind.MEMORY, (work.bytes,)) for which, work in passes.items() if work.bytes)
        return replace(self, kernels=tuple(made), unfused=self.kept)


def linear(
    e: Elements,
    tokens: float,
    n_in: float,
    n_out: float,
    bias: bool = False,
    groups: int = 1,
    keep_input: bool = True,
    input_bytes: int | None = None,
    input_share: float = 1.0,
    output_share: float = 1.0,
    used: int | None = None,
) -> Cost:
    """A GEMM over all ``tokens``, or a grouped one: ``groups`` matrices, each token multiplied with one.

    ``used``: matrices that have any token; the others are not read. None: all.

    ``input_share``, ``output_share``: the part of the input, and of the output's gradient, that this rank stores. With
    Megatron's sequence parallelism (Korthikanti et al. 2022, section 4.2.2) they are gathered only while in use.
    """
    used = groups if used is None else used
    weights, read = n_in * n_out * groups, n_in * n_out * used
    flops = 2 * tokens * n_in * n_out * e.gemm_scale
    stored = tokens * n_in * input_share * (input_bytes or e.gemm_input)
    gradient = tokens * n_out * output_share * e.gemm_input
    x, y = tokens * n_in, tokens * n_out
    return Cost(
        matrices=weights,
        vectors=n_out * groups if bias else 0,
        factors=(n_in + n_out) * groups,
        forward=Work(flops, x * e.gemm_input + read * e.weight + y * e.activation),
        input_grad=Work(flops, y * e.gemm_input + weights * e.weight + x * e.activation),
        weight_grad=Work(flops, (x + y) * e.gemm_input + weights * 4),  # gradients are accumulated in FP32
        kept=stored if keep_input else 0,
        held=stored + gradient,
        kernels=(
            Kernel(Pass.F, Kind.GEMM, (tokens, n_out, n_in, used)),
            Kernel(Pass.I, Kind.GEMM, (tokens, n_in, n_out, groups)),
            Kernel(Pass.W, Kind.GEMM, (n_in, n_out, tokens, groups)),
        ),
    )


def norm(e: Elements, tokens: float, width: float, weights: float) -> Cost:
    """RMSNorm or LayerNorm with the residual addition before it; input_grad includes the gradient of its weights."""
    elements = tokens * width * e.activation
    return Cost(
        vectors=weights,
        forward=Work(0, 3 * elements),  # reads both summands, writes the sum; the normed output is the GEMM's input
        input_grad=Work(0, 3 * elements),
        kept=elements,
    ).of_memory()


def activation_function(e: Elements, tokens: float, width: float, gated: bool) -> Cost:
    """GeLU and the like, or the gated product of two halves (SwiGLU, arXiv 2002.05202)."""
    element = tokens * width * e.activation
    return Cost(
        forward=Work(0, (3 if gated else 2) * element),
        input_grad=Work(0, (5 if gated else 3) * element),
        kept=(2 if gated else 1) * element,
    ).of_memory()


def rotary(e: Elements, tokens: float, width: float) -> Cost:
    """Rotary positions: queries and keys are read and written once; nothing is kept."""
    both = Work(0, 2 * tokens * width * e.activation)
    return Cost(forward=both, input_grad=both).of_memory()


def mean_keys(tokens: int, causal: bool, window: int | None, past: int = 0) -> float:
    """Keys that a query attends to on average in a sequence: all, or those before it; at most ``window``.

    Causal: the i-th of s queries attends to min(i, w) keys, w (w + 1) / 2 + (s - w) w in all. ``past``: tokens before
    a single new one, to all of which it attends.
    """
    if past:
        assert tokens == 1
        return past + 1 if window is None else min(window, past + 1)
    seen = tokens if window is None else min(window, tokens)
    if not causal:
        return seen
    return (seen * (seen + 1) / 2 + (tokens - seen) * seen) / tokens


def attention_core(
    e: Elements,
    tokens: float,
    keys: float,
    key_tokens: float,
    stored_keys: float,
    heads: float,
    kv_heads: float,
    qk_dim: int,
    value_dim: int,
    keep_qkv: bool = True,
    shape: tuple[float, ...] = (),
) -> Cost:
    """Flash attention: ``keys`` keys for each of ``tokens`` queries; ``key_tokens`` keys and values are read in all.

    Forward has two products (Q K and P V). Backward has five, since it recomputes Q K (FlashAttention-2, arXiv
    2307.08691, section 3.1): 2.5 times as much if both widths agree. It keeps q, k, v and a log-sum-exp in FP32 for
    each head; the output counts as the next GEMM's input. ``shape``: that of the kernel.
    """
    pairs = 2 * tokens * keys * heads * e.core_scale
    q, o = tokens * heads * qk_dim, tokens * heads * value_dim
    kv = kv_heads * (qk_dim + value_dim)
    return Cost(
        forward=Work(pairs * (qk_dim + value_dim), (q + o + key_tokens * kv) * e.activation),
        input_grad=Work(pairs * (3 * qk_dim + 2 * value_dim), 2 * (q + o + key_tokens * kv) * e.activation),
        kept=(q + stored_keys * kv) * e.activation * keep_qkv + tokens * heads * 4,
        kernels=tuple(Kernel(which, Kind.ATTENTION, shape) for which in (Pass.F, Pass.I)),
    )


def decode_attention(
    e: Elements,
    sequences: float,
    keys: float,
    heads: float,
    kv_heads: float,
    qk_dim: int,
    value_dim: int,
    stored: float,
) -> Cost:
    """Attention of one new token a sequence to ``keys`` keys, which are read from the cache.

    ``stored``: elements of the cache a token, on this rank: keys and values, of MLA the latents once. The cache is read
    once, whatever the number of heads that share it.
    """
    flops = 2 * sequences * keys * heads * (qk_dim + value_dim) * e.core_scale
    moved = sequences * (heads * (qk_dim + value_dim) + keys * stored) * e.activation
    shape = (sequences, keys, heads, kv_heads, qk_dim, value_dim, moved)
    return Cost(forward=Work(flops, moved), kernels=(Kernel(Pass.F, Kind.DECODE, shape),))


def lookup(e: Elements, tokens: float, width: float, rows: float) -> Cost:
    """A table of ``rows`` rows: gathered forward; weight_grad adds the gradients to their rows, in FP32.

    It has no input_grad, since no operator before it needs a gradient.
    """
    elements = tokens * width
    return Cost(
        vectors=rows * width,
        factors=rows + width,
        forward=Work(0, 2 * elements * e.activation),
        weight_grad=Work(0, elements * (e.activation + 8)),
        kept=tokens * 8,  # the indices
        held=tokens * 8 + elements * e.activation,
    ).of_memory()


def cross_entropy(e: Elements, tokens: float, vocabulary: float) -> Cost:
    """Softmax and loss: FP32 logits are kept, 4 s b v bytes (Korthikanti et al. 2022, section 4.3)."""
    logits = tokens * vocabulary
    cost = Cost(
        forward=Work(0, logits * (e.activation + 8)),
        input_grad=Work(0, logits * (4 + e.activation)),
        kept=logits * 4,
    ).of_memory()
    return replace(cost, unfused=0.0)  # the logits in FP32 are all that is kept, fused or not
