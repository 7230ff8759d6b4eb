"""Parts of transformers by formula: FLOP, bytes and what they keep."""

from __future__ import annotations

from dataclasses import dataclass

from configurations.text import size

NO_INPUT_GRADIENT = "{flops: 0}  # a pass of no length: there is nothing before it"


@dataclass(frozen=True)
class Part:
    """A part of a model: elements of its weights, FLOP outside the weights' GEMMs, bytes it leaves."""

    weights: int  # elements
    tokens: int
    attention_flops: int = 0  # of the forward pass
    more_gemm_flops: int = 0  # of each pass, where a GEMM runs over more tokens
    recomputed: bool = False  # I runs the forward pass again and makes the weights' gradients too: no W
    activation: int = 0  # bytes a microbatch
    output: int = 0  # bytes a microbatch

    def lines(self, state: float, indent: int, source: bool = False) -> str:
        """Fields of the operator. ``state``: bytes a weight holds all step long; a source does nothing in I.

        F: 2 FLOP a weight and token, and the attention. I: the same GEMMs again, and 2.5 x the attention
        (flash attention's backward, one GEMM of which repeats the forward). W: the GEMMs a third time.
        Bytes: BF16 weights and the activation, read or written once.
        """
        gemm = self.gemm_flops
        moved = 2 * self.weights + self.activation
        pad = " " * indent
        backward = f"{{flops: {gemm + self.attention_flops * 5 // 2}, bytes: {moved}}}"
        weights = f"{{flops: {gemm}, bytes: {moved}}}"
        if self.recomputed:
            backward = f"{{flops: {3 * gemm + self.attention_flops * 7 // 2}, bytes: {3 * moved}}}"
            weights = "null  # recomputed layers make all gradients in one pass"
        work = (
            f"{pad}work:\n"
            f"{pad}  forward: {{flops: {gemm + self.attention_flops}, bytes: {moved}}}\n"
            f"{pad}  input_grad: {NO_INPUT_GRADIENT if source else backward}\n"
            f"{pad}  weight_grad: {weights}\n"
        )
        fields = size("parameters", round(self.weights * state), indent)
        fields += size("activation", self.activation, indent)
        return work + fields + size("output", self.output, indent)

    def recompute(self, kept: int, indent: int) -> str:
        """The variant that keeps so many bytes a microbatch: I runs forward again and makes all gradients."""
        gemm, moved = self.gemm_flops, 2 * self.weights + self.activation
        pad = " " * indent
        return (
            f"{pad}variants:\n{pad}  - name: recompute\n{pad}    work:\n"
            f"{pad}      input_grad: {{flops: {3 * gemm + self.attention_flops * 7 // 2}, bytes: {3 * moved}}}\n"
            f"{pad}      weight_grad: null\n" + size("activation", kept, indent + 4)
        )

    def store(self, kept: int, indent: int) -> str:
        """The variant of a recomputed part that keeps so many bytes a microbatch instead, with a W of its own."""
        gemm, moved = self.gemm_flops, 2 * self.weights + kept
        pad = " " * indent
        return (
            f"{pad}variants:\n{pad}  - name: store\n{pad}    work:\n"
            f"{pad}      forward: {{flops: {gemm + self.attention_flops}, bytes: {moved}}}\n"
            f"{pad}      input_grad: {{flops: {gemm + self.attention_flops * 5 // 2}, bytes: {moved}}}\n"
            f"{pad}      weight_grad: {{flops: {gemm}, bytes: {moved}}}\n" + size("activation", kept, indent + 4)
        )

    @property
    def gemm_flops(self) -> int:
        """Of the weights' GEMMs, in each pass."""
        return 2 * self.weights * self.tokens + self.more_gemm_flops


def llama_attention(hidden: int, kv: int, tokens: int) -> Part:
    """Grouped-query attention with causal flash attention; ``kv``: width of keys (and of values).

    BF16 kept: input, its norm, q, k, v, attention output (4 x hidden + 2 x kv); W reads as much (norm and
    attention output as inputs, gradients of q, k, v and of the output).
    """
    return Part(
        weights=2 * hidden * hidden + 2 * hidden * kv,
        tokens=tokens,
        attention_flops=2 * tokens * tokens * hidden,  # 4 T^2 h, half of it masked
        activation=2 * tokens * (4 * hidden + 2 * kv),
        output=2 * tokens * hidden,
    )


def llama_mlp(hidden: int, width: int, tokens: int) -> Part:
    """SwiGLU. BF16 kept: input, norm, gate, up and product (2 x hidden + 3 x width); W reads as much."""
    return Part(
        weights=3 * hidden * width,
        tokens=tokens,
        activation=2 * tokens * (2 * hidden + 3 * width),
        output=2 * tokens * hidden,
    )


def together(*parts: Part) -> Part:
    """Parts that run one after the other as one operator."""
    return Part(
        weights=sum(p.weights for p in parts),
        tokens=parts[0].tokens,
        attention_flops=sum(p.attention_flops for p in parts),
        activation=sum(p.activation for p in parts),
        output=parts[-1].output,
    )


def encoder_layer(width: int, tokens: int, window: int) -> Part:
    """Layer of a vision or audio transformer: full attention within ``window`` tokens, GELU MLP of 4 x width.

    Only its input is kept, in BF16; the backward pass recomputes the rest.
    """
    return Part(
        weights=12 * width * width,
        tokens=tokens,
        attention_flops=4 * tokens * window * width,
        activation=2 * tokens * width,
        output=2 * tokens * width,
        recomputed=True,
    )


def linear(source: int, target: int, tokens: int, output: bool = True) -> Part:
    """One GEMM that keeps its input, or for W its output gradient too, in BF16."""
    return Part(
        weights=source * target,
        tokens=tokens,
        activation=2 * tokens * (source + target),
        output=2 * tokens * target if output else 0,
    )


def embedding(vocabulary: int, hidden: int, tokens: int, state: float) -> str:
    """Gather in F, no input gradient, scatter-add of FP32 gradients in W. Keeps the token ids (8 bytes)."""
    moved = 2 * tokens * hidden
    return (
        "    work:\n"
        f"      forward: {{bytes: {2 * moved}}}\n"
        f"      input_grad: {NO_INPUT_GRADIENT}\n"
        f"      weight_grad: {{bytes: {moved + 8 * tokens * hidden}}}\n"
        + size("parameters", round(vocabulary * hidden * state), 4)
        + size("activation", 8 * tokens, 4)
        + size("output", moved, 4)
    )
