"""The tasks and transfers of a plan as columns of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from planner.plan.plan import Plan, PlannedExchange, PlannedStepTask, PlannedTask, PlannedTransfer
from planner.problem import Problem
from planner.problem.graph import PASS_ORDER, STEP_ORDER

INSTANT = 1e-9
"""Instants that differ by less than this part of the makespan are one instant."""

NONE = -1
"""The microbatch of what happens once a step."""

R, U, G = (len(PASS_ORDER) + k for k in range(len(STEP_ORDER)))
"""Their numbers as passes; F, I and W are 0, 1 and 2. An exchange of gradients has that of R."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Nodes:
    """The tasks of a plan, then its transfers, both in its order; one entry a node in every column.

    The tasks are those of microbatches, then those of the step (R, U, G). The transfers are those of microbatches,
    then the gradients that copies exchange; ``copy`` is the one that sends.

    ``operator`` and the devices are places in the two lists of names: those of graph and cluster where they are
    known, else those of the plan. ``device`` is where a task runs and where a transfer comes from, ``target`` where
    it goes (of a task: its own device). ``comm``: on the communication stream; of transfers always False.
    """

    operators: tuple[str, ...]
    devices: tuple[str, ...]
    n_tasks: int
    operator: Ints
    pass_: Ints  # 0, 1, 2: F, I, W; then R, U, G
    microbatch: Ints  # ``NONE``: once a step
    copy: Ints
    device: Ints
    target: Ints
    comm: Flags
    start: Floats
    end: Floats

    @property
    def n(self) -> int:
        """Tasks and transfers together."""
        return len(self.start)

    @cached_property
    def once(self) -> Flags:
        """What happens once a step: step tasks, and gradients that copies exchange."""
        once: Flags = self.microbatch == NONE
        return once

    @cached_property
    def of_step(self) -> Ints:
        """The step tasks."""
        return np.flatnonzero(self.once[: self.n_tasks])

    @cached_property
    def exchanges(self) -> Ints:
        """The gradients that copies exchange."""
        return self.n_tasks + np.flatnonzero(self.once[self.n_tasks :])

    @cached_property
    def tolerance(self) -> float:
        """Seconds by which two instants may differ and still be one."""
        return INSTANT * float(self.end.max(initial=0.0))

    @staticmethod
    def of(plan: Plan, problem: Problem | None) -> Nodes:
        """The columns of a plan. ``problem``, where it is given, is one that the plan is valid for."""
        tasks: list[PlannedTask | PlannedStepTask] = [*plan.tasks, *plan.step_tasks]
        transfers: list[PlannedTransfer | PlannedExchange] = [*plan.transfers, *plan.exchanges]
        if problem is not None:
            operators = {o.name: i for i, o in enumerate(problem.operators)}
            devices = {d.name: k for k, d in enumerate(problem.cluster.devices)}
        else:
            devices = _numbered([d.name for d in plan.devices], [t.device for t in tasks])
            devices = _numbered(devices, [name for t in transfers for name in (t.source, t.target)])
            operators = _numbered([p.operator for p in plan.placement], [t.operator for t in tasks])
            operators = _numbered(operators, [t.operator for t in transfers])
        pass_of = {p.value: k for k, p in enumerate((*PASS_ORDER, *STEP_ORDER))}
        both: list[PlannedTask | PlannedStepTask | PlannedTransfer | PlannedExchange] = [*tasks, *transfers]
        passes = [pass_of[t.pass_] for t in tasks] + [pass_of[t.pass_] for t in plan.transfers]
        microbatches = [t.microbatch for t in plan.tasks] + [NONE] * len(plan.step_tasks)
        microbatches += [t.microbatch for t in plan.transfers] + [NONE] * len(plan.exchanges)
        source = [devices[t.device] for t in tasks] + [devices[t.source] for t in transfers]
        target = source[: len(tasks)] + [devices[t.target] for t in transfers]
        return Nodes(
            operators=tuple(operators),
            devices=tuple(devices),
            n_tasks=len(tasks),
            operator=np.array([operators[t.operator] for t in both], dtype=np.int64),
            pass_=np.array(passes + [R] * len(plan.exchanges), dtype=np.int64),
            microbatch=np.array(microbatches, dtype=np.int64),
            copy=np.array([t.copy for t in both], dtype=np.int64),
            device=np.array(source, dtype=np.int64),
            target=np.array(target, dtype=np.int64),
            comm=np.array([t.stream == "comm" for t in tasks] + [False] * len(transfers), dtype=bool),
            start=np.array([t.start for t in both], dtype=np.float64),
            end=np.array([t.end for t in both], dtype=np.float64),
        )


def _numbered(known: dict[str, int] | list[str], more: list[str]) -> dict[str, int]:
    """Names in order of appearance, each with its place."""
    return {name: place for place, name in enumerate(dict.fromkeys([*known, *more]))}
