"""Small problems for the tests of the solver: made by hand, read from configs/, or drawn at random from a seed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from planner.common.budget import Control
from planner.files import read_cluster, read_graph
from planner.objectives.options import SolveOptions
from planner.objectives.registry import solve
from planner.placement.layouts import family_placements
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import (
    ByDevice,
    Cluster,
    Device,
    DeviceType,
    Graph,
    Impossible,
    Link,
    Mode,
    NetworkLevel,
    Operator,
    Pass,
    PassTime,
    Placement,
    Problem,
    Stream,
    Work,
)
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.search import Incumbent, SearchParams, SearchState
from planner.timetable.timetable import Timetable
from planner.verification import Violation, verify_plan

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
GIGA = 1e9


def config(name: str, **flags: Any) -> Problem:
    """A problem of configs/ under some flags."""
    graph = read_graph(CONFIGS / name / "graph.yaml")
    cluster = read_cluster(CONFIGS / name / "cluster.yaml")
    return Problem(graph, cluster, **{"microbatches": graph.microbatches, **flags})


def looped(microbatches: int) -> ListSearch:
    """DeepSeek-V3's layers assigned round-robin to 8 devices, each with memory for 11 microbatches."""
    problem = config("deepseek-v3-units", microbatches=microbatches)
    placement = next(p for p in family_placements(problem) if p.origin == "interleaved x4")
    return ListSearch.of(problem, placement, 0)


def operator(name: str, *inputs: str, times: tuple[PassTime, ...] = (1.0, 1.0, 1.0), **more: Any) -> Operator:
    """An operator; as many passes as times, F first. All of its activation is held until W ends unless told."""
    more.setdefault("held_for_weight_grad", more.get("activation", 0.0))
    return Operator(name, dict(zip(Pass, times, strict=False)), inputs=inputs, **more)


def unit_cluster(n: int, memory: float | None = None, level: NetworkLevel | None = None, **more: Any) -> Cluster:
    """Equal devices g0, g1, ... of one type; ``level`` joins all pairs."""
    kind = DeviceType("unit", memory, **more)
    devices = tuple(Device(f"g{d}", "g", kind, None, memory) for d in range(n))
    return Cluster("units", devices, {"unit": kind}, within_node=level)


def two_nodes(cluster: Cluster, level: NetworkLevel) -> Cluster:
    """The cluster with its first device on a node of its own, which ``level`` joins to the other one."""
    first, *others = cluster.devices
    devices = (replace(first, node="alone"), *(replace(other, node="others") for other in others))
    return replace(cluster, devices=devices, between_nodes=level)


def posed(
    *operators: Operator, devices: int | Cluster = 1, microbatches: int = 1, training: bool = True, **flags: Any
) -> Problem:
    """A problem made of operators; ``devices``: how many equal ones without memory caps, or a cluster."""
    mode = Mode.TRAINING if training else Mode.INFERENCE
    cluster = unit_cluster(devices) if isinstance(devices, int) else devices
    return Problem(Graph("by hand", mode, microbatches, operators), cluster, microbatches, **flags)


def chain(n: int, times: tuple[PassTime, ...] = (1.0, 1.0, 1.0), **more: Any) -> tuple[Operator, ...]:
    """Operators s0 -> s1 -> ... with the same costs."""
    return tuple(operator(f"s{k}", *([f"s{k - 1}"] if k else []), times=times, **more) for k in range(n))


