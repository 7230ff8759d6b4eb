"""FLOP of ATen operators, as ``torch.export`` programs call them. Only operators that multiply are listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from planner.importers.tensors import costs

Shape = tuple[int, ...]


class Call:
    """The arguments of a node, tensors as their shapes, and the shape of its (first) output."""

    def __init__(self, names: Sequence[str], arguments: Sequence[Any], named: dict[str, Any], output: Shape) -> None:
        self.values = dict(zip(names, arguments, strict=False)) | named
        self.output = output

    def shape(self, *names: str) -> Shape:
        """The shape of an argument, under the first of these names that exists."""
        for name in names:
            value = self.values.get(name)
            if isinstance(value, tuple):
                return value
        raise KeyError(names[0])

    def flag(self, name: str) -> bool:
        """Whether an argument is given and true."""
        return bool(self.values.get(name))


def _linear(call: Call) -> float:
    return costs.matmul(call.shape("input"), call.output)


def _matmul(call: Call) -> float:
    return costs.matmul(call.shape("self"), call.output)


def _added_matmul(call: Call) -> float:
    return costs.matmul(call.shape("mat1", "batch1"), call.output)


def _convolution(call: Call) -> float:
    if call.flag("transposed"):
        return _transposed(call)
    return costs.convolution(call.shape("weight"), call.output)


def _transposed(call: Call) -> float:
    return costs.transposed_convolution(call.shape("weight"), call.shape("input"))


def _attention(call: Call) -> float:
    query, key, value = call.shape("query"), call.shape("key"), call.shape("value")
    return costs.attention(query, key, value, call.flag("is_causal"))


def _einsum(call: Call) -> float:
    return costs.einsum(str(call.values["equation"]), call.values["tensors"], call.output)


def _recurrent(call: Call) -> float:
    source = call.shape("input")
    return costs.recurrent(call.values["params"], prod(source[:-1]), 1)


def _grouped(call: Call) -> float:
    return costs.matmul(call.shape("self"), call.output)


FLOPS: dict[str, Callable[[Call], float]] = {
    "linear": _linear,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot"), _matmul),
    **dict.fromkeys(("addmm", "baddbmm"), _added_matmul),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    "scaled_dot_product_attention": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "einsum": _einsum,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    "_grouped_mm": _grouped,
}
"""By the operator's name in the namespace ``aten``, overload left out."""

VIEWS = {"reshape", "dropout", "contiguous", "flatten", "to", "_to_copy", "detach", "alias", "getitem"}
"""Operators that usually produce no new tensor, beside those that torch marks as views."""

LOOKUPS = {"embedding", "embedding_bag", "index_select"}
"""Operators that read rows of a table."""
