"""Longest paths before and after each operator's passes, transfers free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from planner.bounds.memory import in_line
from planner.problem import Problem

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Waits:
    """Seconds, for every operator, each pass on its fastest device.

    ``head``: its earliest start. ``turn``: the earliest start of its I. ``tail``: what must follow the last of its
    passes. ``drain``: what must follow its F. ``after``: what must follow its I. In inference ``turn`` is as ``head``,
    ``drain`` and ``after`` as ``tail``. Step tasks follow the last of an operator's gradients.
    """

    head: Floats
    turn: Floats
    tail: Floats
    drain: Floats
    after: Floats

    @staticmethod
    def of(problem: Problem) -> Waits:
        """The waits of a problem's operators."""
        best, n = fastest(problem), problem.n_operators
        head, turn, tail, drain, after = (np.zeros(n) for _ in range(5))
        for i in problem.topological:
            head[i] = max((head[j] + best[j, 0] for j in problem.inputs[i]), default=0.0)
        if not problem.training:
            for i in reversed(problem.topological):
                tail[i] = max((tail[j] + best[j, 0] for j in problem.consumers[i]), default=0.0)
            return Waits(head, head, tail, tail, tail)
        for i in reversed(problem.topological):
            turn[i] = max(head[i] + best[i, 0], *(turn[j] + best[j, 1] for j in problem.consumers[i]), 0.0)
        ending = fastest_steps(problem).sum(axis=1)
        for i in problem.topological:  # what follows the end of I: own W and step tasks, and the I of the inputs
            after[i] = max(best[i, 2] + ending[i], *(best[j, 1] + after[j] for j in problem.inputs[i]), 0.0)
            tail[i] = ending[i] if problem.has_pass[i, 2] else after[i]
        for i in reversed(problem.topological):
            drain[i] = max(best[i, 1] + after[i], *(best[j, 0] + drain[j] for j in problem.consumers[i]), 0.0)
        return Waits(head, turn, tail, drain, after)

    @staticmethod
    def of_any(problem: Problem) -> Waits:
        """The waits whatever versions are picked: those of the least, but the last pass of some version may be W."""
        waits, least = Waits.of(problem.relaxed), problem.relaxed
        if not problem.free:
            return waits
        ends = np.any([version.has_pass[:, 2] for version in problem.choices], axis=0)
        return replace(waits, tail=np.where(ends, fastest_steps(least).sum(axis=1), waits.tail))

    def some(self, operators: Sequence[int]) -> Waits:
        """The waits of some operators, in the order given."""
        here = list(operators)
        return Waits(self.head[here], self.turn[here], self.tail[here], self.drain[here], self.after[here])


def fastest(problem: Problem) -> Floats:
    """``[i, p]``: seconds on the fastest device that may run operator i; 0 where there is no such pass."""
    return np.asarray(np.where(problem.runs_on[:, None, :], problem.duration, np.inf).min(axis=2))


def fastest_steps(problem: Problem) -> Floats:
    """``[i, s]``: seconds of R, U and G on the fastest device that may run operator i; 0 where there is none."""
    seconds = np.where(problem.runs_on[:, None, :], problem.step_duration, np.inf)
    return np.asarray(seconds.min(axis=2))


def least_hop(problem: Problem) -> float:
    """Seconds of a transfer from device to device, at least; 0 unless each compute operator needs the one before it.

    In such a chain of one copy, on n devices, the way through the network takes n - 1 of them, the way back as many.
    """
    chain = [i for i in problem.topological if not problem.on_comm[i]]
    sent = [i for i in range(problem.n_operators) if problem.consumers[i]]
    if problem.copies > 1 or problem.n_devices < 2 or not sent or not in_line(problem, chain):
        return 0.0
    smallest = min(sent, key=lambda i: float(problem.output[i]))
    devices = range(problem.n_devices)
    return min(problem.transfer(smallest, d, e) for d in devices for e in devices if d != e)
