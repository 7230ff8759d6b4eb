"""The operators of a layer, and layers grouped into blocks.

A layer is ``attn`` and ``mlp``; with experts ``attn`` and ``experts``; with experts spread over ranks ``attn``,
``dispatch``, ``experts`` and ``shared`` side by side, ``combine``. Collectives are operators of the comm stream, since
``work`` knows the rates of a device only, and another microbatch can compute meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from planner.importers.document import BlockDraft, EntryDraft, OperatorDraft
from planner.importers.transformer.costs import Cost
from planner.importers.transformer.drafts import Drafts
from planner.importers.transformer.model import Attention, Layer, Moe
from planner.importers.transformer.parts import Batch, Parts
from planner.importers.transformer.setting import Cut, Setting
from planner.problem.graph import Collective

LONGEST_PATTERN = 16


class Layers:
    """Drafts the layers of one stack under one setting."""

    def __init__(self, drafts: Drafts, parts: Parts, hidden: int, batch: Batch, frozen: bool = False) -> None:
        self.drafts, self.parts, self.hidden, self.batch = drafts, parts, hidden, batch
        self.setting: Setting = drafts.setting
        self.frozen = frozen
        self.state = batch.tokens / self.setting.tensor * hidden * self.setting.elements.activation

    def operators(self, layer: Layer, encoder: tuple[str, Batch] | None = None) -> list[OperatorDraft]:
        """The operators of one layer in order; the first reads the block's input, the last is the block's output.

        ``encoder``: the operator that cross-attention reads, and its tokens.
        """
        parts = {"attention": self._attention(layer, layer.attention, "attn", None)}
        last = parts["attention"][-1].name
        if layer.cross is not None:
            assert encoder is not None
            parts["cross"] = self._attention(layer, layer.cross, "cross", last, encoder)
            last = parts["cross"][-1].name
        if isinstance(layer.feed_forward, Moe):
            parts["experts"] = self._experts(layer, layer.feed_forward, last)
        else:
            cost = self.parts.mlp(layer, layer.feed_forward, self.hidden, self.batch.tokens)
            parts["mlp"] = [self._compute("mlp", cost, (last,), partial=True), *self._reduced("mlp")]
        return [draft for part, drafts in parts.items() for draft in self._together(part, drafts)]

    def _together(self, part: str, drafts: list[OperatorDraft]) -> list[OperatorDraft]:
        """The operators of a part, with the label that keeps them on one device, where the cut asks for it."""
        cut = self.setting.cut
        if cut is Cut.OPERATOR or (cut is Cut.PART and len(drafts) == 1):
            return drafts
        return [replace(draft, colocate=part if cut is Cut.PART else "layer") for draft in drafts]

    def _compute(
        self, name: str, cost: Cost, inputs: tuple[str, ...] | None, cache: float = 0.0, partial: bool = False
    ) -> OperatorDraft:
        """``partial``: its outputs are still to be summed over the tensor ranks, each of which has all of them."""
        return self.drafts.compute(
            name,
            cost,
            self.state * (self.setting.tensor if partial else 1),
            self.state,
            inputs,
            cache=cache,
            frozen=self.frozen,
        )

    def _attention(
        self,
        layer: Layer,
        attention: Attention,
        name: str,
        before: str | None,
        encoder: tuple[str, Batch] | None = None,
    ) -> list[OperatorDraft]:
        """Attention; with sequence parallelism its keys and values are gathered first, as Llama 3 does
        (arXiv 2407.21783, section 3.3.2); backward scatters their gradients, the same bytes."""
        source = encoder[1] if encoder else self.batch
        inputs = None if before is None else (before, *([encoder[0]] if encoder else []))
        projections = self.parts.projections(layer, attention, self.hidden, self.batch, source)
        core = self.parts.core(layer, attention, self.hidden, self.batch, source)
        # Decode finds its caches there and leaves them: they are in memory all the time, those of all microbatches.
        decodes = self.setting.decodes
        cache = 0.0 if decodes else self.parts.cache(attention, source.tokens)
        resident = self.parts.resident(attention, source) * self.setting.microbatches if decodes else 0.0
        split = self.batch.split
        if split == 1:
            whole = projections + core
            if isinstance(layer.feed_forward, Moe) and self._router_with(name):
                whole += self.parts.router(layer, layer.feed_forward, self.hidden, self.batch.tokens)
            own = self._compute(name, whole, inputs, cache, partial=True)
            return [replace(own, parameters=own.parameters + resident), *self._reduced(name)]
        gathered = self.parts.key_values(attention, source.tokens) * (split - 1)
        pricing, ranks = self.setting.pricing, self.setting.context
        seconds = (
            self._within(gathered)
            if pricing is None
            else pricing.collective("all_gather", gathered / (split - 1) * split, Collective.CONTEXT, ranks)
        )
        projected, moved = f"{name}_qkv", f"{name}_kv_gather"
        return [
            self._compute(projected, projections, inputs),
            self.drafts.communicate(moved, Collective.CONTEXT, seconds, seconds, gathered, (projected,)),
            self._compute(name, core, (projected, moved), cache, partial=True),
            *self._reduced(name),
        ]

    def _reduced(self, name: str) -> list[OperatorDraft]:
        """The all-reduce over the tensor ranks (as reduce-scatter and all-gather: the same bytes), in a ring."""
        tensor = self.setting.tensor
        if tensor == 1:
            return []
        seconds = self._summed(tensor)
        return [self.drafts.communicate(f"{name}_reduce", Collective.TENSOR, seconds, seconds, self.state, (name,))]

    def _summed(self, tensor: int) -> float:
        """Seconds of an all-reduce of the hidden states over the tensor ranks."""
        if self.setting.pricing is not None:
            return self.setting.pricing.collective("all_reduce", self.state * tensor, Collective.TENSOR, tensor)
        return self._within(2 * (tensor - 1) * self.state)

    def _within(self, size: float) -> float:
        """Seconds that bytes between tensor or sequence ranks take."""
        bandwidth = self.setting.tensor_interconnect or self.setting.interconnect
        assert bandwidth  # the flags have been checked
        return size / bandwidth

    def _router_with(self, name: str) -> bool:
        """Whether the router is part of attention: no operator lies between them, and dispatch waits for it.

        Not where a cut may lie between attention and the experts, to which the router belongs.
        """
        setting = self.setting
        return name == "attn" and setting.expert > 1 and setting.tensor == 1 and setting.cut is not Cut.PART

    def _experts(self, layer: Layer, moe: Moe, before: str) -> list[OperatorDraft]:
        """From the router (unless that is part of attention) to combine; it reads ``before``."""
        setting, parts, tokens = self.setting, self.parts, self.batch.tokens
        found: list[OperatorDraft] = []
        routed = parts.experts(moe, self.hidden, tokens)
        router = parts.router(layer, moe, self.hidden, tokens)
        if setting.expert == 1:
            cost = router + routed + parts.shared(moe, self.hidden, tokens)
            return [self._compute("experts", cost, (before,), partial=True), *self._reduced("experts")]
        if self.batch.split > 1 or not self._router_with("attn"):
            found.append(self._compute("router", router, (before,)))
            before = "router"
        e = setting.elements
        pairs = tokens / setting.tensor * moe.per_token * self.hidden  # elements of this rank's share of the tokens
        # What experts read and write is there for all tensor ranks; the residual stream is sent along.
        kept, made = (pairs * setting.tensor * size for size in (e.gemm_input, e.activation))
        there, back = self._all_to_all(moe, e.gemm_input), self._all_to_all(moe, e.activation)
        joined = self._shared_reduction(moe)
        found.append(self.drafts.communicate("dispatch", Collective.EXPERT, there, back, kept + self.state, (before,)))
        found.append(
            self.drafts.compute(
                "experts", routed, made + self.state, kept, ("dispatch",), replicas=setting.expert_replicas
            )
        )
        if moe.shared_width:
            shared = parts.shared(moe, self.hidden, tokens)
            found.append(self._compute("shared", shared, (before,), partial=True))
        readers = ("experts", "shared") if moe.shared_width else ("experts",)
        found.append(
            self.drafts.communicate("combine", Collective.EXPERT, back + joined, there + joined, self.state, readers)
        )
        return found

    def _shared_reduction(self, moe: Moe) -> float:
        """Seconds in which the tensor ranks sum the shared expert's outputs, as part of combine."""
        tensor = self.setting.tensor
        if tensor == 1 or not moe.shared_width:
            return 0.0
        return self._summed(tensor)

    def _all_to_all(self, moe: Moe, element: int) -> float:
        """Seconds of one all-to-all: a rank sends to the other expert ranks, then within its tensor ranks.

        Each token of its share goes to ``per_token`` experts, or to ``sends_per_token`` nodes if routing is limited
        (DeepSeek-V3, arXiv 2412.19437, section 3.2.2); (E - 1) / E of that goes to other ranks.
        """
        setting = self.setting
        share = self.batch.tokens / setting.tensor * self.hidden * element
        sends = min(moe.per_token, setting.sends_per_token or moe.per_token)
        if setting.pricing is not None:
            sent = setting.pricing.collective("all_to_all", share * sends, Collective.EXPERT, setting.expert)
            if setting.tensor == 1:
                return sent
            whole = share * moe.per_token * setting.tensor
            return sent + setting.pricing.collective("all_gather", whole, Collective.TENSOR, setting.tensor)
        assert setting.interconnect
        across = share * sends * (setting.expert - 1) / setting.expert
        within = share * moe.per_token * (setting.tensor - 1)
        return across / setting.interconnect + self._within(within)


