"""Rules for a step of many microbatches: groups that flow through the network one behind the other.

A group has as many microbatches as memory holds, or fewer. Say that the path through the network visits every device in
several virtual-stage rounds (one layer a chunk, for example), and that a group of ``n`` microbatches takes ``n`` times
the work of one for the whole path. Its microbatches follow each other by a round's share of the work of one, and a
round takes as long as all of them together. So the group leaves each device just as it comes back to it. Then the
forward passes of one group and the backward passes of the group before it meet in the same small pattern again and
again, on every device at once, and the list scheduler leaves almost no gap. Only the first group's forward passes
(warm-up) and the last one's backward passes (drain) have the devices to themselves; they run as densely as they can.

On DeepSeek-V3's operators (one layer a chunk, 8 devices) this pattern keeps compute busy for at least 98.5 % of the
time between warm-up and drain (``tests/scheduling/list/test_microbatch_groups.py``), with communication at 92 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from planner.scheduling.classes import Classes, Floats
from planner.scheduling.list.keys import Keying, by_group
from planner.scheduling.list.look import Look
from planner.scheduling.list.rules import Scales, random_deferrable_offset

EXACT = ("forward_pace", "forward_depth", "backward_pace", "backward_depth", "backward_stride", "spacing")
"""Numbers that make the pattern repeat where they are 1."""

EXACT_KEPT = 0.7
"""How often such a number stays as it is."""

SIZES = ("groups", "first_more", "last_more", "carried")
SIZED_BY = (*SIZES, "rounding")
ROUNDED = 0.49
STEADY = 10.0
"""A stride so long that a group does not wait between virtual-stage rounds."""


@dataclass(frozen=True, slots=True)
class MicrobatchGroups:
    """Keys of the list scheduler for groups of microbatches. Lower keys go first.

    A *share* is the busiest resource's work for one microbatch, divided by the number of virtual-stage rounds.
    """

    groups: int
    first_more: int = 0  # microbatches that the first group has more than the others
    last_more: int = 0
    rounding: float = 0.0  # microbatches added to the ends of groups before they are rounded: which groups are larger
    fill_pace: float = 0.6  # x share: a later microbatch's forward in the first group
    fill_depth: float = 1.0  # x earliest start of the forward task, there
    turn: float = 1.0  # x forward: when the first group's backward is due
    forward_pace: float = 1.0  # x share, in the other groups
    forward_depth: float = 1.0  # x due time on a path that takes the group's work as a whole
    meeting: float = -0.5  # x microbatch: delay of a group's forward against the backward of the one before
    backward_pace: float = 1.0  # x share
    backward_depth: float = 1.0  # as forward_depth
    drain_pace: float = 0.7  # x share: a later microbatch's backward in the last group
    drain_depth: float = 1.0  # x earliest start after the first input gradient, there
    weight_offset: float = 0.5  # x microbatch: how long weight gradients wait for idle time
    forward_stride: float = STEADY  # x share: delay from device to device in a round, as far as it has time
    backward_stride: float = STEADY  # the same
    spacing: float = 1.0  # x a group's work: distance to the next group
    look_ahead: float = 0.6  # x duration of the task that would start instead
    deferrable_offset: float = 0.0  # x microbatch: further wait of weight gradients that release no memory
    given: tuple[int, ...] = ()  # microbatches of each group, instead of the first four numbers
    comm_first: bool = False  # see ``kernel``
    carried: int = 0  # microbatches of each group that go back with the next group

    @property
    def look(self) -> Look:
        """What the list scheduler waits for."""
        return Look(self.look_ahead, self.comm_first)

    @property
    def reserve(self) -> bool:
        """Memory is always granted in the order of the keys."""
        return True

    def sizes(self, microbatches: int) -> list[int]:
        """Microbatches of each group: as given, or as even as can be but for the first and the last."""
        if self.given:
            return list(self.given)
        groups = max(1, min(self.groups, microbatches))
        first, last = (
            min(more, microbatches // groups) if groups > 1 else 0 for more in (self.first_more, self.last_more)
        )
        base = (microbatches - first - last) / groups
        ends = [round(first + base * (g + 1) + self.rounding) for g in range(groups - 1)]
        return [int(n) for n in np.diff([0, *ends, microbatches]) if n]

    def sizes_back(self, microbatches: int) -> list[int]:
        """Microbatches of each group on the way back: the last of each group wait and go back with the next one."""
        sizes = self.sizes(microbatches)
        waiting = min(self.carried, sizes[0] - 1) if len(sizes) > 1 else 0
        return [sizes[0] - waiting, *sizes[1:-1], sizes[-1] + waiting] if waiting else sizes

    def keys(self, keying: Keying, scales: Scales) -> Floats:
        """Keys shaped (classes, largest count of microbatches), in seconds."""
        keys: Floats = by_group(
            keying,
            np.array(self.sizes(keying.microbatches), dtype=float),
            np.array(self.sizes_back(keying.microbatches), dtype=float),
            scales.microbatch,
            scales.stage_rounds,
            scales.forward_share,
            self.fill_pace,
            self.fill_depth,
            self.turn,
            self.forward_pace,
            self.forward_depth,
            self.meeting,
            self.backward_pace,
            self.backward_depth,
            self.drain_pace,
            self.drain_depth,
            self.weight_offset,
            self.forward_stride,
            self.backward_stride,
            self.spacing,
            self.deferrable_offset,
        )
        return keys

    def nearby(self, rng: np.random.Generator, width: float = 0.15) -> MicrobatchGroups:
        """A rule with one to three numbers changed a little; those of ``EXACT`` change rarely."""
        changed: dict[str, Any] = {}
        fixed = {
            "given",
            "comm_first",
            *(SIZED_BY if self.given else ()),
            *(() if self.deferrable_offset else ("deferrable_offset",)),
        }
        names = [f.name for f in fields(MicrobatchGroups) if f.name not in fixed]
        for name in rng.choice(names, size=int(rng.integers(1, 4)), replace=False):
            value = getattr(self, str(name))
            if name in SIZES:
                changed[str(name)] = max(1 if name == "groups" else 0, int(value) + int(rng.integers(-1, 2)))
            elif name in EXACT and rng.random() < EXACT_KEPT:
                changed[str(name)] = 1.0 if rng.random() < 0.3 else value
            elif name == "rounding":
                changed[str(name)] = float(np.clip(value + rng.normal() * width, -ROUNDED, ROUNDED))
            elif name == "meeting":
                changed[str(name)] = value + float(rng.normal()) * width * 4
            else:
                changed[str(name)] = value * float(np.exp(rng.normal() * width))
        return replace(self, **changed)


def flows(classes: Classes, scales: Scales) -> bool:
    """Whether there are groups: training, with more microbatches than memory holds at a time."""
    return classes.problem.training and scales.groups > 1


def known_groups(scales: Scales) -> tuple[MicrobatchGroups, ...]:
    """Rules with groups as large as memory allows, and with smaller ones that leave some memory free."""
    sizes = sorted({round(scales.groups / full) for full in (1.0, 0.8, 0.73)})
    return tuple(
        replace(known, groups=groups)
        for groups in sizes
        for known in (
            MicrobatchGroups(1, look_ahead=0.8),
            MicrobatchGroups(1, look_ahead=0.6),
            MicrobatchGroups(
                1, meeting=0.5, forward_stride=1.0, backward_stride=1.0, weight_offset=0.25, drain_pace=0.8
            ),
        )
    )


def random_groups(rng: np.random.Generator, scales: Scales) -> MicrobatchGroups:
    """A rule drawn at random from the ranges of good ones; its pattern still repeats."""
    return MicrobatchGroups(
        groups=math.ceil(scales.fills * rng.uniform(0.9, 1.4)),
        first_more=int(rng.choice([0, 0, 1, 2, 3])),
        last_more=int(rng.choice([0, 0, 1, 2, 3])),
        rounding=float(rng.choice([0.0, rng.uniform(-ROUNDED, ROUNDED)])),
        fill_pace=float(rng.uniform(0.25, 1.0)),
        turn=float(rng.uniform(0.85, 1.15)),
        meeting=float(rng.uniform(-1.2, 1.2)),
        forward_stride=float(rng.choice([0.25, 0.5, 1.0, 1.0, STEADY])),
        backward_stride=float(rng.choice([1.0, 1.0, STEADY])),
        drain_pace=float(rng.uniform(0.4, 1.0)),
        weight_offset=float(rng.choice([0.15, 0.25, 0.5, 0.8])),
        look_ahead=float(rng.choice([0.4, 0.6, 0.6, 0.8])),
        deferrable_offset=random_deferrable_offset(rng) if scales.may_defer else 0.0,
        comm_first=bool(rng.random() < 0.5),
        carried=int(rng.choice([0, 0, 1, 2, 3])),
    )
