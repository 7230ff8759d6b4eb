"""Valid plans to damage, and ways to damage them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from handmade import cluster, graph, operator, problem, sequential

from planner.plan.build import build_plan
from planner.plan.plan import BaselineFigures, Plan
from planner.problem import (
    PASS_ORDER,
    ByDevice,
    Cluster,
    Device,
    DeviceType,
    Link,
    Mode,
    NetworkLevel,
    Pass,
    Problem,
    Stream,
    Work,
)
from planner.verification import Violation, verify_plan

Case = tuple[Problem, Plan]


def planned(posed: Problem, device_of: list[list[int]], copy_of: list[int] | None = None) -> Case:
    plan = build_plan(
        posed,
        sequential(posed, device_of, copy_of),
        origin="solve",
        status="feasible",
        lower_bound=1.0,
        placement_lower_bound=2.0,
        options={"copies": posed.copies},
        solve_seconds=0.0,
        baselines=[BaselineFigures("gpipe", reason="does not apply")],
    )
    return posed, plan


def check(posed: Problem, plan: Plan) -> list[Violation]:
    return verify_plan(
        plan,
        posed.graph,
        posed.cluster,
        copies=posed.copies,
        memory_cap=posed.memory_cap,
        microbatches=posed.microbatches,
        variants=posed.variants,
    )


def two_stages(exclusive: bool = False, copies: int = 1, memory_cap: float | None = 1000) -> Problem:
    """a -> b on the compute stream, c on the communication stream beside b, d joins and ends."""
    a = operator("a", f=1, i=2, w=1, output=3, activation=10, held_for_weight_grad=4, parameters=100)
    b = operator("b", "a", f=2, i=2, w=2, activation=7.5, held_for_weight_grad=7.5, parameters=50.5)
    c = operator("c", "a", f=1, i=1, stream=Stream.COMM, activation=1, colocate="right")
    d = operator("d", "b", "c", f=1, i=1, colocate="right", devices=("gpu0", "gpu1"))
    network = {"latency": 0.5, "bandwidth": 2.0}
    return problem(
        graph(a, b, c, d, microbatches=4),
        cluster(3, exclusive=exclusive, **network),
        copies=copies,
        memory_cap=memory_cap,
    )


def training() -> Case:
    return planned(two_stages(), [[0, 1, 1, 1]])


def exclusive() -> Case:
    return planned(two_stages(exclusive=True), [[0, 1, 1, 1]])


def bidirectional() -> Case:
    return planned(two_stages(copies=2), [[0, 1, 1, 1], [1, 0, 0, 0]], [0, 1, 0, 1])


def shared() -> Case:
    """Two copies, a on the same device in both; no cap."""
    return planned(two_stages(copies=2, memory_cap=None), [[0, 1, 1, 1], [0, 0, 0, 0]], [0, 1, 1, 0])


def inference() -> Case:
    posed = two_stages(memory_cap=None)
    only_forward = replace(posed.graph, mode=Mode.INFERENCE)
    return planned(replace(posed, graph=only_forward), [[0, 1, 0, 0]])


def free_transfers() -> Case:
    a = operator("a", w=1, f=0.1, i=0.2, activation=1)
    b = operator("b", "a", f=0, i=0, activation=1)
    c = operator("c", "b", f=0.3, i=0.1, activation=1)
    return planned(problem(graph(a, b, c, microbatches=3), cluster(3)), [[0, 1, 2]])


def mixed() -> Case:
    """Roofline, times by device and type, links of one direction, nodes, exclusive at one end only."""
    fast = DeviceType("fast", memory=50.0, peak_flops=20.0, memory_bandwidth=5.0, efficiency=0.5)
    slow = DeviceType("slow", peak_flops=4.0, exclusive_transfers=True)
    devices = (Device("f0", "f", fast, "n0", 50.0), Device("s0", "s", slow, "n0"), Device("s1", "s", slow, "n1"))
    the_cluster = Cluster(
        "mixed",
        devices,
        {"fast": fast, "slow": slow},
        NetworkLevel(4.0, 0.1),
        NetworkLevel(1.0, 0.2),
        (Link("f0", "s1", NetworkLevel(None, 0.3)),),
    )
    roof = replace(operator("roof", output=2), times={p: Work(30.0, 10.0) for p in PASS_ORDER})
    named = ByDevice({"slow": 2.0, "s1": 1.5})
    typed = replace(operator("typed", "roof", "alone", output=1), times={Pass.F: named, Pass.I: named})
    alone = operator("alone", f=1, i=1, output=4)
    return planned(problem(graph(roof, typed, alone, microbatches=2), the_cluster), [[0, 2, 1]])


CASES = {f.__name__: f for f in (training, exclusive, bidirectional, shared, inference, free_transfers, mixed)}


# -- damage ---


def index(plan: Plan, operator: str, pass_: str, microbatch: int) -> int:
    return next(
        k for k, t in enumerate(plan.tasks) if (t.operator, t.pass_, t.microbatch) == (operator, pass_, microbatch)
    )


def task(operator: str, pass_: str, microbatch: int, /, **change: Any) -> Callable[[Plan], Plan]:
    """Change the fields of one task; ``shift`` moves it."""

    def mutate(plan: Plan) -> Plan:
        k = index(plan, operator, pass_, microbatch)
        return replace(plan, tasks=(*plan.tasks[:k], changed(plan.tasks[k], change), *plan.tasks[k + 1 :]))

    return mutate


def transfer(operator: str, pass_: str, microbatch: int, /, **change: Any) -> Callable[[Plan], Plan]:
    """Change the fields of one transfer; ``shift`` moves it."""

    def mutate(plan: Plan) -> Plan:
        return replace(
            plan,
            transfers=tuple(
                changed(t, change) if (t.operator, t.pass_, t.microbatch) == (operator, pass_, microbatch) else t
                for t in plan.transfers
            ),
        )

    return mutate


def changed(item: Any, change: dict[str, Any]) -> Any:
    change = dict(change)
    shift = change.pop("shift", 0.0)
    return item._replace(start=item.start + shift, end=item.end + shift) if shift else item._replace(**change)


def place(operator: str, /, **change: Any) -> Callable[[Plan], Plan]:
    return lambda plan: replace(
        plan,
        placement=tuple(replace(p, **change) if p.operator == operator and p.copy == 0 else p for p in plan.placement),
    )


def device(**change: Any) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, devices=(replace(plan.devices[0], **change), *plan.devices[1:]))


def fields(**change: Any) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, **change)


def without(field: str, k: int = 0) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, **{field: (*getattr(plan, field)[:k], *getattr(plan, field)[k + 1 :])})


def twice(field: str, k: int = 0, **change: Any) -> Callable[[Plan], Plan]:
    def mutate(plan: Plan) -> Plan:
        rows = getattr(plan, field)
        again = changed(rows[k], change) if isinstance(rows[k], tuple) else replace(rows[k], **change)
        return replace(plan, **{field: (*rows, again)})

    return mutate
