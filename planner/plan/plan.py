"""A plan: what leaves the program. Plain data, seconds and bytes, names instead of indices.

Of tasks and transfers a plan may have 100,000: they are tuples, which are made in a third of the time that
frozen dataclasses take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
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


class Unit(StrEnum):
    """What a figure counts."""

    RATIO = "ratio"
    SECONDS = "seconds"
    BYTES = "bytes"
    DEVICES = "devices"


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure that an objective may have, its keys in ``plan.json``, and what they say, for the JSON Schema."""

    title: str  # in reports, before the value
    unit: Unit
    meaning: str  # in reports, after the value
    bound: str
    bound_meaning: str
    value: str | None = None  # None: the rest of the plan has it, see ``follows``
    value_meaning: str = ""
    gap: str | None = None
    follows: Callable[[Plan], float] | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """What a plan reaches of an objective other than the makespan, and what no plan goes below, where known."""

    key: str  # of ``FIGURES``
    value: float | None
    bound: float | None

    @property
    def kind(self) -> FigureKind:
        """Unit, keys in the file and words."""
        return FIGURES[self.key]

    @property
    def unit(self) -> Unit:
        """Of value and bound."""
        return self.kind.unit

    @property
    def gap(self) -> float | None:
        """(value - bound) / value, None where they are not known."""
        if self.value is None or self.bound is None:
            return None
        return 0.0 if self.value == 0 else (self.value - self.bound) / self.value

    def of(self, plan: Plan) -> Figure:
        """With the value that follows from the rest of the plan, where it does."""
        follows = self.kind.follows
        return self if follows is None else replace(self, value=follows(plan))


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
    figures: tuple[Figure, ...] = ()  # of the objective, where it is not the makespan alone

    def figure(self, key: str) -> Figure | None:
        """The figure of that key; None where the plan has none."""
        return next((figure for figure in self.figures if figure.key == key), None)

    def figure_fields(self) -> Iterator[tuple[str, float | None, Unit]]:
        """The keys of all kinds of figures in ``plan.json``, with value (None: there is no such figure) and unit."""
        for key, kind in FIGURES.items():
            figure = self.figure(key) or Figure(key, None, None)
            if kind.value is not None:
                yield kind.value, figure.value, kind.unit
            yield kind.bound, figure.bound, kind.unit
            if kind.gap is not None:
                yield kind.gap, figure.gap, Unit.RATIO

    @property
    def copies(self) -> int:
        """Copies of every operator in this plan."""
        return 1 + max((p.copy for p in self.placement), default=0)


def _peak_memory(plan: Plan) -> float:
    return max((device.peak_memory for device in plan.devices), default=0.0)


def _devices_used(plan: Plan) -> int:
    return len({task.device for task in plan.tasks})


FIGURES: Mapping[str, FigureKind] = {
    "memory": FigureKind(
        "least memory",
        Unit.BYTES,
        "on the fullest device",
        bound="memory_lower_bound",
        bound_meaning="proven for the fullest device, bytes; null: not the objective",
        follows=_peak_memory,
    ),
    "period": FigureKind(
        "period",
        Unit.SECONDS,
        "a microbatch of the busiest stream",
        value="period",
        value_meaning="seconds a microbatch of the busiest stream; null: not asked for",
        bound="period_lower_bound",
        bound_meaning="proven for every placement, seconds",
        gap="period_gap",
    ),
    "devices": FigureKind(
        "fewest devices",
        Unit.DEVICES,
        "that run a task",
        bound="devices_lower_bound",
        bound_meaning="proven to be needed for the limit given; null: not the objective",
        follows=_devices_used,
    ),
}
"""By key, in the order of ``plan.json``. Another one needs an entry here and one in ``planner/verify/sought.py``."""
