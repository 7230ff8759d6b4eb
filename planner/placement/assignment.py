"""Level 1's assignment MIP: which device runs which group of operators (PuLP on HiGHS).

It knows loads, memory and transfers, but not time; the list scheduler judges what it proposes. Where operators have
alternatives, it decides how many of a kind in a group are in which version (as fractions, rounded afterwards), with the
time and the bytes of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
import pulp

from planner.common.budget import Control
from planner.common.highs import use_threads
from planner.problem import Problem

SOLVER_GAP = 1e-4


@dataclass(frozen=True)
class Assignment:
    """The device and the version of each operator."""

    device_of: tuple[int, ...]
    versions: tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """Operators of one group whose versions have the same figures."""

    group: int
    members: tuple[int, ...]
    versions: tuple[int, ...]


class AssignmentModel:
    """The MIP over merged groups; one method for each family of constraints.

    ``in_flight``: microbatches whose activations a device must be able to hold at once.
    """

    def __init__(self, problem: Problem, groups: Sequence[Sequence[int]], in_flight: int = 1) -> None:
        self.problem, self.groups, self.in_flight = problem, [tuple(g) for g in groups], in_flight
        self.model = pulp.LpProblem("assignment", pulp.LpMinimize)
        self.devices = range(problem.n_devices)
        self.spent = 0  # nodes of the last solve
        self.group_of = {i: g for g, members in enumerate(self.groups) for i in members}
        self.y = {
            (g, d): self.model.add_variable(f"y_{g}_{d}", cat="Binary")
            for g, members in enumerate(self.groups)
            for d in self.devices
            if problem.runs_in_any_version[list(members), d].all()
        }
        self.kinds = self._kinds()
        self.share = {
            (k, d, v): self.model.add_variable(f"share_{k}_{d}_{v}", lowBound=0)
            for k, kind in enumerate(self.kinds)
            for d in self.devices
            if (kind.group, d) in self.y
            for v in kind.versions
            if problem.choices[v].runs_on[kind.members[0], d]
        }
        self.busiest = self.model.add_variable("busiest", lowBound=0)
        self.sent: dict[tuple[int, int], pulp.LpVariable] = {}
        self.scale = self._largest_load() or 1.0
        self.each_group_has_one_device()
        self.operators_have_one_version()
        self.no_stream_works_longer_than_the_busiest()
        self.activations_in_flight_fit()
        self.outputs_are_sent_where_they_are_read()
        self.like_devices_take_groups_in_order()
        self.minimise_the_busiest_stream_and_the_way()

    def _load(self, g: int, d: int, comm: bool) -> float:
        """Seconds a microbatch of group g on one stream of device d; of operators with alternatives none."""
        members = [i for i in self._fixed[g] if bool(self.problem.on_comm[i]) == comm]
        return float(self.problem.duration[members, :, d].sum()) if members else 0.0

    def _kinds(self) -> list[Kind]:
        """The kinds of operators with alternatives in every group."""
        problem, free = self.problem, set(self.problem.free)
        self._fixed = [[i for i in members if i not in free] for members in self.groups]
        found: list[Kind] = []
        for g, members in enumerate(self.groups):
            alike: dict[object, list[int]] = {}
            for i in members:
                if i in free:
                    figures = [
                        (v, c.duration[i].tobytes(), c.activation[i], c.parameters[i], c.runs_on[i].tobytes())
                        for v in problem.versions[i]
                        for c in [problem.choices[v]]
                    ]
                    alike.setdefault((bool(problem.on_comm[i]), tuple(figures)), []).append(i)
            found += [Kind(g, tuple(some), problem.versions[some[0]]) for some in alike.values()]
        return found

    def operators_have_one_version(self) -> None:
        """Where a group runs on a device, each of its operators is in one version."""
        for k, kind in enumerate(self.kinds):
            for d in self.devices:
                if (kind.group, d) in self.y:
                    some = [self.share[k, d, v] for v in kind.versions if (k, d, v) in self.share]
                    self.model += pulp.lpSum(some) == len(kind.members) * self.y[kind.group, d]

    def _chosen_load(self, d: int, comm: bool) -> list[Any]:
        """Terms: seconds a microbatch, x ``scale``, of the versions on one stream of a device."""
        return [
            float(self.problem.choices[v].duration[self.kinds[k].members[0], :, d].sum()) / self.scale * share
            for (k, e, v), share in self.share.items()
            if e == d and bool(self.problem.on_comm[self.kinds[k].members[0]]) == comm
        ]

    def _chosen_bytes(self, d: int) -> list[Any]:
        """Terms: bytes, x the memory of the device, of the versions there."""
        choices, cap = self.problem.choices, float(self.problem.cap[d])
        like = [kind.members[0] for kind in self.kinds]
        return [
            (choices[v].parameters[like[k]] + self.in_flight * choices[v].activation[like[k]]) / cap * share
            for (k, e, v), share in self.share.items()
            if e == d
        ]

    def _largest_load(self) -> float:
        """Seconds a microbatch of the group that works longest, everything in its first version."""
        if not self.kinds:
            return max(self._load(g, d, False) + self._load(g, d, True) for g, d in self.y)
        work = np.where(np.isfinite(self.problem.duration), self.problem.duration, 0.0).sum(axis=1)
        return max(float(work[list(self.groups[g]), d].sum()) for g, d in self.y)

    def each_group_has_one_device(self) -> None:
        """Every group runs on exactly one of the devices that may run all of it."""
        for g in range(len(self.groups)):
            self.model += pulp.lpSum(self.y[g, d] for d in self.devices if (g, d) in self.y) == 1

    def no_stream_works_longer_than_the_busiest(self) -> None:
        """Seconds a microbatch of each stream, in multiples of ``scale``."""
        for d in self.devices:
            for comm in (False, True):
                self.model += (
                    pulp.lpSum(
                        [
                            *(self._load(g, e, comm) / self.scale * y for (g, e), y in self.y.items() if e == d),
                            *self._chosen_load(d, comm),
                        ]
                    )
                    <= self.busiest
                )

    def activations_in_flight_fit(self) -> None:
        """Parameters and the activations of ``in_flight`` microbatches within each device's memory."""
        problem = self.problem
        for d in self.devices:
            if math.isfinite(problem.cap[d]) and problem.cap[d] > 0:
                self.model += (
                    pulp.lpSum(
                        [
                            *(self._bytes(g) / float(problem.cap[d]) * y for (g, e), y in self.y.items() if e == d),
                            *self._chosen_bytes(d),
                        ]
                    )
                    <= 1
                )

    def _bytes(self, g: int) -> float:
        members = self._fixed[g]
        problem = self.problem
        return float(problem.parameters[members].sum() + self.in_flight * problem.activation[members].sum())

    def outputs_are_sent_where_they_are_read(self) -> None:
        """``sent[i, d]`` is at least 1 where operator i is read on device d and placed elsewhere."""
        problem = self.problem
        for i, readers in enumerate(problem.consumers):
            g = self.group_of[i]
            for h in sorted({self.group_of[j] for j in readers} - {g}):
                for d in self.devices:
                    if (h, d) not in self.y or not self._slowest(i, d) > 0:
                        continue
                    if (i, d) not in self.sent:
                        self.sent[i, d] = self.model.add_variable(f"sent_{i}_{d}", 0, 1)
                    self.model += self.sent[i, d] >= self.y[h, d] - self.y.get((g, d), 0)

    def _slowest(self, i: int, d: int) -> float:
        """Mean seconds that the output of i takes to device d."""
        times = [
            self.problem.transfer(i, e, d) for e in self.devices if e != d and self.problem.runs_in_any_version[i, e]
        ]
        return float(np.mean(times)) if times else 0.0

    def like_devices_take_groups_in_order(self) -> None:
        """Of devices that nothing tells apart, the first group goes to the first: breaks their symmetry."""
        for members in self.problem.device_classes:
            for rank, d in enumerate(members):
                for g in range(min(rank, len(self.groups))):
                    if (g, d) in self.y:
                        self.model += self.y[g, d] == 0

    def minimise_the_busiest_stream_and_the_way(self) -> None:
        """The busiest stream over the step, and what one microbatch spends on transfers."""
        both = 2.0 if self.problem.training else 1.0
        ways = pulp.lpSum(self._slowest(i, d) * both / self.scale * s for (i, d), s in self.sent.items())
        self.model += self.problem.microbatches * self.busiest + ways

    def solve(self, control: Control, nodes: int) -> Assignment | None:
        """The best assignment found; None where none was. The nodes are for the caller to spend."""
        use_threads(1)
        solver = pulp.HiGHS(
            msg=False, timeLimit=max(0.1, control.remaining), threads=1, gapRel=SOLVER_GAP, mip_max_nodes=nodes
        )
        # PuLP's own solve() knows no node limit (a KeyError), and reads a time limit as "optimal": ask HiGHS
        solver.createAndConfigureSolver(self.model)
        solver.buildSolverModel(self.model)
        self.model.solverModel.cbMipInterrupt.subscribe(lambda event: event.interrupt() if control.over else None)
        solver.callSolver(self.model)
        highs = self.model.solverModel
        self.spent = max(1, int(highs.getInfo().mip_node_count))
        if highs.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        values = highs.getSolution().col_value
        device_of = [0] * self.problem.n_operators
        for (g, d), y in self.y.items():
            if values[y.index] > 0.5:
                for i in self.groups[g]:
                    device_of[i] = d
        return Assignment(tuple(device_of), self._versions(device_of, values))

    def _versions(self, device_of: Sequence[int], values: Sequence[float]) -> tuple[int, ...]:
        """Fractions of versions as whole operators; what is left over takes the version with the fewest bytes."""
        versions, choices = list(self.problem.first_versions), self.problem.choices
        for k, kind in enumerate(self.kinds):
            i, d = kind.members[0], device_of[kind.members[0]]
            some = [v for v in kind.versions if (k, d, v) in self.share]
            lean = min(some, key=lambda v, i=i: float(choices[v].activation[i] + choices[v].parameters[i]))  # type: ignore[misc]
            counts = {v: int(values[self.share[k, d, v].index] + 1e-6) for v in some}
            counts[lean] += len(kind.members) - sum(counts.values())
            row = [v for v in some for _ in range(counts[v])]
            for member, v in zip(kind.members, row, strict=True):
                versions[member] = v
        return tuple(versions)
