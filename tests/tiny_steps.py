"""Random problems of whole steps, so small that ``exhaustive`` decides each in less than a second."""

from __future__ import annotations

import random

from planner.problem import (
    ByDevice,
    Cluster,
    Device,
    DeviceType,
    Graph,
    Impossible,
    Mode,
    NetworkLevel,
    Operator,
    Pass,
    Problem,
    Stream,
)
from planner.problem.graph import STEP_ORDER, PassTime, Variant

SEEDS = (
    6, 11, 13, 18, 22, 27, 39, 59, 76, 78, 114, 150, 278, 408, 410, 422, 486, 524, 568, 580, 673, 703, 729, 763, 773,
    891, 955, 1094, 1139, 1186,
)  # fmt: skip
"""Of problems with a choice of variants, and step tasks or exchanges. Of the optima, 16 have two copies, 10 of these
in different variants and 14 with exchanges that take time; 9 would be shorter without clipping, 8 without memory caps,
22 longer with base alone; 2 problems fit nowhere."""


def tiny_problems() -> list[Problem]:
    """The problems of these seeds."""
    found = [tiny_problem(seed) for seed in SEEDS]
    return [problem for problem in found if problem is not None]


def tiny_problem(seed: int) -> Problem | None:
    """The problem of that seed; None where an operator is left without a device."""
    r = random.Random(f"whole step {seed}")
    n, n_devices, microbatches = r.choice([1, 1, 2, 2, 3]), r.choice([1, 2, 2, 3]), r.choice([1, 2, 2, 3])
    copies = r.choice([1, 2, 2]) if n * microbatches <= 4 else 1
    alike = r.random() < 0.7
    whole = r.random() < 0.7

    def amount(least: float = 0.0) -> float:
        return float(r.randint(1, 4)) if whole else round(r.uniform(max(0.1, least), 4), 1)

    def time() -> PassTime:
        if alike or r.random() < 0.5:
            return amount()
        return ByDevice({f"g{d}": amount() for d in range(n_devices) if r.random() < 0.8 or d == 0})

    def sizes() -> tuple[float, float, float]:
        activation = float(r.choice([0, 1, 2, 3]))
        return float(r.choice([0, 1, 2])), activation, activation / r.choice([1, 2])

    def operator(i: int) -> Operator:
        times = {Pass.F: time(), Pass.I: time()} | ({Pass.W: time()} if r.random() < 0.6 else {})
        variants = []
        for k in range(r.choice([0, 1, 1, 1, 2])):
            own = {p: time() if r.random() < 0.6 else cost for p, cost in times.items()}
            if r.random() < 0.3:
                own.pop(Pass.W, None)
            parameters, activation, held = sizes()
            if r.random() < 0.5:  # slower, and smaller
                own[Pass.I] = 3 + amount()
                activation, held = activation / 4, held / 4
            variants.append(Variant(f"v{k}", own, parameters, activation, held))
        parameters, activation, held = sizes()
        return Operator(
            f"o{i}",
            times,
            tuple(f"o{j}" for j in range(i) if r.random() < (0.8 if j == i - 1 else 0.3)),
            Stream.COMM if r.random() < 0.2 else Stream.COMPUTE,
            parameters=parameters,
            activation=activation,
            held_for_weight_grad=held,
            output=float(r.choice([0, 1, 2])),
            colocate="x" if r.random() < 0.15 else None,
            variants=tuple(variants),
            step={p: time() for p in STEP_ORDER if r.random() < 0.5},
            gradient=float(r.choice([0, 1, 3])),
        )

    operators = tuple(map(operator, range(n)))
    kind = DeviceType("unit", exclusive_transfers=r.random() < 0.25)
    most = sum(o.parameters + o.activation * microbatches for o in operators)
    cap = None if r.random() < 0.3 else max(1.0, round(most * r.choice([0.5, 0.7, 1.0])))
    level = r.choice([None, NetworkLevel(None, 0.5), NetworkLevel(1.0), NetworkLevel(2.0, 0.5)])
    cluster = Cluster(
        "tiny", tuple(Device(f"g{d}", "g", kind, None, cap) for d in range(n_devices)), {"unit": kind}, level
    )
    clip = r.random() < 0.5
    graph = Graph(f"whole step {seed}", Mode.TRAINING, microbatches, operators, clip_gradients=clip)
    names = sorted({v.name for o in operators for v in o.variants})
    allowed = tuple(r.sample(["base", *names], r.randint(1, len(names)))) if names and r.random() < 0.2 else None
    try:
        return Problem(graph, cluster, microbatches, copies=copies, variants=allowed)
    except Impossible:
        return None
