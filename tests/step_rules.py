"""A check of step tasks and exchanged gradients that shares no code with what places them."""

from __future__ import annotations

import itertools
import math

from planner.problem import Problem
from planner.timetable.timetable import Timetable


def step_violations(posed: Problem, timetable: Timetable) -> list[str]:
    """What the rules of the whole step forbid; rules of microbatches alone are checked elsewhere."""
    found: list[str] = []
    ends = timetable.ends(posed)
    slack = 1e-9 * timetable.makespan(posed)
    device_of = timetable.placement.device_of
    busy: dict[tuple[object, ...], list[tuple[float, float]]] = {}
    for i, p, m in itertools.product(range(posed.n_operators), range(3), range(posed.microbatches)):
        if not math.isnan(timetable.start[i, p, m]):
            d = timetable.device(i, m)
            stream = "comm" if posed.on_comm[i] else "compute"
            busy.setdefault((stream, d), []).append((timetable.start[i, p, m], ends[i, p, m]))
    sends = [(x.source, x.target, x.start, x.end) for x in (*timetable.transfers, *timetable.exchanges)]
    for source, target, start, end in sends:
        busy.setdefault(("channel", source, target), []).append((start, end))
        for d in (source, target):
            if posed.exclusive[d]:
                busy.setdefault(("compute", d), []).append((start, end))

    arrived: dict[tuple[int, int, int], list[float]] = {}
    for x in timetable.exchanges:
        arrived.setdefault((x.operator, x.copy, x.target), []).append(x.end)
        if device_of[x.copy][x.operator] != x.source:
            found.append(f"{x} comes from elsewhere")
        if x.start < backward_end(timetable, ends, x.operator, x.copy) - slack:
            found.append(f"{x} starts before the gradient is there")
        if abs(x.end - x.start - posed.gradient_transfer(x.operator, x.source, x.target)) > slack:
            found.append(f"{x} has a wrong length")

    step = timetable.step
    reduced = [0.0]
    for k, i in itertools.product(range(len(device_of)), range(posed.n_operators)):
        d = device_of[k][i]
        ready = backward_end(timetable, ends, i, k)
        others = {each[i] for each in device_of}
        for sender in range(len(device_of)):
            if posed.gradient[i] > 0 and device_of[sender][i] != d:
                ready = max(ready, backward_end(timetable, ends, i, sender))
                if posed.gradient_transfer(i, device_of[sender][i], d) > 0:
                    came = arrived.get((i, sender, d), [])
                    if len(came) != 1:
                        found.append(f"the gradient of copy {sender} of {i} comes {len(came)} times to {d}")
                    ready = max([ready, *came])
        assert d in others
        for s in range(3):
            if bool(posed.has_step[i, s]) != (step is not None and not math.isnan(step[k, i, s])):
                found.append(f"step task {s} of copy {k} of {i} is missing or too many")
            elif posed.has_step[i, s]:
                assert step is not None
                begin, seconds = step[k, i, s], posed.step_duration[i, s, d]
                if begin < ready - slack:
                    found.append(f"step task {s} of copy {k} of {i} starts at {begin}, before {ready}")
                ready = begin + seconds
                busy.setdefault(("compute" if s == 1 else "comm", d), []).append((begin, ready))
                if s == 0:
                    reduced.append(ready)
    if posed.graph.clip_gradients and step is not None:
        for k, i in itertools.product(range(len(device_of)), range(posed.n_operators)):
            if step[k, i, 1] < max(reduced) - slack:
                found.append(f"copy {k} of {i} is updated before all reductions")
    for resource, spans in busy.items():
        spans.sort()
        for (_, before), (after, _) in itertools.pairwise(spans):
            if after < before - slack:
                found.append(f"{resource} does two things at {after}")
    return found


def backward_end(timetable: Timetable, ends: object, i: int, copy: int) -> float:
    """The end of the last I and W of a copy of an operator; 0 where no microbatch uses it."""
    own = [m for m, k in enumerate(timetable.copy_of) if k == copy]
    every = [ends[i, p, m] for m in own for p in (1, 2)]  # type: ignore[index]
    return max([0.0, *(end for end in every if not math.isnan(end))])