def segments(layers: Sequence[Layer]) -> Sequence[tuple[tuple[Layer, ...], int]]:
    """The layers in order as patterns with repetitions; each pattern covers as many of the next layers as possible."""
    return _segments(tuple(layers))


@lru_cache(maxsize=64)  # thousands of strategies ask for those of one model
def _segments(layers: tuple[Layer, ...]) -> tuple[tuple[tuple[Layer, ...], int], ...]:
    found: list[tuple[tuple[Layer, ...], int]] = []
    at = 0
    while at < len(layers):
        best = (1, 1)
        for length in range(1, min(LONGEST_PATTERN, len(layers) - at) + 1):
            pattern, times = layers[at : at + length], 1
            while layers[at + times * length : at + (times + 1) * length] == pattern:
                times += 1
            if (length == 1 or times > 1) and length * times > best[0] * best[1]:
                best = (length, times)
        found.append((layers[at : at + best[0]], best[1]))
        at += best[0] * best[1]
    return tuple(found)


def blocks(
    builder: Layers,
    layers: Sequence[Layer],
    base: str,
    inputs: tuple[str, ...],
    encoder: tuple[str, Batch] | None = None,
) -> list[BlockDraft]:
    """A block for each segment, named ``base`` if there is only one, else ``base`` and the kinds of its layers."""
    parts = segments(layers)
    names: list[str] = []
    for pattern, _ in parts:
        kind = "_".join(dict.fromkeys(layer.kind(layers) for layer in pattern))
        names.append(base if len(parts) == 1 else _unique(f"{base}_{kind}", names))
    found: list[BlockDraft] = []
    for (pattern, times), name in zip(parts, names, strict=True):
        found.append(_block(builder, pattern, times, name, inputs, encoder))
        inputs = (name,)
    return found


