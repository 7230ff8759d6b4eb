"""Graphs of whole stages: one operator a stage, for fast replays of an order that runs stage passes as wholes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from planner.placement.kinds import Versions
from planner.problem import PASS_ORDER, STEP_ORDER, ByDevice, Graph, Operator, Problem
from planner.runtimes.runtime import Runtime
from planner.runtimes.whole_passes import exposed

Floats = npt.NDArray[np.float64]


class StageCosts:
    """The costs of units (what stays together), from which those of any stages follow.

    Collectives that the runtime hides are left out: where they are longer than what hides them, a stage takes longer
    than here.
    """

    def __init__(self, problem: Problem, runtime: Runtime, units: Sequence[Sequence[int]]) -> None:
        self.whole, self.runtime, self.units = problem, runtime, units
        self.unit_of = np.zeros(problem.n_operators, dtype=np.int64)
        for u, unit in enumerate(units):
            self.unit_of[list(unit)] = u
        self.counted = ~problem.on_comm | exposed(problem, runtime)
        self.names = [device.name for device in problem.cluster.devices]
        self.step = self.by_unit(problem.step_duration)
        self.has_step = self.by_unit(problem.has_step.astype(float)) > 0
        comm = np.where(np.isfinite(problem.relaxed.duration), problem.relaxed.duration, 0.0).sum(axis=1)
        self.comm = self.by_unit(np.where(problem.on_comm[:, None], comm, 0.0))
        self.known: dict[Versions, tuple[Floats, Floats, Floats, Floats]] = {}

    def by_unit(self, table: Floats) -> Floats:
        """The sums of a table's rows over the operators of each unit."""
        found = np.zeros((len(self.units), *table.shape[1:]))
        np.add.at(found, self.unit_of, table)
        return found

    def problem_of(self, versions: Versions) -> Problem:
        """The problem with all operators in these versions."""
        return self.whole.default if versions == self.whole.first_versions else self.whole.chosen(versions)

    def of(self, versions: Versions) -> tuple[Floats, Floats, Floats, Floats]:
        """By unit: pass times (units, 3, devices; inf where it cannot run), parameters, activation, what is held."""
        if versions not in self.known:
            own = self.problem_of(versions)
            seconds = np.where(self.counted[:, None, None], own.duration, 0.0)
            seconds = np.where(own.runs_on[:, None, :], seconds, np.inf)
            self.known[versions] = (
                self.by_unit(seconds),
                self.by_unit(own.parameters),
                self.by_unit(own.activation),
                self.by_unit(own.held),
            )
        return self.known[versions]

    def sums(
        self, stages: Sequence[Sequence[int]], variant: Versions, first: Sequence[int]
    ) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats, npt.NDArray[np.int64]]:
        """The costs of stages, as ``problem`` has them: as ``of``, step tasks, which there are; each unit's stage."""
        base, other = self.of(self.whole.first_versions), self.of(variant)
        stage_of = np.zeros(len(self.units), dtype=np.int64)
        changed = np.zeros(len(self.units), dtype=bool)
        for s, (stage, n) in enumerate(zip(stages, first, strict=True)):
            stage_of[list(stage)] = s
            changed[list(stage[:n])] = True
        mixed = [np.where(changed.reshape((-1,) + (1,) * (a.ndim - 1)), b, a) for a, b in zip(base, other, strict=True)]
        sums = []
        for costs in (*mixed, self.step, self.has_step.astype(float)):
            table = np.zeros((len(stages), *costs.shape[1:]))
            np.add.at(table, stage_of, costs)
            sums.append(table)
        return (*sums, stage_of)  # type: ignore[return-value]

    @cached_property
    def sent(self) -> Floats | None:
        """Bytes that a cut after each unit sends on, where every unit is read by itself and the next alone, and is.

        None for other graphs.
        """
        found, read = np.zeros(len(self.units)), np.zeros(len(self.units), dtype=bool)
        for i, readers in enumerate(self.whole.consumers):
            u = int(self.unit_of[i])
            away = {int(self.unit_of[j]) for j in readers} - {u}
            if away - {u + 1}:
                return None
            if away:
                found[u] += float(self.whole.output[i])
                read[u] = True
        return found if read[:-1].all() else None

    def problem(self, stages: Sequence[Sequence[int]], variant: Versions, first: Sequence[int]) -> Problem | None:
        """The problem of stages of units: the first ``first[s]`` units of stage s in ``variant``, others in base.

        None where no device may run a whole stage.
        """
        found = self.sums(stages, variant, first)
        seconds, parameters, activation, held, stage_of = (*found[:4], found[6])
        if not np.all(np.any(np.isfinite(seconds[:, 0]), axis=1)):
            return None
        has_w = [bool(row[np.isfinite(row)].any()) for row in seconds[:, 2]]
        step, has_step = found[4], found[5]
        reads, output = self._read(stage_of[self.unit_of], len(stages))
        operators = tuple(
            Operator(
                f"{s}",
                {
                    which: self._times(seconds[s, p])
                    for p, which in enumerate(PASS_ORDER)
                    if p == 0 or (self.whole.training and (p == 1 or has_w[s]))
                },
                tuple(map(str, reads[s])),
                parameters=float(parameters[s]),
                activation=float(activation[s]),
                held_for_weight_grad=float(min(held[s], activation[s])),
                output=output[s],
                step={which: self._times(step[s, k]) for k, which in enumerate(STEP_ORDER) if has_step[s, k]},
            )
            for s in range(len(stages))
        )
        whole = self.whole
        graph = Graph(
            whole.graph.name,
            whole.graph.mode,
            whole.microbatches,
            operators,
            clip_gradients=whole.graph.clip_gradients,
        )
        return Problem(graph, whole.cluster, whole.microbatches, copies=whole.copies, memory_cap=whole.memory_cap)

    def _times(self, row: Floats) -> ByDevice:
        may = np.flatnonzero(np.isfinite(row)).tolist()
        return ByDevice({self.names[d]: float(row[d]) for d in may})

    def _read(self, stage_of: npt.NDArray[np.int64], count: int) -> tuple[list[list[int]], list[float]]:
        """The stages that each stage reads, and the bytes that each sends on."""
        reads: list[set[int]] = [set() for _ in range(count)]
        output = [0.0] * count
        for i, readers in enumerate(self.whole.consumers):
            away = {int(stage_of[j]) for j in readers} - {int(stage_of[i])}
            if away:
                output[stage_of[i]] += float(self.whole.output[i])
            for s in away:
                reads[s].add(int(stage_of[i]))
        return [sorted(each) for each in reads], output
