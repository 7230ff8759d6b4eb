"""A plan, the result of the program. ``rows`` has its parts, ``text`` writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from planner.common.packed import packed
from planner.common.whole import write_whole
from planner.plan import text
from planner.plan.compact import Names
from planner.plan.rows import (
    BaselineFigures,
    PlacedOperator,
    PlannedExchange,
    PlannedStepTask,
    PlannedTask,
    PlannedTransfer,
    PlanRepetition,
    PlanWindow,
    Source,
    Throughput,
    Unit,
    Unrestricted,
)
from planner.timetable.figures import DeviceFigures

__all__ = [
    "FIGURES",
    "SCHEMA",
    "BaselineFigures",
    "DeviceFigures",
    "Figure",
    "FigureKind",
    "PlacedOperator",
    "Plan",
    "PlanRepetition",
    "PlanWindow",
    "PlannedExchange",
    "PlannedStepTask",
    "PlannedTask",
    "PlannedTransfer",
    "Source",
    "Throughput",
    "Unit",
    "Unrestricted",
    "plan_to_json",
]

SCHEMA = "planner/plan@1"


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure that an objective may have, its keys in ``plan.json``, and their meanings for the JSON Schema."""

    title: str  # in reports, before the value
    unit: Unit
    meaning: str  # in reports, after the value
    bound: str
    bound_meaning: str
    value: str | None = None  # None: it follows from the rest of the plan, see ``follows``
    value_meaning: str = ""
    gap: str | None = None
    follows: Callable[[Plan], float] | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """The value of an objective other than the makespan, and a lower bound of it, where known."""

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
        """The figure with its value from the rest of the plan, where it follows from that."""
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
    window: PlanWindow | None = None  # None: none is known
    figures: tuple[Figure, ...] = ()  # of the objective, where it is not the makespan alone
    repeated: PlanRepetition | None = None  # None: tasks and transfers are all there are
    step_tasks: tuple[PlannedStepTask, ...] = ()  # once a step and copy; in the file after the tasks of microbatches
    exchanges: tuple[PlannedExchange, ...] = ()  # gradients between copies; in the file after the other transfers
    unrestricted: Unrestricted | None = None  # None: the plan is not one of a runtime
    throughput: Throughput | None = None  # None: the graph does not say how many tokens a microbatch has

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
    def names(self) -> Names:
        """The order of its devices and operators."""
        return Names((device.name for device in self.devices), (placed.operator for placed in self.placement))

    def write(self, path: Path | str, *, compact: bool = False) -> None:
        """Write ``plan.json``, whole or not at all; with gzip where the name ends in ``.gz``.

        ``compact``: tasks and transfers in the compact form, which ``read_plan`` reads as the same plan. Raises
        ``OSError`` where the file cannot be written.
        """
        write_whole(path, packed(path, plan_to_json(self, compact=compact)))

    @property
    def listed_microbatches(self) -> int:
        """The microbatches of ``tasks`` and ``transfers``: all, unless a part of the plan is repeated."""
        return self.microbatches - (0 if self.repeated is None else self.repeated.more)

    @property
    def copies(self) -> int:
        """Copies of every operator in this plan."""
        return 1 + max((p.copy for p in self.placement), default=0)


def plan_to_json(plan: Plan, *, compact: bool = False) -> str:
    """The content of ``plan.json``: the same text for the same plan, one row (``compact``: one class of them) a line.

    Raises ``ValueError`` where a number is not finite.
    """
    return text.document(
        {
            "schema": text.compact(SCHEMA),
            "planner_version": text.compact(plan.planner_version),
            "origin": text.compact(plan.origin),
            "graph": text.compact(text.source_row(plan.graph)),
            "cluster": text.compact(text.source_row(plan.cluster)),
            "options": text.compact(dict(plan.options)),
            "microbatches": text.compact(plan.microbatches),
            "objective": text.compact(plan.objective),
            "status": text.compact(plan.status),
            "makespan": text.compact(float(plan.makespan)),
            "lower_bound": text.compact(text.seconds(plan.lower_bound)),
            "placement_lower_bound": text.compact(text.seconds(plan.placement_lower_bound)),
            "gap": text.compact(text.seconds(plan.gap)),
            **{key: text.compact(text.amount(value, unit)) for key, value, unit in plan.figure_fields()},
            "bubble_ratio": text.compact(float(plan.bubble_ratio)),
            "bubble_ratio_all": text.compact(float(plan.bubble_ratio_all)),
            **({} if plan.throughput is None else {"throughput": text.compact(text.throughput_row(plan.throughput))}),
            "window": text.compact(text.window_row(plan.window)),
            **({} if plan.repeated is None else {"repeated": text.compact(text.repetition_row(plan.repeated))}),
            **({} if plan.unrestricted is None else {"unrestricted": text.compact(asdict(plan.unrestricted))}),
            "solve_seconds": text.compact(float(plan.solve_seconds)),
            "placement": text.rows(text.placed_row(placed) for placed in plan.placement),
            "tasks": (
                text.task_classes(plan.tasks, plan.step_tasks, plan.names)
                if compact
                else text.task_rows(plan.tasks, plan.step_tasks)
            ),
            "transfers": (
                text.transfer_classes(plan.transfers, plan.exchanges, plan.names)
                if compact
                else text.transfer_rows(plan.transfers, plan.exchanges)
            ),
            "devices": text.rows(text.device_row(device) for device in plan.devices),
            "baselines": text.rows(text.baseline_row(baseline) for baseline in plan.baselines),
            "notes": text.rows(plan.notes),
        }
    )


def _peak_memory(plan: Plan) -> float:
    return max((device.peak_memory for device in plan.devices), default=0.0)


def _devices_used(plan: Plan) -> int:
    return len({task.device for task in plan.tasks} | {task.device for task in plan.step_tasks})


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
"""By key, in the order of ``plan.json``. Another needs an entry here and in ``planner/verification/sought.py``."""
