"""Problems for the tests of baselines, and a check of timetables that shares no code with the replay."""

from __future__ import annotations

import itertools
import math

from planner.problem import (
    PASS_ORDER,
    Cluster,
    Device,
    DeviceType,
    Graph,
    Mode,
    NetworkLevel,
    Operator,
    Problem,
    Stream,
)
from planner.timetable.timetable import Timetable

# DeepSeek-V3 on H800, milliseconds F, I, W: means over the layers of the public profile
# (deepseek-ai/profile-data, train.json, one overlapped chunk of four MoE layers).
DEEPSEEK = {
    "attn": (4.36975, 9.34075, 2.3885),
    "dispatch": (6.69025, 7.48675),
    "mlp": (4.60375, 5.306, 5.06275),
    "combine": (8.684, 5.76925),
}


def cluster(devices: int, latency: float | None = None, exclusive: bool = False) -> Cluster:
    kind = DeviceType("t", exclusive_transfers=exclusive)
    network = None if latency is None else NetworkLevel(None, latency)
    return Cluster("c", tuple(Device(f"d{k}", "d", kind) for k in range(devices)), {"t": kind}, network)


def operator(name: str, times: tuple[float, ...], inputs: tuple[str, ...] = (), **fields: object) -> Operator:
    return Operator(name, dict(zip(PASS_ORDER, times, strict=False)), inputs, **fields)  # type: ignore[arg-type]


def problem(operators: list[Operator], where: Cluster, microbatches: int, mode: Mode = Mode.TRAINING) -> Problem:
    return Problem(Graph("g", mode, microbatches, tuple(operators)), where, microbatches)


def chain(
    devices: int,
    microbatches: int,
    times: tuple[float, ...] = (1.0, 1.0, 1.0),
    latency: float | None = None,
    length: int | None = None,
    mode: Mode = Mode.TRAINING,
    exclusive: bool = False,
) -> Problem:
    """One operator after another, as many as devices where no length is given."""
    operators = [
        operator(f"s{k}", times, (f"s{k - 1}",) if k else (), activation=1.0, held_for_weight_grad=1.0)
        for k in range(length or devices)
    ]
    return problem(operators, cluster(devices, latency, exclusive), microbatches, mode)


def deepseek(layers: int = 32, devices: int = 8, microbatches: int = 20, latency: float = 1.2) -> Problem:
    operators: list[Operator] = []
    for layer in range(layers):
        for name, times in DEEPSEEK.items():
            inputs = (operators[-1].name,) if operators else ()
            stream = Stream.COMM if len(times) == 2 else Stream.COMPUTE
            operators.append(operator(f"layer.{layer}.{name}", times, inputs, stream=stream))
    return problem(operators, cluster(devices, latency), microbatches)


def violations(timetable: Timetable, p: Problem) -> list[str]:
    """What rules 2 to 4 of a valid plan forbid."""
    found: list[str] = []
    slack = 1e-9 * timetable.makespan(p)
    end = timetable.ends(p)
    busy: dict[object, list[tuple[float, float]]] = {}
    arrived = {(x.operator, x.pass_, x.microbatch, x.source, x.target): x for x in timetable.transfers}
    if len(arrived) != len(timetable.transfers):
        found.append("a transfer is made twice")
    for x in timetable.transfers:
        busy.setdefault(("channel", x.source, x.target), []).append((x.start, x.end))
        if abs(x.end - x.start - p.transfer(x.operator, x.source, x.target)) > slack:
            found.append(f"{x} has a wrong length")
        for d in (x.source, x.target):
            if p.exclusive[d]:
                busy.setdefault((d, False), []).append((x.start, x.end))
    for m in range(p.microbatches):
        at = [timetable.device(i, m) for i in range(p.n_operators)]
        for i in range(p.n_operators):
            for q in range(3):
                if p.has_pass[i, q] != (not math.isnan(timetable.start[i, q, m])):
                    found.append(f"task {i, q, m} is missing or too many")
                elif p.has_pass[i, q] and p.duration[i, q, at[i]] > 0:
                    busy.setdefault((at[i], bool(p.on_comm[i])), []).append((timetable.start[i, q, m], end[i, q, m]))
            pairs = [((i, 0), (j, 0)) for j in p.consumers[i]]
            if p.training:
                pairs += [((j, 1), (i, 1)) for j in p.consumers[i]] + [((i, 0), (i, 1))]
                pairs += [((i, 1), (i, 2))] if p.has_pass[i, 2] else []
            for (a, qa), (b, qb) in pairs:
                ready = end[a, qa, m]
                if at[a] != at[b] and p.transfer(i, at[a], at[b]) > 0:
                    x = arrived.get((i, qa, m, at[a], at[b]))
                    if x is None or x.start < ready - slack:
                        found.append(f"transfer of {i} after {a, qa, m}: {x}")
                        continue
                    ready = x.end
                if timetable.start[b, qb, m] < ready - slack:
                    found.append(f"{b, qb, m} starts before {a, qa, m} allows")
    for resource, spans in busy.items():
        spans.sort()
        for (_, before), (after, _) in itertools.pairwise(spans):
            if after < before - slack:
                found.append(f"{resource} does two things at {after}")
    return found
