"""Expands blocks into operators: their repetitions, full names and inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from planner.common.messages import LONGEST
from planner.files.errors import did_you_mean, listed, shortened, shown
from planner.files.shapes import Entry
from planner.problem.graph import Collective, Mode, Operator, Origin, Pass, PassTime, Stream, Variant

MAX_OPERATORS = 1_000_000


@dataclass(frozen=True, slots=True)
class OperatorEntry:
    """An operator as the file states it, defaults filled in; ``inputs`` is None where it has no such key."""

    name: str
    record: Entry
    inputs: tuple[str, ...] | None
    times: Mapping[Pass, PassTime]
    stream: Stream
    parameters: float
    activation: float
    held_for_weight_grad: float
    output: float
    colocate: str | None
    devices: tuple[str, ...] | None
    origin: Origin
    variants: tuple[Variant, ...] = ()
    step: Mapping[Pass, PassTime] = field(default_factory=dict)
    gradient: float = 0.0
    collective: Collective | None = None


@dataclass(frozen=True, slots=True)
class BlockEntry:
    """A block as the file states it; ``output`` is the entry of its list that others read."""

    name: str
    record: Entry
    inputs: tuple[str, ...] | None
    repeat: int
    output: ListEntry
    entries: Mapping[str, ListEntry]


ListEntry = OperatorEntry | BlockEntry


@dataclass(frozen=True, slots=True)
class _Scope:
    """One repetition of a block, or the top level: the names of its list, and what it reads from outside."""

    prefix: str  # "layer.3."
    entries: Mapping[str, ListEntry]
    input: tuple[str, ...]  # full names that an entry without inputs reads
    outer: _Scope | None = None


def by_name(entries: Sequence[ListEntry]) -> dict[str, ListEntry]:
    """The entries of one list by name; ``InputError`` where two have the same."""
    names: dict[str, ListEntry] = {}
    for entry in entries:
        if entry.name in names:
            _fail_twice(entry, names[entry.name], entry.name, "in one list")
        names[entry.name] = entry
    return names


def expand(entries: Mapping[str, ListEntry], mode: Mode) -> tuple[Operator, ...]:
    """Unroll every block into operators with full names, in the file's order.

    Raises ``InputError`` for names that are used twice or name nothing, for cycles, and for more
    operators than ``MAX_OPERATORS``, before any of them is made.
    """
    size = _size(entries)
    if size > MAX_OPERATORS:
        largest = max((e for e in entries.values() if isinstance(e, BlockEntry)), key=_copies_size)
        largest.record.at("repeat").fail(
            f"the graph has {shown(size, 40)} operators once its blocks are unrolled, at most "
            f"{MAX_OPERATORS:,} are possible: lower 'repeat'"
        )
    made: dict[str, OperatorEntry] = {}
    for name, entry in _full_names(entries, ""):
        if name in made:
            _fail_twice(entry, made[name], name, "once blocks are unrolled")
        made[name] = entry
    operators = _Expansion(mode, made).run(_Scope("", entries, ()))
    _reject_cycles(operators, made)
    return operators


def _size(entries: Mapping[str, ListEntry]) -> int:
    return sum(_copies_size(e) if isinstance(e, BlockEntry) else 1 for e in entries.values())


def _copies_size(block: BlockEntry) -> int:
    return block.repeat * _size(block.entries)


def _full_names(entries: Mapping[str, ListEntry], prefix: str) -> Iterator[tuple[str, OperatorEntry]]:
    for entry in entries.values():
        if isinstance(entry, BlockEntry):
            for copy in range(entry.repeat):
                yield from _full_names(entry.entries, _copy_prefix(entry, copy, prefix))
        else:
            yield prefix + entry.name, entry


def _copy_prefix(block: BlockEntry, copy: int, prefix: str) -> str:
    return f"{prefix}{block.name}.{copy}."


def _exit(entry: ListEntry, prefix: str) -> str:
    """The full name of the operator that readers of ``entry`` read; for a block, in its last repetition."""
    while isinstance(entry, BlockEntry):
        prefix = _copy_prefix(entry, entry.repeat - 1, prefix)
        entry = entry.output
    return prefix + entry.name


def _fail_twice(entry: ListEntry, first: ListEntry, name: str, where: str) -> None:
    key = "block" if isinstance(entry, BlockEntry) else "name"
    entry.record.at(key).fail(
        f"the name {shown(name)} is used twice {where} (first in line {first.record.place.line}): rename one"
    )


def _known(entry: ListEntry, scope: _Scope | None) -> list[str]:
    """Names that the entry could have meant, innermost first; not all of a huge list."""
    names: dict[str, None] = {}
    while scope is not None:
        names.update(dict.fromkeys(scope.entries))
        scope = scope.outer
    names.pop(entry.name, None)
    return list(names)[:2000]


class _Expansion:
    """Makes the operators scope by scope, in the file's order."""

    def __init__(self, mode: Mode, made: Mapping[str, OperatorEntry]) -> None:
        self.mode = mode
        self.made = made  # every full name
        self._label_of: dict[tuple[str, str], str] = {}
        self._labels: set[str] = set()

    def run(self, top: _Scope) -> tuple[Operator, ...]:
        return tuple(self._operators(top))

    def _operators(self, scope: _Scope) -> Iterator[Operator]:
        for entry in scope.entries.values():
            reads = self._reads(entry, scope)
            if isinstance(entry, BlockEntry):
                for copy in range(entry.repeat):
                    prefix = _copy_prefix(entry, copy, scope.prefix)
                    yield from self._operators(_Scope(prefix, entry.entries, reads, scope))
                    reads = (_exit(entry.output, prefix),)
            else:
                yield self._operator(entry, scope, reads)

    def _operator(self, entry: OperatorEntry, scope: _Scope, reads: tuple[str, ...]) -> Operator:
        training = self.mode is Mode.TRAINING
        times = entry.times if training else {Pass.F: entry.times[Pass.F]}
        variants = entry.variants
        if variants and not training:
            variants = tuple(replace(variant, times={Pass.F: variant.times[Pass.F]}) for variant in variants)
        return Operator(
            name=scope.prefix + entry.name,
            times=times,
            inputs=reads,
            stream=entry.stream,
            parameters=entry.parameters,
            activation=entry.activation,
            held_for_weight_grad=entry.held_for_weight_grad,
            output=entry.output,
            colocate=None if entry.colocate is None else self._label(scope.prefix, entry.colocate),
            devices=entry.devices,
            origin=entry.origin,
            variants=variants,
            step=entry.step if training else {},
            gradient=entry.gradient if training else 0.0,
            collective=entry.collective,
        )

    def _reads(self, entry: ListEntry, scope: _Scope) -> tuple[str, ...]:
        if entry.inputs is None:
            return scope.input
        full = (self._resolve(name, i, entry, scope) for i, name in enumerate(entry.inputs))
        return tuple(dict.fromkeys(full))

    def _resolve(self, name: str, i: int, entry: ListEntry, scope: _Scope) -> str:
        """Innermost list first, then outwards, and at last the full names (``layer.3.attn``)."""
        inner: _Scope | None = scope
        while inner is not None:
            if name in inner.entries:
                return _exit(inner.entries[name], inner.prefix)
            inner = inner.outer
        if name not in self.made:
            record = entry.record
            place = record.at("inputs").item(record.data["inputs"], i)
            place.fail(f"no operator or block is called {shown(name)}: {did_you_mean(name, _known(entry, scope))}")
        return name

    def _label(self, prefix: str, label: str) -> str:
        """A colocate label that no other scope's label equals: ``layer.3.lm``."""
        key = (prefix, label)
        if key not in self._label_of:
            unique = prefix + label
            while unique in self._labels:
                unique += "'"
            self._labels.add(unique)
            self._label_of[key] = unique
        return self._label_of[key]


