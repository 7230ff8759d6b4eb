"""What a plan recomputes, as Megatron's flags, and the nearest choice that they can say where the plan's is another.

Megatron (``checkpointed_forward`` of Megatron-Core, commit d98e8a6, and the checks of ``TransformerConfig``) recomputes
decoder layers alone, never embedding and loss: all of them in full (``uniform``), the first N of every virtual stage in
full (``block``, where layers of multi-token prediction keep everything), or the same modules in all layers
(``selective``). Full and selective exclude each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from planner.common.messages import shown
from planner.exporters import CannotExport
from planner.exporters.layers import Chunk, Layer
from planner.problem import Problem
from planner.problem.graph import BASE


class Way(StrEnum):
    """How a layer is run."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"


WORDS = {Way.NONE: "not recomputed", Way.SELECTIVE: "recomputed selectively", Way.FULL: "recomputed in full"}
NAMES = {"selective": Way.SELECTIVE, "full": Way.FULL, "recompute": Way.FULL, "recomputed": Way.FULL}
"""What names of variants mean where ``--recompute`` does not say."""


@dataclass(frozen=True)
class Choice:
    """What Megatron can run: all layers in one way, or ``first`` layers of each virtual stage in full."""

    way: Way
    first: int | None = None

    def of(self, layer: Layer, place: int) -> Way:
        """The way of a layer, by its place among the decoder layers of its virtual stage."""
        if layer.kind in "EL":
            return Way.NONE
        if self.first is None:
            return self.way
        return Way.FULL if layer.kind == "t" and place < self.first else Way.NONE

    def flags(self, modules: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Megatron's flags with their values."""
        if self.way is Way.NONE:
            return {}
        if self.way is Way.SELECTIVE:
            return {"--recompute-granularity": ("selective",), "--recompute-modules": tuple(modules)}
        method, number = ("uniform", 1) if self.first is None else ("block", self.first)
        return {
            "--recompute-granularity": ("full",),
            "--recompute-method": (method,),
            "--recompute-num-layers": (str(number),),
        }

    def __str__(self) -> str:
        if self.first is None:
            return f"every decoder layer {WORDS[self.way]}"
        layers = "decoder layer" if self.first == 1 else f"{self.first} decoder layers"
        return f"the first {layers} of every stage recomputed in full"


@dataclass(frozen=True)
class Recomputing:
    """The variants of a plan and what they mean. ``problem``: of the plan's files, None without them."""

    variants: Mapping[str, str]  # empty: all are base
    names: Mapping[str, Way]
    problem: Problem | None
    fixed: frozenset[str] = frozenset()  # operators that have no choice, as far as the plan shows

    def way(self, operator: str) -> Way:
        """How the plan runs an operator."""
        return self._meaning(operator, self.variants.get(operator, BASE))

    def ways(self, layer: Layer) -> list[Way]:
        """The ways in which a layer is run as a whole: several where nothing depends on it, none where parts differ."""
        return [
            way
            for way in Way
            if all(self.way(name) is (way if way in self.offered(name) else Way.NONE) for name in layer.recomputable)
        ]

    def variant(self, operator: str, way: Way) -> str:
        """The variant in which an operator is run so; ``base`` where it has none."""
        assert self.problem is not None
        own = self.problem.operators[self.problem.graph.index[operator]]
        return next((v for v in own.versions[1:] if self.names.get(v) is way), BASE)

    def offered(self, operator: str) -> set[Way]:
        """The ways in which it could be run; without files all operators but the fixed ones are taken to have all."""
        if self.problem is None:
            return {Way.NONE} if operator in self.fixed else set(Way)
        own = self.problem.operators[self.problem.graph.index[operator]]
        return {Way.NONE, *(self.names[v] for v in own.versions[1:] if v in self.names)}

    def _meaning(self, operator: str, variant: str) -> Way:
        if variant == BASE:
            return Way.NONE
        if variant not in self.names:
            raise CannotExport(
                f"operator {shown(operator)} is in variant {shown(variant)}, and Megatron only knows recomputation; "
                f"if it is that, say which: --recompute 'full={variant}' or 'selective={variant}'"
            )
        return self.names[variant]


def parse_names(text: str | None) -> dict[str, Way]:
    """The names of ``--recompute`` before those that are known; raises ``CannotExport`` where the text has none."""
    found: dict[str, Way] = {}
    for entry in (text or "").split(","):
        way, _, name = (part.strip() for part in entry.partition("="))
        if not entry.strip():
            continue
        if way not in (Way.FULL, Way.SELECTIVE) or not name:
            raise CannotExport(f"--recompute: {shown(entry.strip())} is not full=VARIANT or selective=VARIANT")
        found[name] = Way(way)
    return found | {name: way for name, way in NAMES.items() if name not in found}


@dataclass(frozen=True)
class Said:
    """The choice that a plan makes, or why Megatron cannot say it."""

    choice: Choice | None
    reason: str = ""
    notes: tuple[str, ...] = ()


def said(plan: Recomputing, chunks: Sequence[Chunk]) -> Said:
    """Which choice the plan makes."""
    layers = [(chunk, k, layer) for k, chunk in enumerate(chunks) for layer in chunk.layers if layer.kind in "tm"]
    ways = {layer.name: plan.ways(layer) for _, _, layer in layers}
    every = [(layer, name) for chunk in chunks for layer in chunk.layers for name in layer.operators]
    kept = [name for layer, name in every if name not in layer.recomputable and plan.way(name) is not Way.NONE]
    notes: tuple[str, ...] = (
        (f"Megatron recomputes decoder layers alone: {_and(kept)} will keep everything",) if kept else ()
    )
    for way in Way:
        if all(way in ways[layer.name] for _, _, layer in layers):
            return Said(Choice(way), notes=notes)
    block = _mixed(plan, layers, ways) or _block(plan, chunks, ways)
    if isinstance(block, str):
        return Said(None, block, notes)
    if not all(_exact(block, chunk, ways) for chunk in chunks):
        notes += ("Megatron recomputes the first layers of every stage; the plan others, which are alike",)
    return Said(block, notes=notes)


def _exact(choice: Choice, chunk: Chunk, ways: Mapping[str, Sequence[Way]]) -> bool:
    """Whether the very decoder layers of a virtual stage are recomputed that a choice recomputes."""
    return all(choice.of(layer, place) in ways[layer.name] for place, layer in enumerate(chunk.decoder))


def _and(names: Sequence[str]) -> str:
    some = [shown(name) for name in names]
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}"


