"""Level 1's assignment MIP: which device runs which group of operators (PuLP on HiGHS).

It knows loads, memory and transfers, but not time; the list scheduler judges what it proposes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import highspy
import numpy as np
import pulp

from planner.common.budget import Control
from planner.common.highs import use_threads
from planner.problem import Problem

SOLVER_GAP = 1e-4


class AssignmentModel:
    """The MIP over merged groups; one method for each family of constraints.

    ``in_flight``: microbatches whose activations a device must be able to hold at once.
    """

    def __init__(self, problem: Problem, groups: Sequence[Sequence[int]], in_flight: int = 1) -> None:
        self.problem, self.groups, self.in_flight = problem, [tuple(g) for g in groups], in_flight
        self.model = pulp.LpProblem("assignment", pulp.LpMinimize)
        self.devices = range(problem.n_devices)
        self.group_of = {i: g for g, members in enumerate(self.groups) for i in members}
        self.y = {
            (g, d): self.model.add_variable(f"y_{g}_{d}", cat="Binary")
            for g, members in enumerate(self.groups)
            for d in self.devices
            if problem.runs_on[list(members), d].all()
        }
        self.busiest = self.model.add_variable("busiest", lowBound=0)
        self.sent: dict[tuple[int, int], pulp.LpVariable] = {}
        self.scale = max(self._load(g, d, False) + self._load(g, d, True) for g, d in self.y) or 1.0
        self.each_group_has_one_device()
        self.no_stream_works_longer_than_the_busiest()
        self.activations_in_flight_fit()
        self.outputs_are_sent_where_they_are_read()
        self.like_devices_take_groups_in_order()
        self.minimise_the_busiest_stream_and_the_way()

    def _load(self, g: int, d: int, comm: bool) -> float:
        """Seconds a microbatch of group g on one stream of device d."""
        members = [i for i in self.groups[g] if bool(self.problem.on_comm[i]) == comm]
        return float(self.problem.duration[members, :, d].sum()) if members else 0.0

    def each_group_has_one_device(self) -> None:
        """Every group runs on exactly one of the devices that may run all of it."""
        for g in range(len(self.groups)):
            self.model += pulp.lpSum(self.y[g, d] for d in self.devices if (g, d) in self.y) == 1

    def no_stream_works_longer_than_the_busiest(self) -> None:
        """Seconds a microbatch of each stream, in multiples of ``scale``."""
        for d in self.devices:
            for comm in (False, True):
                self.model += (
                    pulp.lpSum(self._load(g, e, comm) / self.scale * y for (g, e), y in self.y.items() if e == d)
                    <= self.busiest
                )

    def activations_in_flight_fit(self) -> None:
        """Parameters and the activations of ``in_flight`` microbatches within each device's memory."""
        problem = self.problem
        for d in self.devices:
            if math.isfinite(problem.cap[d]) and problem.cap[d] > 0:
                self.model += (
                    pulp.lpSum(self._bytes(g) / float(problem.cap[d]) * y for (g, e), y in self.y.items() if e == d)
                    <= 1
                )

    def _bytes(self, g: int) -> float:
        members = list(self.groups[g])
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
        times = [self.problem.transfer(i, e, d) for e in self.devices if e != d and self.problem.runs_on[i, e]]
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

    def solve(self, control: Control, threads: int, nodes: int) -> tuple[int, ...] | None:
        """Device of each operator in the best assignment found; None where there is none or none was found."""
        use_threads(threads)
        solver = pulp.HiGHS(
            msg=False, timeLimit=max(0.1, control.remaining), threads=threads, gapRel=SOLVER_GAP, mip_max_nodes=nodes
        )
        # PuLP's own solve() knows no node limit (a KeyError), and reads a time limit as "optimal": ask HiGHS
        solver.createAndConfigureSolver(self.model)
        solver.buildSolverModel(self.model)
        solver.callSolver(self.model)
        highs = self.model.solverModel
        control.spend(max(1, int(highs.getInfo().mip_node_count)))
        if highs.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        values = highs.getSolution().col_value
        device_of = [0] * self.problem.n_operators
        for (g, d), y in self.y.items():
            if values[y.index] > 0.5:
                for i in self.groups[g]:
                    device_of[i] = d
        return tuple(device_of)
