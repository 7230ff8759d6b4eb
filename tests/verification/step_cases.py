"""Valid plans of whole steps, to damage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from handmade import cluster, graph, operator, problem
from whole_steps import plan_of_step, whole_step

from planner.plan.plan import Plan
from planner.problem import ByDevice, Mode, Operator, Pass, Problem, Stream
from planner.problem.graph import Variant

Case = tuple[Problem, Plan]

LAZY, FAT = 1, 2  # variants of a


def operators() -> tuple[Operator, ...]:
    """a has R, U and G; b, on the comm stream, has U alone; c has G alone, and its copies exchange nothing."""
    lazy = Variant("lazy", {Pass.F: 1.0, Pass.I: 3.5}, 100.0, 2.0, 2.0)
    fat = Variant("fat", {Pass.F: 0.5, Pass.I: 1.0, Pass.W: ByDevice({"gpu0": 0.5, "gpu1": 0.75})}, 130.0, 10.0, 1.0)
    a = operator(
        "a", f=1, i=2, w=1, parameters=100, activation=10, held_for_weight_grad=4, output=3, gradient=1.0,
        step={Pass.R: 1.0, Pass.U: 0.5, Pass.G: 0.25}, variants=(lazy, fat),
    )  # fmt: skip
    b = operator("b", "a", f=2, i=2, stream=Stream.COMM, activation=3, gradient=3.0, step={Pass.U: 1.0})
    c = operator("c", "b", f=1, i=1, w=1, activation=5, held_for_weight_grad=5, step={Pass.G: 0.5})
    return a, b, c


def posed(clip: bool = True, exclusive: bool = False, network: bool = True, copies: int = 2) -> Problem:
    given: dict[str, Any] = {"latency": 0.5, "bandwidth": 2.0} if network else {}
    the_graph = replace(graph(*operators(), microbatches=3), clip_gradients=clip)
    return problem(the_graph, cluster(3, exclusive=exclusive, **given), copies=copies, memory_cap=1000)


def case(
    the_problem: Problem,
    device_of: list[list[int]],
    copy_of: list[int],
    variant_of: list[tuple[int, ...]],
) -> Case:
    return the_problem, plan_of_step(the_problem, whole_step(the_problem, device_of, copy_of, variant_of))


OPPOSED = [[0, 1, 1], [1, 0, 0]]
VARIED = [(LAZY, 0, 0), (FAT, 0, 0)]


def clipped() -> Case:
    """Two copies that run in opposite directions, a in another variant in each."""
    return case(posed(), OPPOSED, [0, 1, 0], VARIED)


def unclipped() -> Case:
    return case(posed(clip=False), OPPOSED, [0, 1, 0], VARIED)


def exclusive() -> Case:
    return case(posed(exclusive=True), OPPOSED, [0, 1, 0], VARIED)


def free_exchanges() -> Case:
    """No network entry: gradients arrive at once, and none is listed."""
    return case(posed(network=False), OPPOSED, [0, 1, 0], VARIED)


def idle_copy() -> Case:
    """The second copy runs no microbatch, but takes part in the step; a on one device in both."""
    return case(posed(), [[0, 1, 1], [0, 0, 2]], [0, 0, 0], VARIED)


def single() -> Case:
    """One copy, without exchanges."""
    return case(posed(copies=1), [[0, 1, 1]], [0, 0, 0], [(FAT, 0, 0)])


def inference() -> Case:
    """Variants, but no step tasks and no exchanges."""
    the_problem = posed()
    the_problem = replace(the_problem, graph=replace(the_problem.graph, mode=Mode.INFERENCE))
    return case(the_problem, OPPOSED, [0, 1, 0], VARIED)


CASES = {f.__name__: f for f in (clipped, unclipped, exclusive, free_exchanges, idle_copy, single, inference)}


def random_case(seed: int) -> Case:
    """A random problem of up to four operators, placed anyhow, its microbatches one after the other."""
    rng = np.random.default_rng(seed)

    def pick(*values: float) -> float:
        return float(rng.choice(values))

    def times() -> dict[Pass, float]:
        found = {Pass.F: pick(0, 0.1, 1, 1.7), Pass.I: pick(0, 0.3, 1)}
        return found | ({Pass.W: pick(0.2, 1)} if rng.random() < 0.6 else {})

    def sizes() -> dict[str, float]:
        activation = pick(0, 0.1, 1, 3.3)
        held = activation * pick(0, 0.3, 1)
        return {"parameters": pick(0, 0.1, 5), "activation": activation, "held_for_weight_grad": held}

    made = []
    for k in range(int(rng.integers(1, 5))):
        inputs = tuple(f"o{j}" for j in range(k) if rng.random() < 0.5)
        variants = tuple(Variant(f"v{j}", times(), **sizes()) for j in range(int(rng.integers(0, 3))))
        step = {p: pick(0, 0.25, 1) for p in (Pass.R, Pass.U, Pass.G) if rng.random() < 0.6}
        stream = Stream.COMM if rng.random() < 0.3 else Stream.COMPUTE
        made.append(
            Operator(
                f"o{k}", times(), inputs, stream, output=pick(0, 1), gradient=pick(0, 0, 1, 4), step=step,
                variants=variants, **sizes(),
            )
        )  # fmt: skip
    mode = Mode.INFERENCE if rng.random() < 0.15 else Mode.TRAINING
    microbatches, copies, devices = (int(rng.integers(1, 4)) for _ in range(3))
    the_graph = replace(graph(*made, microbatches=microbatches, mode=mode), clip_gradients=rng.random() < 0.5)
    network = [{}, {"latency": 0.0, "bandwidth": 3.0}, {"latency": 0.1}][int(rng.integers(3))]
    the_problem = problem(the_graph, cluster(devices, exclusive=rng.random() < 0.3, **network), copies=copies)
    return case(
        the_problem,
        [rng.integers(devices, size=len(made)).tolist() for _ in range(copies)],
        rng.integers(copies, size=microbatches).tolist(),
        [tuple(int(rng.integers(len(o.versions))) for o in made) for _ in range(copies)],
    )
