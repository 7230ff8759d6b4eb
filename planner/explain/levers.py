"""What to speed up first: the plan's order replayed with a kind of operator, a device or a link ten percent faster."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from planner.events import Events
from planner.events.nodes import Flags, Floats
from planner.explain.path import CriticalPath
from planner.simulate.replays import CELLS, NotReplayed, replayed_makespans

FASTER = 0.1
"""The part of their length that the faster tasks save."""

ROUNDING = 1e-6
"""Relative to the makespan: a plan whose replay differs by more is wrong."""


class Lever(StrEnum):
    """What can be made faster."""

    OPERATORS = "operators"  # of one kind: the same name but for its numbers; not where that is all of them
    OPERATOR = "operator"
    DEVICE = "device"
    LINK = "link"


@dataclass(frozen=True)
class Speedup:
    """The ``makespan`` (seconds) of the plan's order where what ``name`` names takes ten percent less time.

    ``on_path``: seconds of it on the critical path, ``busy``: in the whole step.
    """

    lever: Lever
    name: str
    on_path: float
    busy: float
    makespan: float


def kind_of(operator: str) -> str:
    """The name of an operator without its numbers: ``layer.*.attn`` of ``layer.3.attn``."""
    return re.sub(r"\d+", "*", operator)


def speedups(events: Events, path: CriticalPath) -> list[Speedup]:
    """Everything on the critical path made faster, one at a time; the greatest gain first.

    What is not on the path gains nothing while the order stays: the path remains as long as it is. Raises
    ``NotReplayed`` where the plan's own lengths do not give its makespan.
    """
    some = list(_on_path(events, path))
    seconds = events.seconds
    makespans = replayed(events, [np.where(which, (1.0 - FASTER) * seconds, seconds) for *_, which in some])
    undisturbed = float(replayed(events, [seconds])[0])
    rounding = path.makespan - undisturbed
    if abs(rounding) > ROUNDING * max(path.makespan, undisturbed):
        raise NotReplayed(
            f"its order takes {undisturbed:.9g} s by its own lengths, but its makespan is {path.makespan:.9g} s"
        )
    found = [
        Speedup(lever, name, on_path, float(seconds[which].sum()), float(makespan) + rounding)
        for (lever, name, on_path, which), makespan in zip(some, makespans, strict=True)
    ]
    return sorted(found, key=lambda one: (one.makespan, -one.on_path, one.lever, one.name))


def replayed(events: Events, lengths: Sequence[Floats]) -> Floats:
    """The makespans of the plan's order with other lengths of its tasks and transfers (seconds)."""
    at_once = max(1, CELLS // max(1, 2 * events.nodes.n))
    several = (np.stack(lengths[k : k + at_once], axis=1) for k in range(0, len(lengths), at_once))
    return replayed_makespans(events, several)


def _on_path(events: Events, path: CriticalPath) -> Iterator[tuple[Lever, str, float, Flags]]:
    """Lever, name, seconds on the path, and which nodes become faster."""
    nodes = events.nodes
    task = np.arange(nodes.n) < nodes.n_tasks

    def among(names: Sequence[str], kind: Callable[[str], str], wanted: str) -> Flags:
        return np.array([kind(name) == wanted for name in names], dtype=bool)

    kinds: dict[str, float] = {}
    for name, seconds in path.work.items():
        kinds[kind_of(name)] = kinds.get(kind_of(name), 0.0) + seconds
    for kind, seconds in kinds.items():
        members = among(nodes.operators, kind_of, kind)
        if members.sum() > 1 and not members.all():
            yield Lever.OPERATORS, kind, seconds, task & members[nodes.operator]
    for name, seconds in path.work.items():
        yield Lever.OPERATOR, name, seconds, task & among(nodes.operators, str, name)[nodes.operator]
    for name, seconds in path.devices.items():
        yield Lever.DEVICE, name, seconds, task & ~nodes.comm & among(nodes.devices, str, name)[nodes.device]
    for (source, target), seconds in path.links.items():
        here, there = (among(nodes.devices, str, name) for name in (source, target))
        yield Lever.LINK, f"{source} -> {target}", seconds, ~task & here[nodes.device] & there[nodes.target]
