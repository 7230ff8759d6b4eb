"""Forward and backward list scheduling in turn: what one direction leaves idle, the other closes.

A list schedule is dense where it begins. Run backward in time, with the ends of a schedule as keys, the list scheduler
gives one that is dense where it ends, at the turn and in the drain; run forward again with the starts of that one, both
ends are dense. This is the double justification of project scheduling (Valls, Ballestin and Quintanilla 2005; Tormos
and Lova 2001). Memory fits: backward in time the gradient takes what the forward pass releases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.common.threads import Turns
from planner.scheduling.classes import Classes, Floats, Hold, Ints
from planner.scheduling.list.arrays import Arrays, flatten
from planner.scheduling.list.kernel import Run, run
from planner.scheduling.list.look import Look

LONGER = 1.05
"""x the makespan of a schedule: a backward one that is longer is given up."""


@dataclass(frozen=True)
class Justifier:
    """The classes of a step and the same in reverse, without what comes once a step.

    ``play`` gives the schedule in the order of some starts (ticks).
    """

    classes: Classes
    arrays: Arrays
    play: Callable[[Floats], Run]
    rows: Ints  # the classes that are reversed
    backward: Arrays

    @staticmethod
    def of(classes: Classes, arrays: Arrays, play: Callable[[Floats], Run]) -> Justifier | None:
        """None where several tasks together release what one takes, as in inference in little memory."""
        holds = [hold for hold in classes.holds if np.isfinite(classes.available[hold.device])]
        if any(len(hold.releases) > 1 for hold in holds):
            return None
        rows = np.flatnonzero(~classes.once)
        place = {a: k for k, a in enumerate(rows.tolist())}
        columns = ("copy", "operator", "pass_", "target", "device", "seconds")
        reverse = replace(
            classes,
            resources=tuple([classes.resources[a] for a in place]),
            preds=tuple([tuple([place[b] for b in classes.succs[a] if b in place]) for a in place]),
            holds=tuple([Hold(h.device, h.size, place[h.releases[0]], (place[h.alloc],)) for h in holds]),
            **{name: getattr(classes, name)[rows] for name in columns},
        )
        # what comes before a class, which has as many tasks as it, comes after it in reverse
        vars(reverse).update(tick=classes.tick, available=classes.available, tail=classes.head[rows])
        return Justifier(classes, arrays, play, rows, flatten(reverse, arrays.need))

    def justified(self, begun: Run, looks: Sequence[Look]) -> Turns[Run | None]:
        """The best schedule that comes from one with these look-aheads, backward and forward; None where none does.

        It takes ``evaluations(looks)`` list schedules and yields after each.
        """
        back: Run | None = None
        keys = self._reversed(begun.start[self.rows], begun.makespan)
        for look in looks:
            limit = LONGER * begun.makespan if back is None else back.makespan
            found = run(self.backward, np.nan_to_num(keys, nan=np.inf), look, limit, True)
            back = _better(back, found)
            yield
        if back is None:
            return None
        start = np.full(begun.start.shape, np.nan)
        start[self.rows] = self._reversed(back.start, back.makespan)
        self._add_endings(start, begun, back.makespan)
        best = _better(None, self.play(start))
        yield
        start[self.classes.once] += 2 * begun.makespan  # after all others, as rules have it
        keys = np.nan_to_num(start, nan=np.inf)
        for look in looks:
            best = _better(best, run(self.arrays, keys, look, np.inf if best is None else best.makespan, True))
            yield
        return best

    @staticmethod
    def evaluations(looks: Sequence[Look]) -> int:
        """List schedules that ``justified`` takes at most."""
        return 2 * len(looks) + 1

    def _reversed(self, start: Floats, makespan: float) -> Floats:
        """The starts (ticks) of the reversed classes in reverse: the last task comes first; nan where there is none."""
        counts = self.classes.count[self.rows][:, None]
        place = counts - 1 - np.arange(start.shape[1])
        end = np.take_along_axis(start, np.maximum(place, 0), axis=1) + self.classes.ticks[self.rows][:, None]
        return np.where(place >= 0, makespan - end, np.nan)

    def _add_endings(self, start: Floats, begun: Run, makespan: float) -> None:
        """Fill in what comes once: as late before the end as it was, but after what it waits for."""
        classes = self.classes
        for a in classes.topological:
            if classes.once[a]:
                ready = [start[b, classes.count[b] - 1] + classes.ticks[b] for b in classes.preds[a]]
                start[a, 0] = max([begun.start[a, 0] + makespan - begun.makespan, *ready])


def _better(best: Run | None, found: Run) -> Run | None:
    """The shorter of two schedules, if the second was completed."""
    if not 0 <= found.makespan < np.inf or (best is not None and best.makespan <= found.makespan):
        return best
    return found
