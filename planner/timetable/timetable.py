"""A timetable: when every task of every microbatch starts. What level 2 and the baselines produce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from planner.problem import Placement, Problem


class TimedTransfer(NamedTuple):
    """A transfer between devices (indices); ``operator`` is the producer, for pass F as for pass I (1)."""

    operator: int
    pass_: int  # 0: the output, 1: its gradient on the way back
    microbatch: int
    source: int
    target: int
    start: float
    end: float


class TimedExchange(NamedTuple):
    """The gradient of the weights of one copy of an operator, on its way to the device of another copy."""

    operator: int
    copy: int  # that sends it
    source: int
    target: int
    start: float
    end: float


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Timetable:
    """Start times of all tasks, and all transfers that take time.

    ``copy_of[m]`` is the copy that runs microbatch m. ``start`` has shape (operators, 3, microbatches), in
    seconds, NaN where the pass does not exist in the variant of the microbatch's copy. A task ends
    ``Problem.duration`` (of its copy's problem) after it starts. ``step`` has shape (copies, operators, 3): the starts
    of R, U and G, NaN where there is no such task; None where no operator has any.
    """

    placement: Placement
    copy_of: tuple[int, ...]
    start: npt.NDArray[np.float64]
    transfers: tuple[TimedTransfer, ...]
    step: npt.NDArray[np.float64] | None = None
    exchanges: tuple[TimedExchange, ...] = ()

    def device(self, operator: int, microbatch: int) -> int:
        """The device that runs the operator for the microbatch."""
        return self.placement.device_of[self.copy_of[microbatch]][operator]

    def seconds(self, problem: Problem) -> npt.NDArray[np.float64]:
        """How long tasks take, shaped as ``start``; 0 where the pass does not exist."""
        problems, copies = problem.of_copies(self.placement), np.array(self.copy_of)
        found = np.zeros((problem.n_operators, 3, len(copies)))
        for copy, own in enumerate(problems):
            where = list(self.placement.device_of[copy])
            found[:, :, copies == copy] = own.duration[np.arange(own.n_operators), :, where][:, :, None]
        return found

    def ends(self, problem: Problem) -> npt.NDArray[np.float64]:
        """End times, shaped as ``start``."""
        return self.start + self.seconds(problem)

    def step_ends(self, problem: Problem) -> npt.NDArray[np.float64]:
        """End times of the step tasks, shaped (copies, operators, 3); NaN where there is no such task."""
        rows = np.arange(problem.n_operators)
        seconds = np.array([problem.step_duration[rows, :, list(where)] for where in self.placement.device_of])
        return np.full(seconds.shape, np.nan) if self.step is None else self.step + seconds

    def makespan(self, problem: Problem) -> float:
        """The end of the last task, or of the last gradient that copies exchange, in seconds."""
        last = float(np.nanmax(self.ends(problem)))
        if self.step is not None and not np.isnan(self.step).all():
            last = max(last, float(np.nanmax(self.step_ends(problem))))
        return max([last, *(exchange.end for exchange in self.exchanges)])