def _reject_cycles(operators: Sequence[Operator], made: Mapping[str, OperatorEntry]) -> None:
    """Remove operators whose inputs are all removed; what is left holds a cycle."""
    waiting = {operator.name: len(operator.inputs) for operator in operators}
    readers: dict[str, list[str]] = {name: [] for name in waiting}
    inputs = {operator.name: operator.inputs for operator in operators}
    for operator in operators:
        for name in operator.inputs:
            readers[name].append(operator.name)
    ready = [name for name, count in waiting.items() if count == 0]
    while ready:
        name = ready.pop()
        del waiting[name]
        for reader in readers[name]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                ready.append(reader)
    if not waiting:
        return
    # Everything left has an input that is left: walking from input to input must close a cycle.
    name = next(iter(waiting))
    walked: dict[str, None] = {}
    while name not in walked:
        walked[name] = None
        name = next(other for other in inputs[name] if other in waiting)
    path = list(walked)
    cycle = path[path.index(name) :]
    order = {operator.name: i for i, operator in enumerate(operators)}
    first = min(range(len(cycle)), key=lambda i: order[cycle[i]])
    cycle = cycle[first:] + cycle[:first]
    if len(cycle) == 1:
        message = f"operator {shown(cycle[0])} reads itself: name another input"
    else:
        steps = [f"{shortened(a)} reads {shortened(b)}" for a, b in zip(cycle, cycle[1:] + cycle[:1], strict=True)]
        message = f"operators read each other in a cycle: {listed(steps, 8, 3 * LONGEST)}; remove one of these inputs"
    made[cycle[0]].record.at("inputs").fail(message)