def _block(
    builder: Layers,
    pattern: Sequence[Layer],
    times: int,
    name: str,
    inputs: tuple[str, ...] | None,
    encoder: tuple[str, Batch] | None,
) -> BlockDraft:
    outer = builder.drafts.times
    builder.drafts.times = outer * times
    entries: list[EntryDraft]
    if len(pattern) == 1:
        entries = list(builder.operators(pattern[0], encoder))
    else:
        entries = []
        for part, again in segments(pattern):
            kind = _unique(part[0].kind(pattern), [entry.name for entry in entries])
            before = (entries[-1].name,) if entries else None
            entries.append(_block(builder, part, again, kind, before, encoder))
    builder.drafts.times = outer
    return BlockDraft(name, times, entries, inputs)


def _unique(name: str, taken: Sequence[str]) -> str:
    """The name, with a number if it is taken."""
    numbered, number = name, 1
    while numbered in taken:
        number += 1
        numbered = f"{name}{number}"
    return numbered


def renamed(drafts: Sequence[OperatorDraft], prefix: str, inputs: tuple[str, ...]) -> list[OperatorDraft]:
    """Operators of a layer as top-level operators: names with a prefix, the first reads ``inputs``."""
    own = {draft.name for draft in drafts}
    return [
        replace(
            draft,
            name=f"{prefix}{draft.name}",
            inputs=inputs if draft.inputs is None else tuple(prefix * (n in own) + n for n in draft.inputs),
            colocate=draft.colocate and prefix + draft.colocate,
        )
        for draft in drafts
    ]
