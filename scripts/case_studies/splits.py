"""Contiguous splits made without a planner: evenly, in proportion to speed, by a dynamic program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.problem import Problem
from planner.problem.partition import atoms

Floats = npt.NDArray[np.float64]

_LAYER = re.compile(r"(.*?\d+)(\.|$)")


@dataclass(frozen=True)
class Split:
    """Consecutive stages of the topological order: ``stages[k]`` runs on ``devices[k]``. No stage is empty."""

    stages: tuple[tuple[int, ...], ...]
    devices: tuple[int, ...]

    def device_of(self, n_operators: int) -> tuple[int, ...]:
        """The device of every operator."""
        out = [0] * n_operators
        for stage, device in zip(self.stages, self.devices, strict=True):
            for i in stage:
                out[i] = device
        return tuple(out)


def layers(problem: Problem) -> list[tuple[int, ...]]:
    """The topological order in layers: operators of one copy of a block, or with one number at the end of their names.

    Operators of no layer (embedding, head) join the layer before them, or else the first one, as in frameworks. A
    ``colocate`` group is never cut.
    """
    found: list[tuple[str | None, list[int]]] = []
    for piece in atoms(problem):
        matches = [_LAYER.match(problem.operators[i].name) for i in piece]
        names = {match[1] for match in matches if match is not None}
        name = min(names) if names else None
        if found and (name is None or found[-1][0] in (None, name)):
            found[-1] = (found[-1][0] or name, [*found[-1][1], *piece])
        else:
            found.append((name, list(piece)))
    return [tuple(members) for _, members in found]


def even(problem: Problem, devices: Sequence[int]) -> Split | None:
    """Equally many layers on each device, up to rounding."""
    return _shared(problem, devices, [1.0] * len(devices))


def proportional(problem: Problem, devices: Sequence[int]) -> Split | None:
    """Layers in proportion to the speed of each device on the whole model (operators that it cannot run left out)."""
    work = np.where(np.isfinite(problem.duration), problem.duration, 0.0).sum(axis=(0, 1))
    return _shared(problem, devices, [1.0 / max(float(work[d]), 1e-12) for d in devices])


def _shared(problem: Problem, devices: Sequence[int], shares: Sequence[float]) -> Split | None:
    """Layers distributed by shares, at least one to each device; None if a device cannot run its layers."""
    found = layers(problem)
    used = list(devices)[: len(found)]
    ideal = np.cumsum(shares[: len(used)]) / sum(shares[: len(used)]) * len(found)
    ends: list[int] = []
    for k, end in enumerate(ideal):
        least = (ends[-1] if ends else 0) + 1
        ends.append(max(least, min(round(float(end)), len(found) - (len(used) - 1 - k))))
    starts = [0, *ends[:-1]]
    stages = tuple(tuple(i for layer in found[a:b] for i in layer) for a, b in zip(starts, ends, strict=True))
    return _runnable(problem, Split(stages, tuple(used)))


def _runnable(problem: Problem, split: Split) -> Split | None:
    allowed = all(problem.runs_on[list(stage), d].all() for stage, d in zip(split.stages, split.devices, strict=True))
    return split if allowed else None


def busiest_stage(problem: Problem, devices: Sequence[int], in_memory: bool = False) -> Split | None:
    """The contiguous split with the least busiest stage, by a dynamic program over all cuts; stages may stay empty.

    A stage's load is that of the busier of its streams. If the device's transfers are exclusive, every output that
    enters or leaves adds its time to the compute stream once (in training the gradient, too). A cut counts like a
    stage: the time of the outputs that cross it on the link between its two devices, as in PipeDream's program
    (Narayanan et al., 2019). ``in_memory``: parameters and the activations of P - k microbatches must fit on the
    device of stage k of P, as in 1F1B.
    """
    return _Program(problem, devices, in_memory).best()


class _Program:
    def __init__(self, problem: Problem, devices: Sequence[int], in_memory: bool) -> None:
        self.problem, self.devices, self.in_memory = problem, list(devices), in_memory
        self.pieces = atoms(problem)
        self.n = len(self.pieces)
        segment_of = {i: a for a, piece in enumerate(self.pieces) for i in piece}
        # Outputs that are read in later segments: producer, its segment, the segments that read it.
        self.crossing = []
        for i, a in segment_of.items():
            later = sorted({segment_of[reader] for reader in problem.consumers[i]} - {a})
            if later:
                self.crossing.append((i, a, later))

    def best(self) -> Split | None:
        """The split with the least busiest stage; None if none is possible."""
        reached = np.full(self.n + 1, np.inf)
        reached[0] = 0.0
        came_from = np.zeros((len(self.devices), self.n + 1), dtype=int)
        for k, d in enumerate(self.devices):
            load = self._load(k, d)
            crossing = self._cut(self.devices[k - 1], d) if k else np.zeros(self.n + 1)
            values = np.maximum(np.maximum(reached, crossing)[:, None], load)
            np.fill_diagonal(values, reached)  # an empty stage
            came_from[k] = values.argmin(axis=0)
            reached = values.min(axis=0)
        if not np.isfinite(reached[self.n]):
            return None
        ends, at = [], self.n
        for k in reversed(range(len(self.devices))):
            ends.append((int(came_from[k, at]), at, self.devices[k]))
            at = int(came_from[k, at])
        used = [(a, b, d) for a, b, d in reversed(ends) if a < b]
        stages = tuple(tuple(i for piece in self.pieces[a:b] for i in piece) for a, b, _ in used)
        return Split(stages, tuple(d for _, _, d in used))

    def _load(self, k: int, d: int) -> Floats:
        """``[i, j]``: the load of segments i to j - 1 on the device; inf if j < i or if it cannot run them."""
        problem, n = self.problem, self.n
        work = problem.duration[:, :, d].sum(axis=1)
        allowed = problem.runs_on[:, d]
        in_flight = len(self.devices) - k if problem.training else 1
        held = problem.parameters + in_flight * problem.activation
        columns = [
            np.where(allowed & ~problem.on_comm, work, 0.0),
            np.where(allowed & problem.on_comm, work, 0.0),
            (~allowed).astype(float),
            held,
        ]
        compute, comm, banned, memory = (self._between(column) for column in columns)
        if problem.exclusive[d]:
            compute = compute + self._borders(k, d)
        load = np.maximum(compute, comm)
        load[banned > 0] = np.inf
        if self.in_memory:
            load[memory > problem.cap_with_slack[d]] = np.inf
        load[np.tril_indices(n + 1, -1)] = np.inf
        return load

    def _between(self, column: Floats) -> Floats:
        sums = np.concatenate([[0.0], np.cumsum([column[list(piece)].sum() for piece in self.pieces])])
        between: Floats = sums[None, :] - sums[:, None]
        return between

    def _borders(self, k: int, d: int) -> Floats:
        """``[i, j]``: seconds of all outputs that enter or leave segments i to j - 1, each once."""
        ways = 2 if self.problem.training else 1
        before = self.devices[k - 1] if k else None
        after = self.devices[k + 1] if k + 1 < len(self.devices) else None
        out = np.zeros((self.n + 1, self.n + 1))
        for i, a, later in self.crossing:
            if before is not None:
                seconds = ways * self.problem.transfer(i, before, d)
                for begin in range(a + 1, later[-1] + 1):
                    first = next(b for b in later if b >= begin)
                    out[begin, first + 1 :] += seconds
            if after is not None:
                out[: a + 1, a + 1 : later[-1] + 1] += ways * self.problem.transfer(i, d, after)
        return out

    def _cut(self, before: int, after: int) -> Floats:
        """``[i]``: seconds of the outputs that cross the cut before segment i."""
        out = np.zeros(self.n + 1)
        for i, a, later in self.crossing:
            out[a + 1 : later[-1] + 1] += self.problem.transfer(i, before, after)
        return out
