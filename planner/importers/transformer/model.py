"""The dimensions of a transformer, independent of the source: ``huggingface/`` makes them, ``graph.py`` reads them.

Lengths are in elements, not bytes. All classes are immutable and compare by value, so that equal layers are found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Mla:
    """Ranks and head dimensions of multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1)."""

    q_rank: int | None  # None: queries are projected directly
    kv_rank: int
    nope_dim: int  # of a head's query and key, without position
    rope_dim: int  # with position; the key's is shared by all heads
    value_dim: int

    @property
    def qk_dim(self) -> int:
        """Width of a head's queries and keys."""
        return self.nope_dim + self.rope_dim


@dataclass(frozen=True)
class Attention:
    """Self-attention, or with ``cross`` attention to the encoder's output."""

    heads: int
    kv_heads: int
    head_dim: int
    causal: bool = True
    window: int | None = None  # keys that a token sees; None: all
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: int = 0  # weights of the norms of queries and keys together
    cross: bool = False
    rotary: bool = True
    mla: Mla | None = None


@dataclass(frozen=True)
class Mlp:
    """A dense feed-forward part."""

    width: int
    gated: bool = True
    bias: bool = False


@dataclass(frozen=True)
class Moe:
    """Routed experts, all gated MLPs of one width, and a shared expert."""

    experts: int
    per_token: int
    width: int
    shared_width: int = 0
    shared_gate: bool = False
    router_bias: bool = False


@dataclass(frozen=True)
class Layer:
    """One layer: attention, perhaps cross-attention, feed-forward."""

    attention: Attention
    feed_forward: Mlp | Moe
    cross: Attention | None = None
    norm_biases: bool = False  # LayerNorm has a bias, RMSNorm has none
    norms: int = 1  # before (and with 2 also after) every part

    def kind(self, others: Iterable[Layer]) -> str:
        """Its name among layers of several kinds: the features that not all of them have."""
        experts, windows = isinstance(self.feed_forward, Moe), self.attention.window is not None
        words = []
        if any(isinstance(other.feed_forward, Moe) is not experts for other in others):
            words.append("moe" if experts else "dense")
        if any((other.attention.window is not None) is not windows for other in others):
            words.append("window" if windows else "full")
        return "_".join(words) or "layer"


@dataclass(frozen=True)
class Stack:
    """Layers one after the other, over the same tokens."""

    hidden: int
    layers: tuple[Layer, ...]
    final_norm: int = 0  # weights (of T5: with its table of relative positions)

    def seen_at(self, tokens: int) -> Stack:
        """The stack for sequences of so many tokens: a window that covers all of them is dropped."""

        def cut(layer: Layer) -> Layer:
            window = layer.attention.window
            if window is None or window < tokens:
                return layer
            return replace(layer, attention=replace(layer.attention, window=None))

        return replace(self, layers=tuple(cut(layer) for layer in self.layers))


@dataclass(frozen=True)
class Vision:
    """A vision tower and the projector into the language model."""

    stack: Stack
    patch_inputs: int  # elements of a patch: channels x frames x height x width
    patch_pixels: int  # edge of a patch
    image_pixels: int | None  # edge of an image where the model fixes it
    patch_bias: bool = False
    class_token: bool = False
    positions: bool = False  # learned, one a patch (and class token)
    outer_norms: int = 0  # weights of norms before and after the layers
    merged: int = 1  # patches that become one token of the language model
    projector: tuple[int, ...] = ()  # widths, first to last
    projector_norm: int = 0  # weights


@dataclass(frozen=True)
class Head:
    """The output layer: hidden states to logits."""

    tied: bool  # the matrix is the embedding's
    bias: bool = False
    transform: bool = False  # BERT's dense layer and norm before it
    pooler: bool = False  # BERT's dense layer on the first token
    width: int | None = None  # input width where it is not the hidden size (OPT-350M)


@dataclass(frozen=True)
class Model:
    """A whole model."""

    vocabulary: int
    decoder: Stack
    head: Head
    encoder: Stack | None = None  # T5's
    vision: Vision | None = None
    embedding_width: int | None = None  # where it is not the hidden size (OPT-350M)
    positions: int = 0  # rows of a learned position table (and token types)
    longest: int | None = None  # tokens of a sequence that the file names as the most
    embedding_norm: int = 0  # weights
    mtp: int = 0  # modules of multi-token prediction (DeepSeek-V3)
    family: str = ""  # model_type of config.json
