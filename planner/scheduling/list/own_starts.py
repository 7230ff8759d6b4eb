"""The starts of a schedule as keys of another one, a little changed.

From some time on, the list scheduler then makes the same choices but for what it waits for and what the changes turn
round: it starts from a tuned schedule, which no rule describes, and not from a rule (a form of iterated greedy
search: Ruiz and Stuetzle, "A simple and effective iterated greedy algorithm for the permutation flowshop scheduling
problem", 2007).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.scheduling.classes import Floats
from planner.scheduling.list.keys import Keying
from planner.scheduling.list.look import NO_LOOK, Look
from planner.scheduling.list.rules import Scales

WIDTHS = (0.01, 0.3)
"""How much keys change: from so much to so much x a virtual-stage round's work for one microbatch."""

FEW = 0.05
"""Share of the tasks that change where only a few do,"""

MORE = 5.0
"""and how much more these change."""


@dataclass(frozen=True, slots=True)
class OwnStarts:
    """Keys by starts (seconds, shaped (classes, largest count of microbatches); nan where there is no task)."""

    start: Floats
    look: Look = NO_LOOK

    @property
    def reserve(self) -> bool:
        """Memory is always granted in the order of the keys."""
        return True

    def keys(self, keying: Keying, scales: Scales) -> Floats:
        """The starts themselves."""
        return np.nan_to_num(self.start, nan=np.inf)

    def nearby(self, rng: np.random.Generator, width: float) -> OwnStarts:
        """Other look-ahead, and starts that differ by about ``width`` seconds: of tasks, classes or microbatches."""
        classes, count = self.start.shape
        kind = rng.integers(4)
        shape = ((classes, count), (classes, 1), (1, count), (classes, count))[kind]
        change = rng.normal(scale=width, size=shape)
        if kind == 3:
            change *= np.where(rng.random(shape) < FEW, MORE, 0.0)
        return replace(self, start=self.start + change, look=Look(float(rng.random()), bool(rng.random() < 0.5)))
