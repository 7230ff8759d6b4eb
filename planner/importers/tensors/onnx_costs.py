"""FLOP of ONNX operators. Only operators that multiply are listed: all others count as bytes moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from planner.importers.tensors import costs

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """A node with the shapes of its inputs (None: left out) and outputs, and its attributes."""

    inputs: Sequence[Shape | None]
    outputs: Sequence[Shape]
    attributes: Mapping[str, Any]

    def given(self, position: int) -> Shape:
        """The shape of a required input; ``IndexError`` if it is missing."""
        shape = self.inputs[position]
        if shape is None:
            raise IndexError(position)
        return shape


def _matmul(call: Call) -> float:
    return costs.matmul(call.given(0), call.outputs[0])


def _gemm(call: Call) -> float:
    source = call.given(0)
    return 2.0 * prod(call.outputs[0]) * (source[0] if call.attributes.get("transA") else source[1])


def _conv(call: Call) -> float:
    return costs.convolution(call.given(1), call.outputs[0])


def _quantized_conv(call: Call) -> float:
    return costs.convolution(call.given(3), call.outputs[0])


def _conv_transpose(call: Call) -> float:
    return costs.transposed_convolution(call.given(1), call.given(0))


def _einsum(call: Call) -> float:
    equation = call.attributes["equation"]
    text = equation.decode() if isinstance(equation, bytes) else str(equation)
    return costs.einsum(text, [call.given(i) for i in range(len(call.inputs))], call.outputs[0])


def _recurrent(call: Call) -> float:
    """LSTM, GRU, RNN: X is (steps, batch, input), or (batch, steps, input) with ``layout`` 1: their product counts."""
    source = call.given(0)
    return costs.recurrent([call.given(1), call.given(2)], source[0], source[1])


def _attention(call: Call) -> float:
    """Attention of opset 23: 4 dimensions, or 3 with the heads side by side in the last one."""
    query, key, value = (call.given(i) for i in range(3))
    causal = bool(call.attributes.get("is_causal"))
    if len(query) == 4:
        return costs.attention(query, key, value, causal)
    heads, kv_heads = call.attributes["q_num_heads"], call.attributes["kv_num_heads"]
    return _headed(query, key, value, heads, kv_heads, causal)


def _multi_head_attention(call: Call) -> float:
    """MultiHeadAttention and GroupQueryAttention of com.microsoft, with separate query, key and value."""
    query, key, value = (call.given(i) for i in range(3))
    heads = call.attributes["num_heads"]
    kv_heads = call.attributes.get("kv_num_heads", heads)
    causal = bool(call.attributes.get("unidirectional")) or "kv_num_heads" in call.attributes
    return _headed(query, key, value, heads, kv_heads, causal)


def _headed(query: Shape, key: Shape, value: Shape, heads: int, kv_heads: int, causal: bool) -> float:
    return costs.attention(_by_head(query, heads), _by_head(key, kv_heads), _by_head(value, kv_heads), causal)


def _by_head(shape: Shape, heads: int) -> Shape:
    """(batch, tokens, heads x width) as (batch, heads, tokens, width)."""
    return (shape[0], heads, shape[1], shape[2] // heads)


FLOPS: dict[tuple[str, str], Callable[[Call], float]] = {
    ("", "MatMul"): _matmul,
    ("", "MatMulInteger"): _matmul,
    ("", "QLinearMatMul"): _matmul,
    ("", "Gemm"): _gemm,
    ("", "Conv"): _conv,
    ("", "ConvInteger"): _conv,
    ("", "QLinearConv"): _quantized_conv,
    ("", "ConvTranspose"): _conv_transpose,
    ("", "Einsum"): _einsum,
    ("", "LSTM"): _recurrent,
    ("", "GRU"): _recurrent,
    ("", "RNN"): _recurrent,
    ("", "Attention"): _attention,
    ("com.microsoft", "MultiHeadAttention"): _multi_head_attention,
    ("com.microsoft", "GroupQueryAttention"): _multi_head_attention,
    ("com.microsoft", "FusedMatMul"): _matmul,
}
"""By domain and operator."""

VIEWS = {
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Expand", "Slice", "Split"),
    *("Dropout", "Shape", "Size"),
}
"""Operators whose output is a view of their input, and Dropout, which does nothing in inference."""

QUANTIZED = {"DequantizeLinear", "MatMulInteger", "QLinearMatMul", "ConvInteger", "QLinearConv"}
"""Operators that read integers as weights."""

LOOPS = {"Loop", "Scan", "If", "SequenceMap"}
"""Operators with graphs inside; their number of runs depends on the data."""