def _where(k: int, chunk: Chunk) -> str:
    return f"stage {k} ({chunk.device})"


def _mixed(
    plan: Recomputing, layers: Sequence[tuple[Chunk, int, Layer]], ways: Mapping[str, Sequence[Way]]
) -> str | None:
    """Why the layers are not all alike nor some of them in full and the others not recomputed."""
    for chunk, k, layer in layers:
        if not ways[layer.name]:
            free = [name for name in layer.recomputable if len(plan.offered(name)) > 1]
            runs = {plan.way(name): name for name in reversed(free)}
            parts = " and ".join(f"{shown(name)} {WORDS[way]}" for way, name in sorted(runs.items()))
            hint = "" if plan.problem else " (the plan alone does not show whether all of them could be)"
            return (
                f"{layer} on {_where(k, chunk)} has {parts}{hint}, and Megatron recomputes whole layers or the same "
                "modules of all"
            )
    of = {way: next((entry for entry in layers if ways[entry[2].name] == [way]), None) for way in Way}
    selective, other = of[Way.SELECTIVE], of[Way.FULL] or of[Way.NONE]
    if selective is not None and other is not None:
        pair = (
            f"{layer} on {_where(k, chunk)} is {WORDS[ways[layer.name][0]]}" for chunk, k, layer in (selective, other)
        )
        return f"{', '.join(pair)}, and Megatron's --recompute-granularity is one for all layers"
    prediction = next((entry for entry in layers if entry[2].kind == "m" and Way.NONE not in ways[entry[2].name]), None)
    if prediction is not None:
        chunk, k, layer = prediction
        return (
            f"{layer} on {_where(k, chunk)} is recomputed and not all decoder layers are, and Megatron recomputes "
            "multi-token prediction only with all of them"
        )
    return None


