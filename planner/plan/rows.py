"""The parts of a plan: rows of plain data in seconds and bytes, with names instead of indices.

A plan may have 100,000 tasks and transfers. They are tuples, since frozen dataclasses take three times as long to
make.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from planner.problem.graph import BASE
from planner.problem.made_from import MadeFrom


@dataclass(frozen=True, slots=True)
class PlacedOperator:
    """Copy ``copy`` of ``operator`` runs on ``device``, as ``variant``."""

    operator: str
    copy: int
    device: str
    variant: str = BASE


class PlannedTask(NamedTuple):
    """One pass (``F``, ``I`` or ``W``) of one operator over one microbatch."""

    operator: str
    pass_: str
    microbatch: int
    copy: int
    device: str
    stream: str
    start: float
    end: float


class PlannedTransfer(NamedTuple):
    """The output of ``operator`` (pass ``F``) or its gradient on the way back (pass ``I``)."""

    operator: str
    pass_: str
    microbatch: int
    copy: int
    source: str  # "from" in the file
    target: str  # "to" in the file
    start: float
    end: float


class PlannedStepTask(NamedTuple):
    """A task at the end of the step (``R``, ``U`` or ``G``) of one copy of an operator."""

    operator: str
    pass_: str
    copy: int
    device: str
    stream: str
    start: float
    end: float


class PlannedExchange(NamedTuple):
    """The gradient of the weights of one copy of ``operator`` on its way to another copy (pass ``R`` in the file)."""

    operator: str
    copy: int  # that sends it
    source: str  # "from" in the file
    target: str  # "to" in the file
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class BaselineFigures:
    """One row of the table of baselines; ``reason`` alone where the baseline does not apply."""

    name: str
    makespan: float | None = None
    bubble_ratio: float | None = None
    span_bubble_ratio: float | None = None
    peak_memory: float | None = None
    copies: int | None = None
    fits: bool | None = None
    reason: str | None = None
    devices: int | None = None  # that run a task
    variant: str | None = None  # of all operators that have it; None: there is no choice


@dataclass(frozen=True, slots=True)
class PlanWindow:
    """The steady-state pattern: a part of the schedule that can be repeated, each time for more microbatches."""

    start: float  # seconds
    length: float  # seconds
    microbatches: int  # that one repetition adds, all copies together


@dataclass(frozen=True, slots=True)
class PlanRepetition:
    """A part of the schedule that runs more often than the plan lists it: from ``start``, ``length`` seconds long.

    ``tasks`` and ``transfers`` show it once. What starts before it runs as listed. What starts in it runs ``times``
    times more, each time ``length`` later and for microbatches of its own. What starts after it is ``times`` lengths
    later.
    """

    times: int
    start: float  # seconds
    length: float  # seconds
    microbatches: int  # that one repetition adds, all copies together

    @property
    def more(self) -> int:
        """The microbatches that the plan does not list."""
        return self.times * self.microbatches


@dataclass(frozen=True, slots=True)
class Unrestricted:
    """What a plan that no runtime limits reaches on the same inputs: what a better runtime would be worth."""

    makespan: float  # seconds, of the shortest schedule found
    lower_bound: float  # seconds, proven


@dataclass(frozen=True, slots=True)
class Source:
    """Which file the plan was made from: the name in it and the SHA-256 of its bytes.

    ``mode`` and ``origin`` are those of a graph that says what it was made from, and None for all other files.
    """

    name: str
    sha256: str
    mode: str | None = None  # training | inference
    origin: MadeFrom | None = None


@dataclass(frozen=True, slots=True)
class Throughput:
    """A step in tokens, over all GPUs for which the devices of the cluster stand; see ``plan/throughput.py``."""

    gpus: int
    sequences: int  # of a step: the global batch
    tokens: int  # of a step
    tokens_per_second: float
    tokens_per_second_per_gpu: float
    peak_flops: float | None = None  # of all GPUs together, FLOP/s; None: a device type does not state it
    mfu: float | None = None  # model FLOP utilization; None: without peak_flops, or without flops_per_token


class Unit(StrEnum):
    """What a figure counts."""

    RATIO = "ratio"
    SECONDS = "seconds"
    BYTES = "bytes"
    DEVICES = "devices"
