"""The critical path of a plan in figures: what takes its time, on which devices, and what joins its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from planner.events import Events, Wait
from planner.problem.graph import PASS_ORDER, STEP_ORDER
from planner.report.causes import Waits, critical_path


class Part(StrEnum):
    """What takes time on the critical path."""

    F = "forward passes"
    I = "gradients of inputs"
    W = "gradients of weights"
    R = "reduction of gradients"
    U = "updates by the optimizer"
    G = "gathering parameters"
    COMM = "operators on the communication stream"
    TRANSFER = "transfers"
    NOTHING = "nothing: the plan starts a task later than it could"


COMPUTE = (Part.F, Part.I, Part.W, Part.U)
"""The parts in which the compute stream of a device works."""

PART_OF = [Part[p.name] for p in (*PASS_ORDER, *STEP_ORDER)]


@dataclass(frozen=True)
class CriticalPath:
    """The critical path of a step of ``makespan`` seconds.

    ``parts``: seconds by what takes them; they add up to the makespan. ``work``: seconds by operator name, of passes
    and step tasks. ``devices``: the same by device name, transfers left out. ``links``: seconds of transfers by
    (source, target). ``waits``: how many of its ``nodes`` start when the one before them ends, by what they waited for.
    """

    makespan: float
    nodes: int
    parts: Mapping[Part, float]
    work: Mapping[str, float]
    devices: Mapping[str, float]
    links: Mapping[tuple[str, str], float]
    waits: Mapping[Wait, int]

    def share(self, *parts: Part) -> float:
        """The share of the makespan that these parts take."""
        return sum(self.parts.get(part, 0.0) for part in parts) / self.makespan if self.makespan > 0 else 0.0


def path_of(events: Events, makespan: float) -> CriticalPath:
    """The figures of the critical path of a plan of ``makespan`` seconds."""
    nodes, path = events.nodes, critical_path(events)
    parts, work, devices = Counter[Part](), Counter[str](), Counter[str]()
    links, waits = Counter[tuple[str, str]](), Counter[Wait]()
    of = Waits(events)
    at = 0.0
    for node, following in pairwise([*path, -1]):
        start, end = of.start[node], of.end[node]
        until = makespan if following < 0 else of.start[following]
        own, late = max(0.0, min(end, until) - start), max(0.0, start - at)
        here = nodes.devices[int(nodes.device[node])]
        if node >= nodes.n_tasks:
            part = Part.TRANSFER
            links[here, nodes.devices[int(nodes.target[node])]] += own
        else:
            part = PART_OF[int(nodes.pass_[node])]
            if nodes.comm[node] and not nodes.once[node]:
                part = Part.COMM
            work[nodes.operators[int(nodes.operator[node])]] += own
            devices[here] += own
        parts[part] += own
        if late > of.tolerance:
            parts[Part.NOTHING] += late
        at = start + own
        if following >= 0:
            waits[next(Wait(wait) for _, wait, before in of.of(following) if before == node)] += 1
    return CriticalPath(makespan, len(path), dict(parts), dict(work), dict(devices), dict(links), dict(waits))
