"""Figures that follow from the file but are not in it: throughput, span bubble, sets of parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import chain

from planner.plan.plan import BaselineFigures, DeviceFigures, Plan, PlannedStepTask, PlannedTask
from planner.problem import BASE
from planner.report.step import WholeStep, whole_step


class PlanFacts:
    """A plan with the figures that its report needs besides the fields."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @property
    def tasks(self) -> Iterator[PlannedTask | PlannedStepTask]:
        """The tasks of microbatches, then those of the step."""
        return chain(self.plan.tasks, self.plan.step_tasks)

    @cached_property
    def working(self) -> tuple[DeviceFigures, ...]:
        """The devices that run a task."""
        used = {task.device for task in self.tasks}
        return tuple(device for device in self.plan.devices if device.name in used)

    @cached_property
    def span_bubble_ratio(self) -> float:
        """Sum of span bubbles over (devices x makespan), over the devices that run a task."""
        if not self.working or self.plan.makespan == 0:
            return 0.0
        return sum(d.span_bubble for d in self.working) / (len(self.working) * self.plan.makespan)

    @cached_property
    def throughput(self) -> float | None:
        """Microbatches a second."""
        return self.plan.microbatches / self.plan.makespan if self.plan.makespan > 0 else None

    @cached_property
    def degrees(self) -> dict[str, int]:
        """Degrees of parallelism by their short names; none where the graph does not say what it was made from."""
        origin = self.plan.graph.origin
        if origin is None:
            return {}
        stages = origin.pipeline or len(self.plan.devices)
        return {"tp": origin.tensor, "cp": origin.context, "ep": origin.expert, "dp": origin.data, "pp": stages}

    @property
    def strategy(self) -> str:
        """``tp8 cp1 ep1 dp1 pp8``; empty where it is not known."""
        return " ".join(f"{name}{degree}" for name, degree in self.degrees.items())

    @cached_property
    def peak_memory(self) -> float:
        """Of the fullest device, bytes."""
        return max((d.peak_memory for d in self.plan.devices), default=0.0)

    @cached_property
    def over_cap(self) -> tuple[DeviceFigures, ...]:
        """Devices whose peak exceeds their cap (a baseline's may; the verifier has the last word on rounding)."""
        return tuple(d for d in self.plan.devices if d.memory is not None and d.peak_memory > d.memory * (1 + 4e-12))

    @cached_property
    def parameter_sets(self) -> float:
        """Devices that hold an operator's parameters, on average over the operators.

        Two copies on one device share their parameters, so this lies between 1 and the number of copies.
        """
        hosts: dict[str, set[str]] = {}
        for placed in self.plan.placement:
            hosts.setdefault(placed.operator, set()).add(placed.device)
        return sum(map(len, hosts.values())) / len(hosts) if hosts else 1.0

    @cached_property
    def uses_comm(self) -> frozenset[str]:
        """Devices whose communication stream runs a task."""
        return frozenset(task.device for task in self.tasks if task.stream == "comm")

    @cached_property
    def operators_of(self) -> dict[str, tuple[str, ...]]:
        """The operators with a copy on each device, in the plan's order, each once."""
        found: dict[str, dict[str, None]] = {device.name: {} for device in self.plan.devices}
        for placed in self.plan.placement:
            found.setdefault(placed.device, {})[placed.operator] = None
        return {device: tuple(names) for device, names in found.items()}

    @cached_property
    def whole_step(self) -> WholeStep | None:
        """What comes once a step; None where there are microbatches only."""
        return whole_step(self.plan)

    @cached_property
    def variants(self) -> dict[str, int]:
        """Copies of operators in each variant, base left out."""
        return dict(sorted(Counter(p.variant for p in self.plan.placement if p.variant != BASE).items()))

    def faster_than(self, baseline: BaselineFigures) -> bool | None:
        """Whether the plan's makespan is smaller by more than rounding; None where the baseline has none."""
        if baseline.makespan is None:
            return None
        return self.plan.makespan < baseline.makespan * (1 - 1e-9)