def random_problem(
    seed: int,
    *,
    operators: int = 6,
    devices: int = 4,
    microbatches: tuple[int, ...] = (1, 2, 3, 4, 6),
    copies: tuple[int, ...] = (1, 1, 2, 3),
    training: bool | None = None,
    memory: bool = True,
    transfers: bool = True,
    instant: bool = True,
    layouts: bool = False,
) -> Problem | None:
    """A problem with some of everything the formats know, the same for the same seed; None where a group of
    operators is left without a device.

    ``operators`` and ``devices`` are the most there may be. ``instant``: forward passes that take memory may have
    no length.
    """
    r = random.Random(seed)
    training = r.random() < 0.6 if training is None else training
    whole = r.random() < 0.6  # whole seconds, or fractions
    unit = r.choice([1, 1, 1024**3, 0.1])  # of memory
    n, n_devices = r.randint(1, operators), r.randint(1, devices)
    types = {
        name: DeviceType(name, None, speed * 1e12, speed * 1e11, 0.5, transfers and r.random() < 0.25)
        for name, speed in (("a", 1), ("b", 2))
    }
    mixed = r.random() < 0.4
    kinds = [types[r.choice("ab") if mixed else "a"] for _ in range(n_devices)]
    names = [f"g{d}" for d in range(n_devices)]

    def seconds(shortest: float) -> float:
        if not shortest and r.random() < 0.1:
            return 0.0
        return float(r.randint(1, 5)) if whole else round(r.uniform(0.1, 5), r.choice([1, 3, 6]))

    def cost(shortest: float = 0.0) -> PassTime:
        kind = r.random()
        if kind < 0.7:
            return seconds(shortest)
        by_name = {name: seconds(shortest) for name in (*types, *names) if r.random() < 0.6}
        if kind < 0.9 and by_name:
            return ByDevice(by_name)
        return Work(r.choice([1e12, 3e12] if shortest else [0, 1e12, 3e12]), r.choice([0, 1e11]))

    made: list[Operator] = []
    for i in range(n):
        activation = r.choice([0, 1, 1, 2, 3]) * unit if memory else 0
        times = {Pass.F: cost(0.0 if instant or not activation else 1.0)}
        if training:
            times[Pass.I] = cost()
            if r.random() < 0.6:
                times[Pass.W] = cost()
        made.append(
            Operator(
                f"o{i}",
                times,
                inputs=tuple(f"o{j}" for j in range(i) if r.random() < (0.8 if j == i - 1 else 0.2)),
                stream=Stream.COMM if r.random() < 0.25 else Stream.COMPUTE,
                parameters=r.choice([0, 1, 2]) * unit if memory else 0,
                activation=activation,
                held_for_weight_grad=activation / r.choice([1, 2]),
                output=r.choice([0, GIGA, 5 * GIGA]),
                colocate=r.choice([None, None, None, None, "x", "y"]),
                devices=(r.choice([*names, "a"]),) if mixed and r.random() < 0.15 else None,
            )
        )
    total = sum(o.parameters + o.activation for o in made) / unit
    cap = None if not memory or r.random() < 0.3 else round(total / n_devices * r.choice([0.8, 1, 1.3, 2, 3])) * unit
    caps = [cap] * n_devices
    own = random.Random(f"caps {seed}")
    if cap is not None and own.random() < 0.4:
        caps = [round(cap / unit * own.choice([0.5, 1, 1.5])) * unit for _ in names]
    nodes = [r.choice([None, "n0", "n1"]) for _ in names]
    levels = [r.choice([None, NetworkLevel(None, 0.5), NetworkLevel(GIGA), NetworkLevel(GIGA, 0.25)]) for _ in "wb"]
    within, between = levels if transfers else (None, None)
    link = transfers and n_devices > 1 and r.random() < 0.3
    cluster = Cluster(
        "random",
        tuple(Device(*row) for row in zip(names, "g" * n_devices, kinds, nodes, caps, strict=True)),
        types,
        within,
        between,
        (Link("g0", "g1", NetworkLevel(2 * GIGA, 0.1)),) if link else (),
    )
    k = r.choice(copies)
    families = ["auto"] * 6 + ["linear", "interleaved", "vshape", "wave"] + ["bidirectional"] * (k > 1)
    layout = r.choice(families) if layouts else "auto"
    m = r.choice(microbatches)
    graph = Graph(f"random {seed}", Mode.TRAINING if training else Mode.INFERENCE, m, tuple(made))
    try:
        return Problem(graph, cluster, m, copies=k, layout=layout)
    except Impossible:
        return None


def random_placement(problem: Problem, seed: int) -> Placement:
    """One of the placements that the problem allows, of as many copies as it allows."""
    r = random.Random(seed)
    copies = []
    for _ in range(problem.copies):
        copy = [0] * problem.n_operators
        for members, allowed in zip(problem.groups, problem.group_runs_on, strict=True):
            device = r.choice(np.flatnonzero(allowed).tolist())
            for i in members:
                copy[i] = device
        copies.append(tuple(copy))
    return Placement(tuple(copies))


def random_search(seed: int, **given: Any) -> ListSearch | None:
    """The list scheduler on a random placement of a random problem; None where nothing fits."""
    problem = random_problem(seed, **given)
    if problem is None:
        return None
    try:
        return ListSearch.of(problem, random_placement(problem, seed), seed)
    except DoesNotFit:
        return None


def listed(seed: int, **given: Any) -> ListSearch | None:
    """The best list schedule by known rules in ``random_search``; None where nothing fits."""
    search = random_search(seed, **given)
    if search is None:
        return None
    search.try_known_rules(Control())
    assert search.best is not None
    return search


def violations(problem: Problem, timetable: Timetable) -> list[Violation]:
    """What ``verify`` finds in the plan of a timetable."""
    plan = build_plan(
        problem,
        timetable,
        origin="solve",
        status="feasible" if timetable.makespan(problem) else "optimal",
        lower_bound=0.0,
        placement_lower_bound=0.0,
        options={},
        solve_seconds=0.0,
    )
    return checked(problem, plan)


def checked(problem: Problem, plan: Plan) -> list[Violation]:
    """What ``verify`` finds in a plan of a problem."""
    return verify_plan(
        plan,
        problem.graph,
        problem.cluster,
        copies=problem.copies,
        memory_cap=problem.memory_cap,
        microbatches=problem.microbatches,
        variants=problem.variants,
    )


BRIEF = SearchParams.for_tests()


def solved(problem: Problem, seconds: float = 60.0, params: SearchParams = BRIEF, **options: Any) -> Plan:
    """The plan of a problem by the shipped programme with little effort, no baselines beside it."""
    return solve(problem, Control(seconds), SolveOptions({}, params=params, **options))


def state_of(problem: Problem, params: SearchParams = BRIEF) -> SearchState:
    """The state of a search that has not begun, without baselines."""
    return SearchState(Incumbent(problem, Control(), 1e-6, lambda _: None), {}, lambda _: {}, 0, 2, params)
