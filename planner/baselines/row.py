"""The row of a device: its actions, first to last, in columns. A long step has thousands, of only a few kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from planner.baselines.action import Action, StagePass

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ActionKind:
    """All actions of a row that are alike but for their microbatches.

    In ``action`` the microbatch of a stage pass is the number k of the stage pass. With ``microbatches[k]`` in its
    place, the tasks of ``action`` are those of all actions of the kind.
    """

    action: Action
    places: Ints  # in the row, rising
    microbatches: Ints  # (stage passes, actions)

    @staticmethod
    def of(action: Action, places: Ints, microbatches: Sequence[Ints]) -> ActionKind:
        """The actions like ``action`` at these places, with the microbatches of their stage passes."""
        named = tuple(stage_pass._replace(microbatch=j) for j, stage_pass in enumerate(action.passes))
        return ActionKind(Action(named), places, np.array(microbatches))


@dataclass(frozen=True, eq=False)
class Row:
    """What a device runs, first to last. Iteration makes the actions; ``kinds`` has them in columns."""

    length: int
    kinds: tuple[ActionKind, ...]

    def __len__(self) -> int:
        """How many actions."""
        return self.length

    def __iter__(self) -> Iterator[Action]:
        """The actions."""
        actions: list[Action] = [Action(())] * self.length
        for kind in self.kinds:
            for place, *numbers in zip(kind.places.tolist(), *kind.microbatches.tolist(), strict=True):
                stage_passes = zip(kind.action.passes, numbers, strict=True)
                actions[place] = Action(tuple(stage_pass._replace(microbatch=m) for stage_pass, m in stage_passes))
        return iter(actions)

    def forwards(self) -> Row:
        """The row without its backwards, for inference; its actions have one stage pass each."""
        kept = [kind for kind in self.kinds if kind.action.passes[0].kind == "F"]
        places = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *(kind.places for kind in kept)]))
        moved = [ActionKind(k.action, np.searchsorted(places, k.places), k.microbatches) for k in kept]
        return Row(len(places), tuple(moved))


Rows = Sequence[Row]
"""``rows[r]``: what device r runs."""


def row_of(actions: Sequence[Action]) -> Row:
    """The row of actions in any order of microbatches, of one stage pass or two each."""
    if not actions:
        return Row(0, ())
    kind, stage, copy, microbatch = zip(*chain.from_iterable(action.passes for action in actions), strict=True)
    letter = np.frombuffer("".join(kind).encode(), dtype=np.uint8).astype(np.int64)
    code = (letter * (max(stage) + 1) + np.array(stage)) * (max(copy) + 1) + np.array(copy)
    stage_passes = np.array([len(action.passes) for action in actions])
    first = np.cumsum(stage_passes) - stage_passes
    second = np.where(stage_passes == 2, code[first + stage_passes - 1] + 1, 0)
    _, example, which = np.unique(code[first] * (code.max() + 2) + second, return_index=True, return_inverse=True)
    number = np.array(microbatch, dtype=np.int64)
    found = []
    for k, at in enumerate(example.tolist()):
        places = np.flatnonzero(which == k)
        numbers = [number[first[places] + j] for j in range(len(actions[at].passes))]
        found.append(ActionKind.of(actions[at], places, numbers))
    return Row(len(actions), tuple(found))


def lettered(actions: Mapping[str, Action], order: str) -> Row:
    """The row that names its actions by letters, such as ``"FFBFBB"``; numbered as in ``numbered``."""
    number = np.zeros(1 + max(map(ord, actions)), dtype=np.int64)
    for k, letter in enumerate(actions):
        number[ord(letter)] = k
    return numbered(list(actions.values()), number[np.frombuffer(order.encode("ascii"), dtype=np.uint8)])


def numbered(actions: Sequence[Action], order: npt.ArrayLike) -> Row:
    """The row that runs ``actions[k]`` for every k in ``order``, each pass with its microbatches in rising order.

    Baselines do that, so an order of passes is enough. ``actions`` have the first microbatches. A stage's input
    gradients (I) and full backwards (B) are numbered together, its weight gradients (W) like its I.
    """
    which = np.asarray(order, dtype=np.int64)
    places = {k: np.flatnonzero(which == k) for k in np.flatnonzero(np.bincount(which)).tolist()}
    alike: dict[tuple[str, int, int], list[tuple[int, int]]] = {}  # actions and stage passes that are numbered together
    for k in places:
        for j, stage_pass in enumerate(actions[k].passes):
            alike.setdefault(
                ("B" if stage_pass.kind == "I" else stage_pass.kind, stage_pass.stage, stage_pass.copy), []
            ).append((k, j))
    found = {k: [places[k]] * len(actions[k].passes) for k in places}
    for kind, stage, copy in sorted(alike):  # W after I
        those = alike[kind, stage, copy]
        at = places[those[0][0]] if len(those) == 1 else np.sort(np.concatenate([places[k] for k, _ in those]))
        numbers = np.arange(len(at))
        if kind == "W":
            gradients = alike["B", stage, copy]
            halves = [found[k][j] for k, j in gradients if actions[k].passes[j].kind == "I"]
            numbers = np.sort(np.concatenate(halves))
        elif (stage_pass := _part(actions, those[0])).microbatch:
            numbers += stage_pass.microbatch
        for k, j in those:
            found[k][j] = numbers[np.searchsorted(at, places[k])]
    return Row(len(which), tuple(ActionKind.of(actions[k], places[k], found[k]) for k in places))


def _part(actions: Sequence[Action], where: tuple[int, int]) -> StagePass:
    return actions[where[0]].passes[where[1]]
