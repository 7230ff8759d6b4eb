"""The least memory that a placement needs: one microbatch at a time, in the order that holds least.

Running the tasks of any valid plan one after another, by their starts and microbatch by microbatch, never needs
more memory than the plan itself (everything is released no later). So a placement has a valid plan if and only
if one microbatch alone fits in some sequential order, and the order of the forward passes is all that is to be
chosen: a pass that releases memory and takes none is best run at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.problem import Placement, Problem

Floats = npt.NDArray[np.float64]
STATES_AT_MOST = 20_000
STEPS_AT_MOST = 2_000_000
"""States that are visited, times the operators of each."""

SINKS_AT_MOST = 24


@dataclass(frozen=True)
class Need:
    """What one microbatch of one copy holds at most.

    ``peak[d]`` in bytes, parameters not counted. ``order`` is the sequence of forward passes that keeps to it, or
    None where any order does.
    """

    peak: Floats
    order: tuple[int, ...] | None


def sequence(problem: Problem, order: Sequence[int]) -> list[tuple[int, int]]:
    """The whole sequence of one microbatch, (operator, pass), for an order of its forward passes.

    In training every backward pass follows as soon as it can, each I with its W.
    """
    tasks: list[tuple[int, int]] = []
    left = [len(c) for c in problem.consumers]
    for i in order:
        tasks.append((i, 0))
        free = [i] if problem.training and not left[i] else []
        while free:
            j = free.pop()
            tasks.extend((j, p) for p in (1, 2) if problem.has_pass[j, p])
            for k in problem.inputs[j]:
                left[k] -= 1
                if not left[k]:
                    free.append(k)
    return tasks


def parameters_on(problem: Problem, placement: Placement) -> Floats:
    """Bytes of parameters on each device; copies of an operator on one device share them."""
    return np.array([math.fsum(own.values()) for own in problem.resident_parameters(placement)])


def microbatch_need(problem: Problem, device_of: Sequence[int], room: Floats) -> Need | bool | None:
    """What one microbatch needs under ``room[d]`` bytes for activations.

    Returns a ``Need``; None if no order fits, which is proven; False if the search ended without an answer.
    """
    everything = np.zeros(problem.n_devices)
    np.add.at(everything, np.asarray(device_of), problem.activation)
    if (everything <= room).all():
        return Need(everything, None)
    if problem.training and _too_much_at_a_sink(problem, device_of, room):
        return None
    return _Search(problem, device_of, room).run()


def _too_much_at_a_sink(problem: Problem, device_of: Sequence[int], room: Floats) -> bool:
    """Whether what is held at a sink's F does not fit: in training, all that leads to the sink, in any order."""
    where = np.asarray(device_of)
    for sink in [i for i, readers in enumerate(problem.consumers) if not readers][:SINKS_AT_MOST]:
        leading, new = {sink}, [sink]
        while new:
            new = [j for j in {j for i in new for j in problem.inputs[i]} if j not in leading]
            leading.update(new)
        here = sorted(leading)
        if (np.bincount(where[here], problem.activation[here], problem.n_devices) > room).any():
            return True
    return False


class _Search:
    """Depth-first search over the sets of forward passes done, each set seen once."""

    def __init__(self, problem: Problem, device_of: Sequence[int], room: Floats) -> None:
        self.problem = problem
        self.device_of = tuple(device_of)
        self.room = room
        self.states_at_most = min(STATES_AT_MOST, STEPS_AT_MOST // problem.n_operators)

    def run(self) -> Need | bool | None:
        problem = self.problem
        state = _State.empty(problem)
        seen: set[int] = set()
        stack: list[tuple[_State, list[int]]] = []
        complete = True
        current: _State | None = self._settle(state)
        while True:
            if current is not None:
                if len(current.order) == problem.n_operators:
                    return Need(current.peak, tuple(current.order))
                if current.mask not in seen and len(seen) < self.states_at_most:
                    seen.add(current.mask)
                    stack.append((current, self._choices(current)))
                elif current.mask not in seen:
                    complete = False
            while stack and not stack[-1][1]:
                stack.pop()
            if not stack:
                return None if complete else False
            parent, choices = stack[-1]
            current = self._settle(parent.after(problem, self.device_of, choices.pop(0)))

    def _fits(self, state: _State, i: int) -> bool:
        d = self.device_of[i]
        return bool(state.used[d] + self.problem.activation[i] <= self.room[d])

    def _settle(self, state: _State) -> _State:
        """Run every forward pass that fits and leaves no device with more than before: this loses nothing."""
        problem, moved = self.problem, True
        while moved:
            moved = False
            for i in sorted(state.ready):
                if self._fits(state, i):
                    after = state.after(problem, self.device_of, i)
                    if (after.used <= state.used).all():
                        state, moved = after, True
        return state

    def _choices(self, state: _State) -> list[int]:
        """Passes that may come next; those that leave least in use first, then those of the latest operator."""
        fitting = [i for i in state.ready if self._fits(state, i)]

        def grows(i: int) -> tuple[float, int]:
            after = state.after(self.problem, self.device_of, i)
            return float((after.used - state.used).sum()), -i

        return sorted(fitting, key=grows)


@dataclass
class _State:
    """Forward passes done (and all backward passes that could follow), and what is in use."""

    mask: int
    order: list[int]
    ready: set[int]
    inputs_left: list[int]
    consumers_left: list[int]
    used: Floats
    peak: Floats

    @staticmethod
    def empty(problem: Problem) -> _State:
        inputs_left = [len(x) for x in problem.inputs]
        zero = np.zeros(problem.n_devices)
        return _State(
            0,
            [],
            {i for i, n in enumerate(inputs_left) if n == 0},
            inputs_left,
            [len(x) for x in problem.consumers],
            zero,
            zero,
        )

    def after(self, problem: Problem, device_of: Sequence[int], i: int) -> _State:
        """The state after the forward pass of i and all that it sets free."""
        new = _State(
            self.mask | 1 << i,
            [*self.order, i],
            self.ready - {i},
            self.inputs_left.copy(),
            self.consumers_left.copy(),
            self.used.copy(),
            self.peak,
        )
        new.used[device_of[i]] += problem.activation[i]
        new.peak = np.maximum(new.peak, new.used)
        for j in problem.consumers[i]:
            new.inputs_left[j] -= 1
            if not new.inputs_left[j]:
                new.ready.add(j)
        if problem.training:
            new._backward(problem, device_of, i)
        else:
            new._consumed(problem, device_of, i)
        return new

    def _backward(self, problem: Problem, device_of: Sequence[int], i: int) -> None:
        """The input gradients (each with its weight gradient at once) that operator i makes possible."""
        free = [i] if not self.consumers_left[i] else []
        while free:
            j = free.pop()
            self.used[device_of[j]] -= problem.activation[j]
            for k in problem.inputs[j]:
                self.consumers_left[k] -= 1
                if not self.consumers_left[k]:
                    free.append(k)

    def _consumed(self, problem: Problem, device_of: Sequence[int], i: int) -> None:
        """In inference an output is released when the last reader on its device has run; transfers leave at once."""
        local = [j for j in problem.consumers[i] if device_of[j] == device_of[i]]
        self.consumers_left[i] = len(local)
        if not local:
            self.used[device_of[i]] -= problem.activation[i]
        for j in problem.inputs[i]:
            if device_of[j] == device_of[i]:
                self.consumers_left[j] -= 1
                if not self.consumers_left[j]:
                    self.used[device_of[j]] -= problem.activation[j]