def _block(plan: Recomputing, chunks: Sequence[Chunk], ways: Mapping[str, Sequence[Way]]) -> Choice | str:
    """The first N layers of every virtual stage in full, or the stages that differ."""
    counts = [
        (
            sum(Way.NONE not in ways[layer.name] for layer in own),
            sum(Way.FULL in ways[layer.name] for layer in own),
            len(own),
        )
        for own in (chunk.decoder for chunk in chunks)
    ]
    first = max(low for low, _, _ in counts)
    most = next(k for k, (low, _, _) in enumerate(counts) if low == first)
    for k, (_, high, count) in enumerate(counts):
        if min(first, count) > high:
            low = counts[k][0]
            return (
                f"{_where(most, chunks[most])} recomputes {first} of its {counts[most][2]} decoder layers in full, "
                f"{_where(k, chunks[k])} {low} of {count}, and Megatron the same number in every stage "
                "(--recompute-num-layers)"
            )
    choice = Choice(Way.FULL, first)
    for k, chunk in enumerate(chunks):
        if _exact(choice, chunk, ways):
            continue
        if plan.problem is None or len({_figures(plan.problem, layer) for layer in chunk.decoder}) > 1:
            differ = (
                "which are not alike" if plan.problem else "and the plan alone does not show whether they are alike"
            )
            return f"{_where(k, chunk)} recomputes layers other than its first {first}, as Megatron does, {differ}"
    return choice


def _figures(problem: Problem, layer: Layer) -> bytes:
    """The times and sizes of a layer in all versions; equal for layers that are alike."""
    rows = [problem.graph.index[name] for name in layer.operators]
    tables = (t[rows] for v in problem.choices for t in (v.duration, v.activation, v.held, v.has_pass))
    return b"".join(table.tobytes() for table in tables)


def choices(chunks: Sequence[Chunk], plan: Recomputing) -> Iterator[Choice]:
    """What Megatron could run instead: all layers in one way that some operator has, or some of them in full."""
    offered = {plan.names[v] for o in _operators(plan) for v in o if v in plan.names}
    yield Choice(Way.NONE)
    yield from (Choice(way) for way in (Way.SELECTIVE, Way.FULL) if way in offered)
    if Way.FULL in offered:
        most = max(len(chunk.decoder) for chunk in chunks)
        yield from (Choice(Way.FULL, first) for first in range(1, most))


def _operators(plan: Recomputing) -> Iterator[tuple[str, ...]]:
    assert plan.problem is not None
    for operator, allowed in zip(plan.problem.operators, plan.problem.versions, strict=True):
        yield tuple(operator.versions[v] for v in allowed)


def variants_in(choice: Choice, chunks: Sequence[Chunk], plan: Recomputing) -> dict[str, str]:
    """The variant of every operator under a choice."""
    found: dict[str, str] = {}
    for chunk in chunks:
        place = 0
        for layer in chunk.layers:
            way = choice.of(layer, place)
            place += layer.kind == "t"
            found |= {name: plan.variant(name, way) for name in layer.recomputable}
    return found


def modules_of(chunks: Sequence[Chunk]) -> tuple[str, ...]:
    """The modules of Megatron that come nearest to selective recomputation as ``planner import hf`` has it."""
    return ("layernorm", "moe_act") if _parts(chunks, "expert", "moe") else ("layernorm",)


def has_dense_mlp(chunks: Sequence[Chunk]) -> bool:
    """Whether some layer has an MLP without experts: Megatron has no module for its activation function."""
    return _parts(chunks, "mlp", "ffn")


def _parts(chunks: Sequence[Chunk], *words: str) -> bool:
    names = {name.rpartition(".")[2] for c in chunks for layer in c.layers for name in layer.operators}
    return any(word in name for name in names for word in words)
