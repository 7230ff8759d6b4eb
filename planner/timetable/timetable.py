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


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Timetable:
    """Start times of all tasks, and all transfers that take time.

    ``copy_of[m]`` is the copy that runs microbatch m. ``start`` has shape (operators, 3, microbatches), in
    seconds, NaN where the pass does not exist. A task ends ``Problem.duration`` after it starts.
    """

    placement: Placement
    copy_of: tuple[int, ...]
    start: npt.NDArray[np.float64]
    transfers: tuple[TimedTransfer, ...]

    def device(self, operator: int, microbatch: int) -> int:
        """The device that runs the operator for the microbatch."""
        return self.placement.device_of[self.copy_of[microbatch]][operator]

    def ends(self, problem: Problem) -> npt.NDArray[np.float64]:
        """End times, shaped as ``start``."""
        i = np.arange(problem.n_operators)[:, None]
        device = np.array(self.placement.device_of)[list(self.copy_of)].T  # (operators, microbatches)
        duration = problem.duration[i, :, device]  # (operators, microbatches, 3)
        return self.start + np.moveaxis(duration, 2, 1)

    def makespan(self, problem: Problem) -> float:
        """The end of the last task, in seconds."""
        return float(np.nanmax(self.ends(problem)))
