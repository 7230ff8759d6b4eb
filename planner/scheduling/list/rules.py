"""Priority rules for the list scheduler: a dozen numbers that shape a whole pipeline schedule.

A task's key grows with its microbatch and with its depth in the network. Microbatches come in groups: the forward
passes of a group overlap the backward passes of the group before. This keeps both streams busy if a step has few
microbatches (a fluid relaxation of the problem shows this shape).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np

from planner.scheduling.classes import Classes, Floats
from planner.scheduling.list.keys import Keying, by_place
from planner.scheduling.list.look import Look

FEW = 4
"""With up to so many microbatches rules also perturb the key of each class: there is no steady state to shape."""

FEW_GROUPS = 3
"""With up to so many microbatch groups, weight gradients that release no memory may be deferred."""

NO_DEVIATES = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Scales:
    """What the numbers of a rule are multiples of (seconds), and what the search over rules needs besides."""

    microbatch: float  # work of the busiest stream or channel for one microbatch
    step: float  # its work for all of them
    forward: float  # the longest forward path, up to its last task's start
    fills: float = 1.0  # how often the microbatches of a step fill the memory; 1 where all of them fit
    stage_rounds: int = 1  # virtual-stage rounds of the path through the network
    forward_share: float = 0.0  # share of forward passes in that work
    deferrable: bool = False  # whether memory is capped, and only some weight gradients release it

    @property
    def may_defer(self) -> bool:
        """Whether weight gradients may be deferred: with more than a few groups the steady state lacks them."""
        return self.deferrable and self.groups <= FEW_GROUPS

    @property
    def groups(self) -> int:
        """Microbatch groups, if each is as large as memory allows."""
        return math.ceil(self.fills - 1e-9)

    @staticmethod
    def of(classes: Classes) -> Scales:
        """The scales of a problem under a placement."""
        each = [[0.0] * classes.n_resources for _ in range(2)]  # of forward and of other passes
        work, others = (classes.seconds * classes.count).tolist(), (classes.pass_ > 0).tolist()
        for a in np.flatnonzero(~classes.once).tolist():
            for r in classes.resources[a]:
                each[others[a]][r] += work[a]
        load = np.array(each)
        busiest = int(load.sum(axis=0).argmax())
        step = float(load[:, busiest].sum()) or 1.0
        share = float(load[0, busiest]) / step
        forward = float(classes.head[classes.pass_ == 0].max()) or step
        microbatch, stage_rounds = step / max(1, sum(classes.counts)), int(classes.stage_round.max()) + 1
        return Scales(
            microbatch,
            step,
            forward,
            fills=_fills(classes, microbatch * share / stage_rounds),
            stage_rounds=stage_rounds,
            forward_share=share,
            deferrable=bool(
                np.isfinite(classes.available).any() and 0 < classes.deferrable.sum() < (classes.pass_ == 2).sum()
            ),
        )


def _fills(classes: Classes, apart: float) -> float:
    """How often the microbatches of a step fill the memory of the fullest device, if they pass it in groups.

    In the warm-up, the microbatches of a group follow each other by ``apart`` seconds (the forward work of a
    virtual-stage round). Memory that each holds for t seconds is there for at most t / apart + 1 of them, however many
    there are: what the head holds between its forward and its backward pass hardly limits a group.
    """
    holds, total = classes.holds, sum(classes.counts)
    if not holds:
        return 1.0
    alloc = np.array([hold.alloc for hold in holds])
    ends = (classes.head + classes.seconds).tolist()
    until = np.array([max((ends[a] for a in hold.releases), default=math.inf) for hold in holds])
    part = np.array(classes.counts)[classes.copy[alloc]] / total  # of the microbatches: those of its copy
    count = part[:, None] * np.arange(1, total + 1)  # held in a group of 1, 2, ...
    if apart > 0.0:
        count = np.minimum(count, (part * (until - classes.head[alloc]) / apart + 1.0)[:, None])
    held = np.zeros((classes.problem.n_devices, total))
    np.add.at(held, [hold.device for hold in holds], np.array([hold.size for hold in holds])[:, None] * count)
    room = classes.available[:, None]
    over = (held > room) & (held > 0.0)
    if not over.any():
        return 1.0
    n = int(over.any(axis=0).argmax())  # microbatches that fit; n + 1 are too many on these devices
    before = held[over[:, n], n - 1] if n else 0.0
    fraction = (room[over[:, n], 0] - before) / (held[over[:, n], n] - before)
    return float(total / max(n + fraction.min(), 1.0))


class Keyed(Protocol):
    """The interface of rules: keys and options of the list scheduler."""

    @property
    def look(self) -> Look:
        """What the list scheduler waits for (see ``kernel``)."""

    @property
    def reserve(self) -> bool:
        """Whether memory is granted in the order of the keys (see ``kernel``)."""

    def keys(self, keying: Keying, scales: Scales) -> Floats:
        """Keys shaped (classes, largest count of microbatches), in seconds."""

    def nearby(self, rng: np.random.Generator, width: float) -> Keyed:
        """A rule close to this one."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Keys of the list scheduler. Lower keys go first; all numbers are multiples of the ``Scales``."""

    groups: int = 1
    forward_pace: float = 0.12  # x microbatch: a later microbatch's forward
    forward_depth: float = 0.8  # x earliest start of the forward task
    backward_offset: float = 1.0  # x forward
    backward_pace: float = 0.24  # x microbatch
    backward_depth: float = 1.4  # x earliest start after the first input gradient
    group_forward: float = 0.4  # x step: the next group's forward
    group_backward: float = 0.5  # x step: the next group's backward
    weight_offset: float = 10.0  # x step: how long weight gradients wait for idle time
    look_ahead: float = 0.6  # x duration of the task that would start instead
    critical: float = 0.0  # x tail: tasks with a long tail come sooner
    jitter: float = 0.0  # x microbatch x a normal deviate of each class, for few microbatches
    jitter_seed: int = 0
    reserve: bool = False  # memory is granted in the order of the keys (see ``kernel``)
    later_forward_pace: float = 1.0  # x forward_pace, in all groups but the first
    later_forward_depth: float = 1.0  # x forward_depth, the same
    later_backward_pace: float = 1.0
    later_backward_depth: float = 1.0
    deferrable_offset: float = 0.0  # x microbatch: further wait of weight gradients that release no memory
    comm_first: bool = False  # whether look-ahead sees what follows communication that starts at the same instant

    @property
    def look(self) -> Look:
        """What the list scheduler waits for."""
        return Look(self.look_ahead, self.comm_first)

    def keys(self, keying: Keying, scales: Scales) -> Floats:
        """Keys shaped (classes, largest count of microbatches), in seconds."""
        deviates = NO_DEVIATES
        if self.jitter:
            deviates = np.random.default_rng(self.jitter_seed).normal(size=len(keying.copy))
        keys: Floats = by_place(
            keying,
            keying.microbatches / self.groups,
            scales.microbatch,
            scales.step,
            self.backward_offset * scales.forward,
            self.forward_pace,
            self.forward_depth,
            self.later_forward_pace,
            self.later_forward_depth,
            self.backward_pace,
            self.backward_depth,
            self.later_backward_pace,
            self.later_backward_depth,
            self.group_forward,
            self.group_backward,
            self.weight_offset,
            self.deferrable_offset,
            self.critical,
            self.jitter,
            deviates,
        )
        return keys

    def nearby(self, rng: np.random.Generator, width: float = 0.15) -> Rule:
        """A rule with one to three numbers changed a little."""
        fixed = ("groups", "reserve", "comm_first", "jitter_seed", *(() if self.jitter else ("jitter",)))
        names = [
            f.name
            for f in fields(Rule)
            if f.name not in fixed and (f.name != "deferrable_offset" or self.deferrable_offset)
        ]
        if self.jitter and rng.random() < 0.3:
            return replace(self, jitter_seed=int(rng.integers(1 << 30)))
        changed: dict[str, float] = {}
        for name in rng.choice(names, size=int(rng.integers(1, 4)), replace=False):
            value = float(getattr(self, name))
            value = value * float(np.exp(rng.normal() * width)) + float(rng.normal()) * width * 0.1
            changed[str(name)] = min(max(value, 0.0), 1.2) if name == "look_ahead" else value
        return replace(self, **changed)  # type: ignore[arg-type]


