"""A graph as an importer builds it, and its text as ``graph.yaml``.

This module does not depend on any source format: a reader builds a ``Document``, ``to_yaml`` writes it, and ``checked``
reads the text once more with planner's own reader.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planner.problem.graph import PASS_KEYS, STEP_KEYS, ByDevice, Collective, Mode, Pass, PassTime, Stream, Work
from planner.problem.made_from import MadeFrom

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_PLAIN = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}  # to YAML 1.1 readers too
_WIDTH = 110


@dataclass(frozen=True)
class VariantDraft:
    """An alternative of an operator: the passes that exist, and sizes, as in ``OperatorDraft``."""

    name: str
    times: Mapping[Pass, PassTime]
    activation: float
    held_for_weight_grad: float | None = None

    @property
    def held(self) -> float:
        """As ``OperatorDraft.held``."""
        return _held(self)


@dataclass(frozen=True)
class OperatorDraft:
    """An operator of ``graph.yaml``: sizes in bytes, times in seconds or as work.

    ``times`` holds the passes that exist. In training, I may be left out (it is then as long as F); without W there is
    no such pass. ``inputs``: None reads the block's input, an empty tuple is a source.
    """

    name: str
    times: Mapping[Pass, PassTime]
    inputs: tuple[str, ...] | None = None
    stream: Stream = Stream.COMPUTE
    parameters: float = 0.0
    activation: float = 0.0
    held_for_weight_grad: float | None = None  # None: all of activation
    output: float = 0.0
    colocate: str | None = None
    devices: tuple[str, ...] | None = None
    variants: tuple[VariantDraft, ...] = ()
    step: Mapping[Pass, PassTime] = field(default_factory=dict)  # R, U and G that exist; training only
    gradient: float = 0.0
    collective: Collective | None = None

    @property
    def held(self) -> float:
        """What a reader of the file takes to be held for the gradient of the weights."""
        return _held(self)


def _held(draft: OperatorDraft | VariantDraft) -> float:
    held = draft.held_for_weight_grad
    return draft.activation if held is None or Pass.W not in draft.times else min(held, draft.activation)


@dataclass(frozen=True)
class BlockDraft:
    """A repeated sub-graph; ``output``: None is the last entry."""

    name: str
    repeat: int
    operators: Sequence[EntryDraft]
    inputs: tuple[str, ...] | None = None
    output: str | None = None


EntryDraft = OperatorDraft | BlockDraft


@dataclass(frozen=True)
class Document:
    """A whole ``graph.yaml``. ``header`` becomes its comment: paragraphs, and items that start with ``- ``."""

    name: str
    operators: Sequence[EntryDraft]
    header: str = ""
    mode: Mode = Mode.TRAINING
    microbatches: int = 1
    clip_gradients: bool = False
    origin: MadeFrom | None = None
    notes: tuple[str, ...] = field(default=())  # printed on stderr by the command


def to_yaml(document: Document) -> str:
    """The text of the file."""
    lines = list(comment_lines(document.header))
    lines += ["schema: planner/graph@1", f"name: {quoted(document.name)}"]
    if document.mode is not Mode.TRAINING:
        lines.append(f"mode: {document.mode.value}")
    lines.append(f"microbatches: {document.microbatches}")
    if document.clip_gradients:
        lines.append("clip_gradients: true")
    lines += _origin(document.origin)
    lines.append("operators:")
    for entry in document.operators:
        lines += _entry(entry, document.mode, "  ")
    return "\n".join(lines) + "\n"


def checked(text: str) -> str:
    """The text, checked by planner's own reader; ``InputError`` if the reader refuses it."""
    from planner.files.graph_file import graph_of
    from planner.files.yaml_source import source_of

    graph_of(source_of(text.encode("utf-8"), Path("the graph that came out")))
    return text


def quoted(name: str) -> str:
    """A name that YAML reads back unchanged: bare if that is safe, else in double quotes."""
    if _PLAIN.fullmatch(name) and name.lower() not in _NOT_PLAIN:
        return name
    return json.dumps(name, ensure_ascii=False)


def comment_lines(text: str) -> Iterator[str]:
    """Text as filled comment lines; a line that starts with ``- `` or two spaces begins an item."""
    for line in text.strip("\n").splitlines():
        hanging = re.match(r" *(- )?", line)
        indent = " " * (hanging.end() if hanging else 0)
        # File names may hold any character: those that YAML forbids in a comment become ?.
        clean = "".join(c if c.isprintable() else "?" for c in line)
        for part in textwrap.wrap(
            clean, _WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
        ) or [""]:
            yield f"# {part}".rstrip()


def rounded(value: float, unit: str) -> str:
    """A figure in words: ``8.03 GB``."""
    for prefix, scale in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"


def _entry(entry: EntryDraft, mode: Mode, indent: str) -> Iterator[str]:
    fields = _block(entry, mode, indent + "  ") if isinstance(entry, BlockDraft) else _operator(entry, mode)
    for position, line in enumerate(fields):
        yield f"{indent}{'- ' if position == 0 else '  '}{line}"


