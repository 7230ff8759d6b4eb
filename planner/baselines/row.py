"""The row of a rank: its calls, first to last, in columns. A long step has thousands, but only few kinds of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from planner.baselines.call import Call, Part

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CallKind:
    """All calls of a row that are alike but for their microbatches.

    In ``call`` the microbatch of a part is the number of the part, so that its tasks are those of every call of
    the kind once ``microbatches[part]`` stands in its place.
    """

    call: Call
    places: Ints  # in the row, rising
    microbatches: Ints  # (parts, calls)

    @staticmethod
    def of(call: Call, places: Ints, microbatches: Sequence[Ints]) -> CallKind:
        """The calls like ``call`` at these places, with the microbatches of their parts."""
        named = tuple(part._replace(microbatch=j) for j, part in enumerate(call.parts))
        return CallKind(Call(named), places, np.array(microbatches))


@dataclass(frozen=True, eq=False)
class Row:
    """What a rank runs, first to last. Going through it makes the calls; ``kinds`` has them in columns."""

    length: int
    kinds: tuple[CallKind, ...]

    def __len__(self) -> int:
        """How many calls."""
        return self.length

    def __iter__(self) -> Iterator[Call]:
        """The calls."""
        calls: list[Call] = [Call(())] * self.length
        for kind in self.kinds:
            for place, *numbers in zip(kind.places.tolist(), *kind.microbatches.tolist(), strict=True):
                parts = zip(kind.call.parts, numbers, strict=True)
                calls[place] = Call(tuple(part._replace(microbatch=m) for part, m in parts))
        return iter(calls)

    def forwards(self) -> Row:
        """The row without its backwards, for inference; its calls have one part each."""
        kept = [kind for kind in self.kinds if kind.call.parts[0].kind == "F"]
        places = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *(kind.places for kind in kept)]))
        moved = [CallKind(k.call, np.searchsorted(places, k.places), k.microbatches) for k in kept]
        return Row(len(places), tuple(moved))


Rows = Sequence[Row]
"""``rows[r]``: what rank r runs."""


def row_of(calls: Sequence[Call]) -> Row:
    """The row of calls in any order of microbatches, of one part or two each."""
    if not calls:
        return Row(0, ())
    kind, stage, copy, microbatch = zip(*chain.from_iterable(call.parts for call in calls), strict=True)
    letter = np.frombuffer("".join(kind).encode(), dtype=np.uint8).astype(np.int64)
    code = (letter * (max(stage) + 1) + np.array(stage)) * (max(copy) + 1) + np.array(copy)
    parts = np.array([len(call.parts) for call in calls])
    first = np.cumsum(parts) - parts
    second = np.where(parts == 2, code[first + parts - 1] + 1, 0)
    _, example, which = np.unique(code[first] * (code.max() + 2) + second, return_index=True, return_inverse=True)
    number = np.array(microbatch, dtype=np.int64)
    found = []
    for k, at in enumerate(example.tolist()):
        places = np.flatnonzero(which == k)
        numbers = [number[first[places] + j] for j in range(len(calls[at].parts))]
        found.append(CallKind.of(calls[at], places, numbers))
    return Row(len(calls), tuple(found))


def lettered(calls: Mapping[str, Call], order: str) -> Row:
    """The row that names its calls by letters, such as ``"FFBFBB"``; numbered as in ``numbered``."""
    number = np.zeros(1 + max(map(ord, calls)), dtype=np.int64)
    for k, letter in enumerate(calls):
        number[ord(letter)] = k
    return numbered(list(calls.values()), number[np.frombuffer(order.encode("ascii"), dtype=np.uint8)])


def numbered(calls: Sequence[Call], order: npt.ArrayLike) -> Row:
    """The row that runs ``calls[k]`` for every k in ``order``, each pass with its microbatches in rising order.

    Published schedules do that, so that an order of passes says all. In ``calls`` stand the first microbatches. A
    stage's input gradients (I) and full backwards (B) are numbered together, its weight gradients (W) as the I are.
    """
    which = np.asarray(order, dtype=np.int64)
    places = {k: np.flatnonzero(which == k) for k in np.flatnonzero(np.bincount(which)).tolist()}
    alike: dict[tuple[str, int, int], list[tuple[int, int]]] = {}  # calls and parts that are numbered together
    for k in places:
        for j, part in enumerate(calls[k].parts):
            alike.setdefault(("B" if part.kind == "I" else part.kind, part.stage, part.copy), []).append((k, j))
    found = {k: [places[k]] * len(calls[k].parts) for k in places}
    for kind, stage, copy in sorted(alike):  # W after I
        those = alike[kind, stage, copy]
        at = places[those[0][0]] if len(those) == 1 else np.sort(np.concatenate([places[k] for k, _ in those]))
        numbers = np.arange(len(at))
        if kind == "W":
            gradients = alike["B", stage, copy]
            halves = [found[k][j] for k, j in gradients if calls[k].parts[j].kind == "I"]
            numbers = np.sort(np.concatenate(halves))
        elif (part := _part(calls, those[0])).microbatch:
            numbers += part.microbatch
        for k, j in those:
            found[k][j] = numbers[np.searchsorted(at, places[k])]
    return Row(len(which), tuple(CallKind.of(calls[k], places[k], found[k]) for k in places))


def _part(calls: Sequence[Call], where: tuple[int, int]) -> Part:
    return calls[where[0]].parts[where[1]]
