"""verify: valid plans pass, and every way to break one is found under its rule."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from handmade import cluster, graph, operator, problem, sequential
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.plan import verify
from planner.plan.build import build_plan
from planner.plan.plan import BaselineFigures, Plan, PlannedTask, PlannedTransfer
from planner.plan.verify import Violation, verify_plan
from planner.problem import (
    ByDevice,
    Cluster,
    Device,
    DeviceType,
    Graph,
    Link,
    Mode,
    NetworkLevel,
    Pass,
    Problem,
    Stream,
    Work,
)

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
    roof = replace(operator("roof", output=2), times={p: Work(30.0, 10.0) for p in Pass})
    named = ByDevice({"slow": 2.0, "s1": 1.5})
    typed = replace(operator("typed", "roof", "alone", output=1), times={Pass.F: named, Pass.I: named})
    alone = operator("alone", f=1, i=1, output=4)
    return planned(problem(graph(roof, typed, alone, microbatches=2), the_cluster), [[0, 2, 1]])


CASES = {f.__name__: f for f in (training, exclusive, bidirectional, shared, inference, free_transfers, mixed)}


@pytest.mark.parametrize("name", CASES)
def test_valid_plans_have_no_violation(name: str) -> None:
    posed, plan = CASES[name]()
    assert check(posed, plan) == []


# -- mutations ----------------------------------------------------------------------------------------------


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
    return replace(item, start=item.start + shift, end=item.end + shift) if shift else replace(item, **change)


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
    return lambda plan: replace(plan, **{field: (*getattr(plan, field), replace(getattr(plan, field)[k], **change))})


def scaled(plan: Plan) -> Plan:
    """Every instant twice as late, so that passes last too long."""
    return replace(plan, tasks=tuple(replace(t, start=2 * t.start, end=2 * t.end) for t in plan.tasks))


def swapped(plan: Plan) -> Plan:
    """Two forward tasks of one length change places in time."""
    i, j = index(plan, "b", "F", 0), index(plan, "b", "W", 0)
    tasks = list(plan.tasks)
    first, second = tasks[i], tasks[j]
    tasks[i] = replace(first, start=second.start, end=second.end)
    tasks[j] = replace(second, start=first.start, end=first.end)
    return replace(plan, tasks=tuple(tasks))


def moved(field: str, k: int, **change: Any) -> Callable[[Plan], Plan]:
    """Change one row by its position."""
    return lambda plan: without(field, k)(twice(field, k, **change)(plan))


def other_copy(plan: Plan) -> Plan:
    """A microbatch runs on a copy that nobody placed."""
    tasks = tuple(replace(t, copy=3) if t.microbatch == 1 else t for t in plan.tasks)
    return replace(plan, tasks=tasks)


def no_gradient(plan: Plan) -> Plan:
    """No gradient comes back for microbatch 2."""
    kept = tuple(t for t in plan.transfers if (t.pass_, t.microbatch) != ("I", 2))
    return replace(plan, transfers=kept)


def overlapping_work(plan: Plan) -> Plan:
    """Move a weight gradient under a transfer that ends at its device."""
    into = next(t for t in plan.transfers if t.pass_ == "F" and t.microbatch == 2)
    moved = plan.tasks[index(plan, "b", "W", 0)]
    return task("b", "W", 0, start=into.start, end=into.start + (moved.end - moved.start))(plan)


MUTATIONS: list[tuple[str, int, str, Callable[[Plan], Plan]]] = [
    ("training", 1, "placement lacks an operator", without("placement")),
    ("training", 1, "placement listed twice", twice("placement")),
    ("training", 1, "placement on two devices", twice("placement", device="gpu2")),
    ("training", 1, "placement of an unknown operator", twice("placement", operator="ghost")),
    ("training", 1, "placement on an unknown device", place("a", device="gpu9")),
    ("training", 1, "copies not from 0", place("a", copy=1)),
    ("training", 1, "negative copy", twice("placement", copy=-1)),
    ("training", 1, "more copies than allowed", twice("placement", copy=1)),
    ("training", 1, "device not allowed", place("d", device="gpu2")),
    ("training", 1, "colocation broken", place("c", device="gpu0")),
    ("bidirectional", 1, "an operator lacks a copy", without("placement", 5)),
    ("bidirectional", 1, "colocation broken in copy 1", moved("placement", 6, device="gpu2")),
    ("bidirectional", 1, "two copies in one microbatch", task("b", "F", 0, copy=1)),
    ("bidirectional", 1, "two copies and devices in one microbatch", task("b", "F", 0, copy=1, device="gpu0")),
    ("bidirectional", 2, "device of the other copy", task("b", "F", 0, device="gpu0")),
    ("mixed", 1, "no time on the device", place("typed", device="f0")),
    ("mixed", 1, "no rate on the device", place("roof", device="s0")),
    ("training", 1, "microbatch of a copy that is not placed", other_copy),
    ("training", 2, "task missing", without("tasks", 3)),
    ("training", 2, "task twice", twice("tasks", 3)),
    ("training", 2, "task twice, elsewhere", twice("tasks", 3, start=200.0, end=201.0)),
    ("training", 2, "unknown operator", task("b", "F", 1, operator="ghost")),
    ("training", 2, "pass that does not exist", twice("tasks", pass_="X")),
    ("training", 2, "W where there is none", lambda p: twice("tasks", index(p, "c", "F", 0), pass_="W")(p)),
    ("inference", 2, "I in inference", twice("tasks", pass_="I")),
    ("training", 2, "microbatch out of range", task("d", "I", 3, microbatch=4)),
    ("training", 2, "negative microbatch", task("d", "I", 3, microbatch=-1)),
    ("training", 2, "unknown device", task("b", "F", 1, device="gpu9")),
    ("training", 2, "other device than placed", task("b", "F", 1, device="gpu2")),
    ("training", 2, "wrong stream", task("c", "F", 1, stream="compute")),
    ("training", 2, "wrong stream, compute to comm", task("b", "F", 1, stream="comm")),
    ("training", 2, "all tasks too long", scaled),
    ("training", 2, "negative start", task("a", "F", 0, shift=-1.0)),
    ("training", 2, "NaN", task("a", "F", 0, start=math.nan)),
    ("training", 2, "infinite end", task("a", "W", 3, end=math.inf)),
    ("training", 2, "end before start", task("b", "F", 1, start=9.0, end=7.0)),
    ("training", 2, "overlap on a stream", task("a", "F", 1, shift=-0.25)),
    ("training", 3, "b swapped with its W", swapped),
    ("training", 3, "F before the F of its input", task("d", "F", 0, shift=-0.001)),
    ("training", 3, "I before the I of a consumer", task("c", "I", 0, shift=-0.001)),
    ("training", 3, "W before I", task("a", "W", 0, shift=-0.001)),
    ("training", 4, "transfer missing", without("transfers", 2)),
    ("training", 4, "gradient missing", no_gradient),
    ("training", 4, "transfer twice", twice("transfers")),
    ("training", 4, "transfer twice, later", twice("transfers", start=90.0, end=92.0)),
    ("training", 4, "starts before its producer ends", transfer("a", "F", 1, shift=-0.001)),
    ("training", 4, "ends after its reader starts", transfer("a", "F", 0, shift=0.001)),
    ("training", 4, "gradient starts before the I of all readers", transfer("a", "I", 1, shift=-0.001)),
    ("training", 4, "gradient ends after the producer's I starts", transfer("a", "I", 1, shift=0.001)),
    ("training", 4, "too short", transfer("a", "F", 1, end=6.0)),
    ("training", 4, "unknown operator", transfer("a", "F", 1, operator="ghost")),
    ("training", 4, "pass W", transfer("a", "F", 1, pass_="W")),
    ("training", 4, "microbatch out of range", transfer("a", "F", 1, microbatch=7)),
    ("training", 4, "wrong copy", transfer("a", "F", 1, copy=1)),
    ("training", 4, "wrong source", transfer("a", "F", 1, source="gpu2")),
    ("training", 4, "unknown target", transfer("a", "F", 1, target="gpu9")),
    ("training", 4, "to where nobody reads", twice("transfers", target="gpu2")),
    ("training", 4, "of an operator read at home", twice("transfers", operator="b", source="gpu1", target="gpu0")),
    ("training", 4, "gradient the wrong way", transfer("a", "I", 1, source="gpu0", target="gpu1")),
    ("training", 4, "NaN", transfer("a", "F", 1, end=math.nan)),
    ("inference", 4, "gradient in inference", twice("transfers", pass_="I")),
    ("exclusive", 4, "overlaps work at an exclusive end", overlapping_work),
    ("training", 5, "over the cap", fields()),
    ("training", 6, "makespan", fields(makespan=100.0)),
    ("training", 6, "microbatches", fields(microbatches=5)),
    ("training", 6, "busy", device(busy=1.0)),
    ("training", 6, "bubble", device(bubble=1.0)),
    ("training", 6, "span bubble", device(span_bubble=1.0)),
    ("training", 6, "peak memory", device(peak_memory=111.0)),
    ("training", 6, "peak memory a little", device(peak_memory=110.0 + 1e-5)),
    ("training", 6, "when the peak is", lambda p: device(peak_memory_at=p.makespan)(p)),
    ("training", 6, "peak after the end", device(peak_memory_at=1e9)),
    ("training", 6, "cap", device(memory=999.0)),
    ("training", 6, "no cap", device(memory=None)),
    ("shared", 6, "cap where there is none", device(memory=999.0)),
    ("training", 6, "NaN figure", device(busy=math.nan)),
    ("training", 6, "device missing", without("devices", 1)),
    ("training", 6, "device twice", twice("devices", 1)),
    ("training", 6, "unknown device", device(name="gpu9")),
    ("training", 6, "ratio", fields(bubble_ratio=0.5)),
    ("training", 6, "ratio over all", fields(bubble_ratio_all=0.5)),
    ("training", 7, "graph's name", lambda p: replace(p, graph=replace(p.graph, name="other"))),
    ("training", 7, "graph's hash", lambda p: replace(p, graph=replace(p.graph, sha256="0" * 64))),
    ("training", 7, "cluster's name", lambda p: replace(p, cluster=replace(p.cluster, name="other"))),
    ("training", 7, "cluster's hash", lambda p: replace(p, cluster=replace(p.cluster, sha256=""))),
    ("training", 7, "bound above the makespan", fields(lower_bound=1e6, placement_lower_bound=1e6, gap=-1.0)),
    ("training", 7, "placement's bound above the makespan", fields(placement_lower_bound=1e6)),
    ("training", 7, "placement's bound below the problem's", fields(placement_lower_bound=0.5)),
    ("training", 7, "negative bound", lambda p: replace(p, lower_bound=-1.0, gap=(p.makespan + 1) / p.makespan)),
    ("training", 7, "no bound", fields(lower_bound=None, gap=None)),
    ("training", 7, "gap", fields(gap=0.5)),
    ("training", 7, "gap missing", fields(gap=None)),
    ("training", 7, "optimal with a gap", fields(status="optimal")),
    ("training", 7, "unknown status", fields(status="perfect")),
    ("training", 7, "other objective", fields(objective="cost")),
]  # fmt: skip


@pytest.mark.parametrize(("case", "rule", "what", "mutate"), MUTATIONS, ids=[f"{m[1]}: {m[2]}" for m in MUTATIONS])
def test_mutation_is_found(case: str, rule: int, what: str, mutate: Callable[[Plan], Plan]) -> None:
    """Each way to break a valid plan is found under the rule that it breaks."""
    posed, plan = CASES[case]()
    if what == "over the cap":
        posed = replace(posed, memory_cap=110.0 - 1e-9 * 110)
    found = check(posed, mutate(plan))
    assert rule in {v.rule for v in found}, [str(v) for v in found]
    assert all("\n" not in str(v) and str(v).startswith(f"rule {v.rule}: ") for v in found)


def test_messages_name_everything() -> None:
    """Operator, pass, microbatch, device and times stand in the message."""
    posed, plan = training()
    (violation, *_) = check(posed, task("b", "F", 1, stream="comm")(plan))
    for word in ("F of 'b'", "microbatch 1", "on gpu1", " s)", "stream comm"):
        assert word in str(violation)


@pytest.mark.parametrize("name", CASES)
def test_every_dropped_or_doubled_row_is_found(name: str) -> None:
    """No task and no transfer of any plan may be missing or stand twice."""
    posed, plan = CASES[name]()
    for field, rule in (("tasks", 2), ("transfers", 4)):
        for k in range(len(getattr(plan, field))):
            assert rule in {v.rule for v in check(posed, without(field, k)(plan))}
            assert rule in {v.rule for v in check(posed, twice(field, k)(plan))}


def by_hand(posed: Problem, tasks: Iterator[PlannedTask], transfers: tuple[PlannedTransfer, ...] = ()) -> Plan:
    """A plan with these tasks, whose figures are not of interest."""
    _, plan = planned(posed, [[0] * posed.n_operators])
    return replace(plan, tasks=tuple(tasks), transfers=transfers)


def line(*spans: tuple[float, float]) -> tuple[Graph, list[PlannedTask]]:
    """Independent inference operators on one stream, at these times."""
    operators = [operator(f"o{k}", f=end - start) for k, (start, end) in enumerate(spans)]
    tasks = [PlannedTask(f"o{k}", "F", 0, 0, "gpu0", "compute", s, e) for k, (s, e) in enumerate(spans)]
    return graph(*operators, mode=Mode.INFERENCE), tasks


@pytest.mark.parametrize(
    ("spans", "valid"),
    [
        ([(0, 2), (2, 3)], True),
        ([(0, 2), (2 - 1e-12, 3)], True),
        ([(0, 2), (2 - 1e-7, 3)], False),
        ([(0, 2), (2, 2), (2, 3)], True),
        ([(0, 0), (0, 2), (0, 0)], True),
        ([(0, 2), (1, 1)], False),
        ([(1, 1), (0, 2), (2, 4)], False),
        ([(0, 2), (1e-12, 1e-12)], True),
        ([(0, 5), (1, 2), (6, 7)], False),
        ([(0, 5), (1, 2), (4, 6)], False),
    ],
)
def test_one_task_at_a_time(spans: list[tuple[float, float]], valid: bool) -> None:
    """Touching is no overlap, within 1e-9 of the makespan; a task of no length may not lie inside another."""
    the_graph, tasks = line(*spans)
    posed = problem(the_graph, cluster(1))
    rules = {v.rule for v in check(posed, by_hand(posed, iter(tasks)))}
    assert (2 not in rules) is valid


def test_durations_agree_within_a_millionth() -> None:
    posed, plan = training()
    k = max(range(len(plan.tasks)), key=lambda k: plan.tasks[k].end)
    last = plan.tasks[k]
    for change, rules in ((0.5e-6, set()), (2e-6, {2})):
        end = last.start + (last.end - last.start) * (1 + change)
        found = {v.rule for v in check(posed, task(last.operator, last.pass_, last.microbatch, end=end)(plan))}
        assert found & {2} == rules


def test_free_transfer_may_be_listed_or_not() -> None:
    """A transfer of no length is optional; listed, it still has to be true."""
    posed, plan = free_transfers()
    end = next(t.end for t in plan.tasks if (t.operator, t.pass_, t.microbatch) == ("a", "F", 0))
    listed = PlannedTransfer("a", "F", 0, 0, "gpu0", "gpu1", end, end)
    assert check(posed, replace(plan, transfers=(listed,))) == []
    wrong = replace(listed, start=0.0, end=0.0)
    assert {v.rule for v in check(posed, replace(plan, transfers=(wrong,)))} == {4}
    backwards = replace(listed, source="gpu1", target="gpu0")
    assert {v.rule for v in check(posed, replace(plan, transfers=(backwards,)))} == {4}


def test_channel_carries_one_transfer_at_a_time() -> None:
    """Two outputs of one device to another, sent at once."""
    a, b = operator("a", f=0, output=2), operator("b", f=0, output=2)
    c = operator("c", "a", "b")
    posed = problem(graph(a, b, c, mode=Mode.INFERENCE), cluster(2, latency=1.0))
    _, plan = planned(posed, [[0, 0, 1]])
    assert check(posed, plan) == []
    first, second = plan.transfers
    together = replace(plan, transfers=(first, replace(second, start=first.start, end=first.end)))
    assert {v.rule for v in check(posed, together)} == {4}


@pytest.mark.parametrize(("alone", "rules"), [(False, set()), (True, {4})])
def test_exclusive_transfers_exclude_each_other(alone: bool, rules: set[int]) -> None:
    """One output to two devices at once is fine on two channels, unless transfers occupy the compute stream."""
    a = operator("a", output=2)
    b, c = operator("b", "a"), operator("c", "a")
    posed = problem(graph(a, b, c, mode=Mode.INFERENCE), cluster(3, latency=1.0, exclusive=alone))
    tasks = [
        PlannedTask("a", "F", 0, 0, "gpu0", "compute", 0, 1),
        PlannedTask("b", "F", 0, 0, "gpu1", "compute", 2, 3),
        PlannedTask("c", "F", 0, 0, "gpu2", "compute", 2, 3),
    ]
    sent = tuple(PlannedTransfer("a", "F", 0, 0, "gpu0", to, 1, 2) for to in ("gpu1", "gpu2"))
    _, plan = planned(posed, [[0, 1, 2]])
    found = check(posed, replace(plan, tasks=tuple(tasks), transfers=sent))
    assert {v.rule for v in found} & {4} == rules


def test_memory_cap_to_the_byte() -> None:
    """80 GiB exactly fits; a byte more does not."""
    size = 80.0 * 2**30
    for extra, rules in ((0.0, []), (1.0, [5])):
        a = operator("a", parameters=size - 3 + extra, activation=3)
        posed, plan = planned(problem(graph(a), cluster(1, memory=size)), [[0]])
        assert [v.rule for v in check(posed, plan)] == rules


def test_baselines_may_lack_bounds_and_gap_flag_allows_optimal() -> None:
    posed, plan = training()
    free = replace(plan, origin="baseline:1f1b", lower_bound=None, placement_lower_bound=None, gap=None)
    assert check(posed, free) == []
    assert plan.gap is not None
    assert check(posed, replace(plan, status="optimal", options={"gap": plan.gap})) == []


def test_flags_decide_what_is_allowed() -> None:
    posed, plan = bidirectional()
    arguments: dict[str, Any] = {"copies": 2, "memory_cap": 1000.0, "microbatches": 4}
    assert verify_plan(plan, posed.graph, posed.cluster, **arguments) == []
    for flag, value, rule in (
        ("copies", 1, 1),
        ("memory_cap", 100.0, 5),
        ("microbatches", 5, 2),
        ("microbatches", 3, 2),
    ):
        found = verify_plan(plan, posed.graph, posed.cluster, **{**arguments, flag: value})
        assert rule in {v.rule for v in found}


def test_empty_plan() -> None:
    posed, plan = training()
    empty = replace(plan, placement=(), tasks=(), transfers=(), devices=(), makespan=0.0)
    assert {1, 2, 6} <= {v.rule for v in check(posed, empty)}


def test_verify_shares_no_code() -> None:
    """Of this project, verify imports the plain data of graph, cluster and plan, and itself."""
    allowed = {"planner.plan.plan", "planner.problem.cluster", "planner.problem.graph"}
    for path in Path(verify.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("planner") for name in node.names)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("planner"):
                assert node.level == 0
                assert node.module in allowed or str(node.module).startswith("planner.plan.verify"), path


# -- random plans -------------------------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Random graphs on random placements, scheduled one after the other."""
    times = st.sampled_from([0.0, 0.1, 0.25, 1.0, 1.7])
    sizes = st.sampled_from([0.0, 0.1, 1.0, 3.3])
    count = draw(st.integers(1, 5))
    operators = []
    for k in range(count):
        inputs = [f"o{j}" for j in range(k) if draw(st.booleans())]
        activation = draw(sizes)
        operators.append(
            operator(
                f"o{k}",
                *inputs,
                f=draw(times),
                i=draw(times),
                w=draw(st.one_of(st.none(), st.sampled_from([0.3, 1.0]))),
                parameters=draw(sizes),
                activation=activation,
                held_for_weight_grad=activation * draw(st.sampled_from([0.0, 0.3, 1.0])),
                output=draw(sizes),
                stream=draw(st.sampled_from(list(Stream))),
            )
        )
    copies = draw(st.integers(1, 2))
    microbatches = draw(st.integers(1, 3))
    mode = draw(st.sampled_from(list(Mode)))
    network = draw(st.sampled_from([{}, {"latency": 0.0, "bandwidth": 3.0}, {"latency": 0.1}]))
    devices = draw(st.integers(1, 3))
    posed = problem(
        graph(*operators, microbatches=microbatches, mode=mode),
        cluster(devices, exclusive=draw(st.booleans()), **network),
        copies=copies,
    )
    spots = st.lists(st.integers(0, devices - 1), min_size=count, max_size=count)
    device_of = [draw(spots) for _ in range(copies)]
    copy_of = [draw(st.integers(0, copies - 1)) for _ in range(microbatches)]
    posed, plan = planned(posed, device_of, copy_of)
    return posed, replace(plan, origin="baseline:by-hand", lower_bound=None, placement_lower_bound=None, gap=None)


@settings(max_examples=80, deadline=None)
@given(cases())
def test_random_plans_are_valid(case: Case) -> None:
    """Figures and memory agree with verify's own on any graph, and no valid plan is refused."""
    posed, plan = case
    assert check(posed, plan) == []


@settings(max_examples=80, deadline=None)
@given(cases(), st.data())
def test_random_damage_is_found(case: Case, data: st.DataObject) -> None:
    """A task that moved before time 0, to another stream, device, copy or microbatch is always found."""
    posed, plan = case
    k = data.draw(st.integers(0, len(plan.tasks) - 1))
    old = plan.tasks[k]
    new = data.draw(
        st.sampled_from(
            [
                replace(old, start=old.start - plan.makespan - 1, end=old.end - plan.makespan - 1),
                replace(old, end=old.end + 0.5),
                replace(old, stream="comm" if old.stream == "compute" else "compute"),
                replace(old, device="gpu7"),
                replace(old, copy=old.copy + 2),
                replace(old, microbatch=old.microbatch + 1),
            ]
        )
    )
    assert check(posed, replace(plan, tasks=(*plan.tasks[:k], new, *plan.tasks[k + 1 :])))