def _origin(origin: MadeFrom | None) -> Iterator[str]:
    """What the graph was made from, one field a line; what is as by default is left out."""
    if origin is None:
        return
    yield "origin:"
    for key, value in origin.stated.items():
        yield f"  {key}: {quoted(value) if isinstance(value, str) else json.dumps(value)}"


def _block(block: BlockDraft, mode: Mode, indent: str) -> Iterator[str]:
    yield f"block: {quoted(block.name)}"
    yield f"repeat: {block.repeat}"
    if block.inputs is not None:
        yield f"inputs: {_names(block.inputs)}"
    if block.output is not None:
        yield f"output: {quoted(block.output)}"
    yield "operators:"
    for entry in block.operators:
        yield from (f"  {line}" for line in _entry(entry, mode, ""))


def _operator(operator: OperatorDraft, mode: Mode) -> Iterator[str]:
    yield f"name: {quoted(operator.name)}"
    if operator.inputs is not None:
        yield f"inputs: {_names(operator.inputs)}"
    if operator.stream is not Stream.COMPUTE:
        yield f"stream: {operator.stream.value}"
    if operator.collective is not None:
        yield f"collective: {operator.collective.value}"
    yield from _passes(operator, mode)
    yield from _size("parameters", operator.parameters)
    yield from _size("activation", operator.activation)
    if _states_held(operator):
        yield from _size("held_for_weight_grad", operator.held, always=True)
    yield from _size("output", operator.output)
    if operator.colocate is not None:
        yield f"colocate: {quoted(operator.colocate)}"
    if operator.devices is not None:
        yield f"devices: {_names(operator.devices)}"
    yield from _step(operator)
    if operator.variants:
        yield "variants:"
    for variant in operator.variants:
        for position, line in enumerate(_variant(operator, variant)):
            yield f"  {'- ' if position == 0 else '  '}{line}"


def _step(operator: OperatorDraft) -> Iterator[str]:
    items = [f"{key}: {_cost(operator.step[which])}" for which, key in STEP_KEYS.items() if which in operator.step]
    if round(operator.gradient):
        items.append(f"gradient: {round(operator.gradient)}")
    if items:
        yield "step: {" + ", ".join(items) + "}"


def _variant(operator: OperatorDraft, variant: VariantDraft) -> Iterator[str]:
    """Only what differs from the operator, and what would else be taken from it."""
    yield f"name: {quoted(variant.name)}"
    changed = {p: cost for p, cost in variant.times.items() if cost != operator.times.get(p)}
    gone = Pass.W in operator.times and Pass.W not in variant.times
    if changed or gone:
        yield "work:" if any(isinstance(cost, Work) for cost in variant.times.values()) else "time:"
    for which, key in PASS_KEYS.items():
        if which in changed:
            yield f"  {key}: {_cost(changed[which])}"
    if gone:
        yield "  weight_grad: null"
    if round(variant.activation) != round(operator.activation):
        yield from _size("activation", variant.activation, always=True)
    inherited = operator.held if _states_held(operator) else variant.activation
    if Pass.W not in variant.times:
        inherited = min(inherited, variant.activation)
    if round(variant.held) != round(inherited):
        yield from _size("held_for_weight_grad", variant.held, always=True)


def _states_held(operator: OperatorDraft) -> bool:
    return round(operator.held) < round(operator.activation)


def _passes(operator: OperatorDraft, mode: Mode) -> Iterator[str]:
    wanted = {p: t for p, t in operator.times.items() if mode is Mode.TRAINING or p is Pass.F}
    work = any(isinstance(cost, Work) for cost in wanted.values())
    yield "work:" if work else "time:"
    for which, key in PASS_KEYS.items():
        if which in wanted:
            yield f"  {key}: {_cost(wanted[which])}"
    if mode is Mode.TRAINING and Pass.W not in wanted and round(operator.parameters) > 0:
        yield "  weight_grad: null"  # left out, it would be as long as forward


def _cost(cost: PassTime) -> str:
    if isinstance(cost, Work):
        flops, size = round(cost.flops), round(cost.bytes)
        parts = [f"flops: {flops}"] if flops or not size else []
        return "{" + ", ".join([*parts, f"bytes: {size}"] if size else parts) + "}"
    if isinstance(cost, ByDevice):
        return "{" + ", ".join(f"{quoted(name)}: {seconds!r}" for name, seconds in cost.seconds.items()) + "}"
    return repr(cost)


def _size(key: str, value: float, always: bool = False) -> Iterator[str]:
    size = round(value)
    if size or always:
        yield f"{key}: {size}" + (f"  # {rounded(size, 'B')}" if size >= 1000 else "")


def _names(names: Sequence[str]) -> str:
    return "[" + ", ".join(quoted(name) for name in names) + "]"
