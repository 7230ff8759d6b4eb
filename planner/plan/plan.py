"""A plan: what leaves the program. Plain data, seconds and bytes, names instead of indices.

Of tasks and transfers a plan may have 100,000: they are tuples, which are made in a third of the time that
frozen dataclasses take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from planner.timetable.figures import DeviceFigures as DeviceFigures  # a part of the plan

SCHEMA = "planner/plan@1"


@dataclass(frozen=True, slots=True)
class PlacedOperator:
    """Copy ``copy`` of ``operator`` runs on ``device``."""

    operator: str
    copy: int
    device: str


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


@dataclass(frozen=True, slots=True)
class PlanWindow:
    """A stretch of the schedule that may be run any number of times in a row, for as many more microbatches."""

    start: float  # seconds
    length: float  # seconds
    microbatches: int  # that pass in one window, all copies together


@dataclass(frozen=True, slots=True)
class Source:
    """Which file the plan was made from: the name in it and the SHA-256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule with its figures and bounds; see ``planner schema plan`` for the file format."""

    planner_version: str
    origin: str  # "solve" or "baseline:NAME"
    graph: Source
    cluster: Source
    options: Mapping[str, Any]
    microbatches: int
    objective: str
    status: str  # optimal | feasible | interrupted
    makespan: float
    lower_bound: float | None
    placement_lower_bound: float | None
    gap: float | None
    bubble_ratio: float
    bubble_ratio_all: float
    solve_seconds: float
    placement: tuple[PlacedOperator, ...]
    tasks: tuple[PlannedTask, ...]
    transfers: tuple[PlannedTransfer, ...]
    devices: tuple[DeviceFigures, ...]
    baselines: tuple[BaselineFigures, ...] = ()
    notes: tuple[str, ...] = field(default=())  # how it was found, what was merged, what bound holds
    window: PlanWindow | None = None  # None: there is none, or nobody has looked for one
    memory_lower_bound: float | None = None  # bytes on the fullest device, where memory is the objective
    period: float | None = None  # seconds a microbatch of the busiest stream or channel, where it was asked for
    period_lower_bound: float | None = None  # seconds a microbatch
    devices_lower_bound: int | None = None  # where as few devices as can be are the objective

    @property
    def period_gap(self) -> float | None:
        """(period - bound) / period, None where they are not known."""
        if self.period is None or self.period_lower_bound is None:
            return None
        return 0.0 if self.period == 0 else (self.period - self.period_lower_bound) / self.period

    @property
    def copies(self) -> int:
        """Copies of every operator in this plan."""
        return 1 + max((p.copy for p in self.placement), default=0)
