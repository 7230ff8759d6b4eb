"""Precedence and memory of a plan whose graph and cluster are known: exactly rules 3 to 5, and those of the step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from planner.events.edges import Edges, Wait
from planner.events.nodes import Ints, Nodes
from planner.events.steps import step_edges
from planner.plan.plan import Plan
from planner.problem import Placement, Problem
from planner.problem.problem import MEMORY_SLACK


class Known:
    """The nodes of a plan's tasks and transfers, by operator and pass for all microbatches."""

    def __init__(self, nodes: Nodes, problem: Problem, plan: Plan) -> None:
        self.nodes = nodes
        self.problem = problem
        self.copies = _problems(plan, problem)  # each copy's, in its variants
        shape = (problem.n_operators, 3, problem.microbatches)
        self.task = np.full(shape, -1, dtype=np.int64)
        tasks = np.flatnonzero(~nodes.once[: nodes.n_tasks])
        self.task[nodes.operator[tasks], nodes.pass_[tasks], nodes.microbatch[tasks]] = tasks
        self.device = nodes.device[self.task[:, 0, :]]  # (operators, microbatches)
        copy_of = nodes.copy[self.task[0, 0, :]]  # a microbatch uses the same copy of every operator
        self.activation = np.array([each.activation for each in self.copies])[copy_of].T  # as ``device``
        self.held = np.array([each.held for each in self.copies])[copy_of].T
        self._sent: dict[tuple[int, int, int], Ints] = {}
        away = np.where(nodes.pass_ == 0, nodes.target, nodes.device)
        sent = nodes.n_tasks + np.flatnonzero(~nodes.once[nodes.n_tasks :])
        columns = (nodes.operator[sent], nodes.pass_[sent], away[sent], nodes.microbatch[sent], sent)
        for i, p, d, m, node in zip(*(column.tolist() for column in columns), strict=True):
            self._sent.setdefault((i, p, d), np.full(problem.microbatches, -1, dtype=np.int64))[m] = node

    def sent(self, operator: int, pass_: int, away: Ints) -> Ints:
        """The transfer of each microbatch between the operator and device ``away[m]``; -1: none is listed."""
        found = np.full(len(away), -1, dtype=np.int64)
        for d in np.unique(away).tolist():
            listed = self._sent.get((operator, pass_, d))
            if listed is not None:
                found = np.where(away == d, listed, found)
        return found

    def precedence(self, edges: Edges) -> None:
        """Rules 3 and 4. A transfer that is not listed takes no time, so that its two ends meet directly."""
        for i, inputs in enumerate(self.problem.inputs):
            for j in inputs:
                self._through(edges, self.task[j, 0], self.sent(j, 0, self.device[i]), self.task[i, 0])
                self._through(edges, self.task[i, 1], self.sent(j, 1, self.device[i]), self.task[j, 1])
            edges.add(self.task[i, 0], self.task[i, 1], Wait.INPUT)
            edges.add(self.task[i, 1], self.task[i, 2], Wait.INPUT)
        step_edges(self.nodes, edges, self.problem.gradient > 0, self.problem.graph.clip_gradients)

    @staticmethod
    def _through(edges: Edges, maker: Ints, transfer: Ints, taker: Ints) -> None:
        edges.add(np.where(transfer < 0, maker, -1), taker, Wait.INPUT)
        edges.add(maker, transfer, Wait.INPUT)
        edges.add(transfer, taker, Wait.TRANSFER)

    def memory(self, edges: Edges, plan: Plan, rank: Ints) -> None:
        """Rule 5, as the plan keeps it: a start waits for as many of the releases before it as it needs.

        On each device activations are taken in the plan's order, and the k-th waits for the first releases, in the
        plan's order, without which the first k would not fit. These two rules keep memory within the cap in every
        replay: when the k-th starts, no later one has started, and those releases have happened. A plan that is over
        the cap (a baseline that does not fit) is held to its own peak.
        """
        peaks = {d.name: d.peak_memory for d in plan.devices}
        for d, name in enumerate(self.nodes.devices):
            resident: dict[str, float] = {}  # of two copies on one device the larger one counts, once
            for placed in plan.placement:
                if placed.device == name:
                    own = float(self.copies[placed.copy].parameters[self.problem.graph.index[placed.operator]])
                    resident[placed.operator] = max(own, resident.get(placed.operator, 0.0))
            held = sum(resident[operator] for operator in sorted(resident))
            limit = max(float(self.problem.cap[d]), peaks.get(name, 0.0)) * (1.0 + MEMORY_SLACK)
            self._on_device(edges, d, limit - held, rank)

    def _on_device(self, edges: Edges, d: int, free: float, rank: Ints) -> None:
        takers = self.task[:, 0, :][(self.device == d) & (self.activation > 0)]
        takers = takers[np.argsort(rank[takers])]
        sizes = self.activation[self.nodes.operator[takers], self.nodes.microbatch[takers]]
        if not float(sizes.sum()) > free:
            return
        releases = sorted(self._releases(d), key=lambda release: max(self.nodes.end[n] for n in release[0]))
        taken, released = 0.0, 0
        for node, size in zip(takers.tolist(), sizes.tolist(), strict=True):
            taken += size
            while taken > free and released < len(releases):
                for ended in releases[released][0]:
                    if rank[ended] < rank[node]:
                        edges.one(ended, node, Wait.MEMORY)
                taken -= releases[released][1]
                released += 1
        for one, other in pairwise(takers.tolist()):  # on one stream the order says it already
            if self.nodes.comm[one] != self.nodes.comm[other]:
                edges.one(one, other, Wait.MEMORY, from_start=True)

    def _releases(self, d: int) -> list[tuple[Sequence[int], float]]:
        """All releases on a device: the nodes that must have ended, and the bytes."""
        problem, found = self.problem, list[tuple[Sequence[int], float]]()
        leaving: dict[int, list[Ints]] = {}
        for (i, _, _), sent in self._sent.items():
            leaving.setdefault(i, []).append(sent)
        for i, m in np.argwhere((self.device == d) & (self.activation > 0)).tolist():
            whole, held = float(self.activation[i, m]), float(self.held[i, m])
            if problem.training:
                found.append(([int(self.task[i, 1, m])], whole - held))
                if held > 0:
                    found.append(([int(self.task[i, 2, m])], held))
            else:
                readers = [int(self.task[j, 0, m]) for j in problem.consumers[i] if self.device[j, m] == d]
                left = [int(sent[m]) for sent in leaving.get(i, ()) if sent[m] >= 0]
                found.append(([int(self.task[i, 0, m]), *readers, *left], whole))
        return [release for release in found if release[1] > 0]


def _problems(plan: Plan, problem: Problem) -> tuple[Problem, ...]:
    """The problem of each copy of a plan."""
    if not any(operator.variants for operator in problem.operators):
        return (problem,) * plan.copies
    versions = [[0] * problem.n_operators for _ in range(plan.copies)]
    for placed in plan.placement:
        i = problem.graph.index[placed.operator]
        versions[placed.copy][i] = problem.operators[i].versions.index(placed.variant)
    placement = Placement(((),) * plan.copies, variant_of=tuple(map(tuple, versions)))
    return problem.of_copies(placement)
