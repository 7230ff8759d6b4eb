"""FLOP of tensor operations from the shapes of inputs and outputs; a multiplication and an addition are two."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

Dims = Sequence[int]


def matmul(left: Dims, output: Dims) -> float:
    """A matrix product, batched or not: each output element sums over the left operand's last dimension."""
    return 2.0 * prod(output) * (left[-1] if left else 1)


def convolution(weight: Dims, output: Dims) -> float:
    """A convolution, weight (out, in / groups, kernel...): each output element sums over one filter."""
    return 2.0 * prod(output) * prod(weight[1:])


def transposed_convolution(weight: Dims, source: Dims) -> float:
    """A transposed convolution, weight (in, out / groups, kernel...): each input element meets one filter."""
    return 2.0 * prod(source) * prod(weight[1:])


def attention(query: Dims, key: Dims, value: Dims, causal: bool) -> float:
    """Attention of (..., tokens, width): products with keys and with values; a causal mask halves them."""
    pairs = 2.0 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    return pairs / 2 if causal else pairs


def recurrent(weights: Sequence[Dims], steps: int, batch: int) -> float:
    """A recurrent layer: every token is multiplied with every matrix."""
    return 2.0 * steps * batch * sum(prod(dims) for dims in weights if len(dims) > 1)


def einsum(equation: str, operands: Sequence[Dims], output: Dims) -> float:
    """An Einstein sum, multiplied out directly: each output element sums over the indices that it lacks."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(operands) < 2:
        return 0.0
    sizes: dict[str, int] = {}
    for term, dims in zip(terms, operands, strict=True):
        before, _, after = term.partition("...")
        named = [*zip(before, dims, strict=False), *zip(reversed(after), reversed(dims), strict=False)]
        for letter, size in named:
            sizes[letter] = max(size, sizes.get(letter, 1))
    kept = set(right) if arrow else {letter for letter in sizes if left.count(letter) == 1}
    return 2.0 * prod(output) * prod(size for letter, size in sizes.items() if letter not in kept)