# columns: groups, forward pace and depth, backward offset, pace and depth, group forward and backward, weight offset,
# look-ahead
RULES: tuple[Rule, ...] = (
    # 1F1B: backward first, weight gradients if nothing else is ready
    Rule(1, 1.0, 0.0, -10.0, 1.0, 0.0, 0.0, 0.0, 20.0, 0.0),
    # the same by depth: the deepest task goes first
    Rule(1, 1.0, -1.0, -10.0, 1.0, -1.0, 0.0, 0.0, 20.0, 0.0),
    # GPipe: forward first, as far as memory allows
    Rule(1, 0.1, 0.1, 10.0, 0.1, 0.1, 0.0, 0.0, 20.0, 0.0),
    # weight gradients at once
    Rule(1, 1.0, 0.0, -10.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    # by earliest start, the microbatches following each other by the work of one
    Rule(1, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 10.0, 0.3),
    # the critical path first
    Rule(1, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, critical=1.0),
    # microbatch groups
    Rule(2),
    Rule(2, look_ahead=0.3),
    Rule(3, group_forward=0.3, group_backward=0.35),
    Rule(1, 0.12, 0.8, 1.0, 0.24, 1.4, 0.0, 0.0, 10.0, 0.6),
    Rule(4, group_forward=0.22, group_backward=0.26),
    # the same with memory granted in the order of the keys
    Rule(2, reserve=True),
    Rule(2, look_ahead=0.3, reserve=True, comm_first=True),
    Rule(3, group_forward=0.3, group_backward=0.35, reserve=True),
    Rule(1, 0.12, 0.8, 1.0, 0.24, 1.4, 0.0, 0.0, 10.0, 0.6, reserve=True),
)


def random_deferrable_offset(rng: np.random.Generator) -> float:
    """A random ``deferrable_offset``, in microbatches; 0 half of the time."""
    return float(10.0 ** rng.uniform(0.0, 1.3)) if rng.random() < 0.5 else 0.0


def random_rule(rng: np.random.Generator, microbatches: int, natural: int = 1, deferrable: bool = False) -> Rule:
    """A rule drawn at random from the ranges of good ones.

    ``natural``: the number of groups that memory suggests. ``deferrable``: weight gradients may be deferred.
    """
    few = microbatches <= FEW

    def scale(low: float, high: float) -> float:
        return float(10.0 ** rng.uniform(math.log10(low), math.log10(high)))

    groups = int(rng.choice([1, 1, 2, 2, 2, 3, 4, *([natural] * 7 if natural > 3 else [])]))
    return Rule(
        groups=groups,
        forward_pace=scale(0.03, 2.0),
        forward_depth=scale(0.1, 2.0) * float(rng.choice([1.0, 1.0, 1.0, -1.0])),
        backward_offset=float(rng.uniform(-0.5, 1.5)),
        backward_pace=scale(0.03, 2.0),
        backward_depth=scale(0.3, 3.0) * float(rng.choice([1.0, 1.0, 1.0, -1.0])),
        group_forward=float(rng.uniform(0.3, 1.2)) / groups,
        group_backward=float(rng.uniform(0.3, 1.6)) / groups,
        weight_offset=float(rng.choice([0.0, 0.1, 0.3, 10.0])),
        look_ahead=float(rng.choice([0.0, 0.2, 0.4, 0.6, 0.8])),
        critical=float(rng.choice([0.0, 0.0, 0.5, 1.0])),
        jitter=float(rng.choice([0.0, 0.0, 0.1, 0.5])) if few else 0.0,
        jitter_seed=int(rng.integers(1 << 30)),
        reserve=bool(rng.random() < 0.7),
        deferrable_offset=random_deferrable_offset(rng) if deferrable else 0.0,
        comm_first=bool(rng.random() < 0.5),
    )
