"""The cases of the race: each is a graph, a cluster and flags, all generated here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from racing import general
from racing.data import FLEXIBLE, LAWRENCE, ZERO_BUBBLE, Job, flexible_job_shop, job_shop

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIZES = ((4, 8), (4, 12), (6, 12), (8, 16), (8, 20), (8, 24))
"""Devices and microbatches."""

BOTH_WAYS, STAGES, VSHAPE, FREE, WHOLE = "bidirectional", "linear", "vshape", "free", "whole"
"""Placements that rivals are given: two mirrored copies, a stage a device, a V; ``FREE``: rivals choose the devices,
``WHOLE``: the devices of every copy, and the copy of every microbatch."""

GENERAL_LIMIT = 20.0
"""Most seconds of a racer on a general problem."""


@dataclass(frozen=True)
class Case:
    """The input of `planner solve`, and the placement that rivals are given."""

    name: str
    group: str
    graph: str
    cluster: str
    flags: tuple[str, ...]
    placement: str
    known: float | None = None  # the best known makespan in the literature, seconds
    regular: bool = True  # runs without --all


def pipeline(
    name: str,
    group: str,
    stages: int,
    microbatches: int,
    memory: int,
    flags: tuple[str, ...],
    placement: str,
    *,
    times: tuple[float, float, float] = (1, 1, 1),
    latency: float = 0,
    devices: int | None = None,
    regular: bool = True,
) -> Case:
    """A chain of equal stages of 1 B parameters and 1 B activation, held until W, on equal devices."""
    cost = "{{forward: {}, input_grad: {}, weight_grad: {}}}".format(*(f"{t!r}" for t in times))
    operators = "".join(
        f"  - {{name: stage{s}, time: {cost}, parameters: 1, activation: 1"
        + (f", inputs: [stage{s - 1}]}}\n" if s else "}\n")
        for s in range(stages)
    )
    graph = f"schema: planner/graph@1\nname: {name}\nmicrobatches: {microbatches}\noperators:\n{operators}"
    cluster = (
        f"schema: planner/cluster@1\nname: {name}-devices\n"
        f"device_types:\n  unit: {{memory: {memory}}}\n"
        f"devices:\n  - {{name: gpu, type: unit, count: {devices or stages}}}\n"
    )
    if latency:
        cluster += f"network:\n  within_node: {{latency: {latency!r}}}\n"
    return Case(name, group, graph, cluster, flags, placement, regular=regular)


def both_ways(name: str, group: str, p: int, m: int, activations: int | None = None, **more: object) -> Case:
    """Two copies that may run in opposite directions; memory for them and p + 1 activations, or as many as given."""
    memory = 2 + (p + 1 if activations is None else activations)
    return pipeline(name, group, p, m, memory, ("--copies", "2"), BOTH_WAYS, **more)  # type: ignore[arg-type]


def shop(name: str, jobs: list[Job], machines: int, known: int) -> Case:
    """A (flexible) job shop: one chain a job, forward passes only, one microbatch."""
    lines = []
    for j, job in enumerate(jobs):
        for o, alternatives in enumerate(job):
            seconds = ", ".join(f"m{machine}: {duration}" for machine, duration in sorted(alternatives))
            reads = f", inputs: [job{j}_op{o - 1}]" if o else ""
            lines.append(f"  - {{name: job{j}_op{o}, time: {{forward: {{{seconds}}}}}{reads}}}\n")
    graph = f"schema: planner/graph@1\nname: {name}\nmode: inference\noperators:\n" + "".join(lines)
    cluster = (
        f"schema: planner/cluster@1\nname: {name}-machines\ndevice_types:\n  machine: {{}}\n"
        f"devices:\n  - {{name: m, type: machine, count: {machines}}}\n"
    )
    return Case(name, "job shop", graph, cluster, (), FREE, known)


def job_shops() -> Iterator[Case]:
    """Those of configs/ and those of `racing.data`."""
    for name, known in (("ft06", 55), ("sfjs05", 119), ("mfjs01", 468)):
        folder = CONFIGS / f"jobshop-{name}"
        graph, cluster = ((folder / f"{what}.yaml").read_text(encoding="utf-8") for what in ("graph", "cluster"))
        yield Case(name, "job shop", graph, cluster, (), FREE, known)
    for name, (machines, known, text) in FLEXIBLE.items():
        yield shop(name, flexible_job_shop(text), machines, known)
    for name, (known, text) in LAWRENCE.items():
        yield shop(name, job_shop(text), 5, known)


def measured() -> Iterator[Case]:
    """Zero Bubble's measured stages with memory for p and 2 p activations; of each model the first n is regular."""
    seen = set()
    for row in ZERO_BUBBLE:
        p, n, h = row["p"], row["n"], row["h"]
        for times_p in (1, 2):
            yield pipeline(
                f"zb-{p}x{n}-h{h}-{times_p}p",
                "measured stages",
                p,
                n,
                1 + times_p * p,
                ("--layout", "linear"),
                STAGES,
                times=(row["F"] / 1e6, row["B"] / 1e6, row["W"] / 1e6),
                latency=row["c"] / 1e6,
                regular=h not in seen,
            )
        seen.add(h)


def drawn() -> Iterator[Case]:
    """General problems, in which rivals choose everything."""
    for each in general.general():
        flags = ("--copies", str(each.copies)) if each.copies > 1 else ()
        yield Case(each.name, each.group, each.graph, each.cluster, flags, WHOLE)


def cases() -> list[Case]:
    """All cases, in the order in which they are run and shown."""
    uneven = (1, 1.2, 0.8)
    found = [both_ways(f"unit-{p}x{m}", "unit times", p, m) for p, m in SIZES]
    found += [both_ways(f"unit-16x{m}", "unit times, 16 devices", 16, m) for m in (32, 64)]
    found += [both_ways(f"unit-8x{m}", "unit times, long steps", 8, m) for m in (200, 2000)]
    found += [both_ways(f"uneven-{p}x{m}", "F, I, W = 1, 1.2, 0.8", p, m, times=uneven) for p, m in SIZES]
    found += [
        both_ways(f"uneven-{p}x{m}-transfer", "F, I, W = 1, 1.2, 0.8, transfers 0.1", p, m, times=uneven, latency=0.1)
        for p, m in SIZES
    ]
    found += measured()
    for p in (4, 8):
        flags, half = ("--layout", "vshape", "--chunks", "2"), (0.5, 0.5, 0.5)
        found.append(
            pipeline(
                f"vshape-{p}x20", "two chunks a device", 2 * p, 20, 2 + 2 * p, flags, VSHAPE, times=half, devices=p
            )
        )
    found += [both_ways(f"unit-8x20-room{a}", "unit times, little memory", 8, 20, a) for a in (8, 7, 6, 5)]
    return [*found, *job_shops(), *drawn()]
