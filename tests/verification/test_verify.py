"""verify: valid plans pass, damaged ones do not; tolerances and edges of each rule."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from handmade import cluster, graph, operator, problem
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_cases import CASES, Case, bidirectional, check, free_transfers, planned, task, training, twice, without

import planner
from planner.plan.plan import FIGURES, Plan, PlannedTask, PlannedTransfer
from planner.problem import Graph, Mode, Problem, Stream
from planner.verification import verify_plan
from planner.verification.sought import REACHED


@pytest.mark.parametrize("name", CASES)
def test_valid_plans_have_no_violation(name: str) -> None:
    posed, plan = CASES[name]()
    assert check(posed, plan) == []


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
    wrong = listed._replace(start=0.0, end=0.0)
    assert {v.rule for v in check(posed, replace(plan, transfers=(wrong,)))} == {4}
    backwards = listed._replace(source="gpu1", target="gpu0")
    assert {v.rule for v in check(posed, replace(plan, transfers=(backwards,)))} == {4}


def test_channel_carries_one_transfer_at_a_time() -> None:
    """Two outputs of one device to another, sent at once."""
    a, b = operator("a", f=0, output=2), operator("b", f=0, output=2)
    c = operator("c", "a", "b")
    posed = problem(graph(a, b, c, mode=Mode.INFERENCE), cluster(2, latency=1.0))
    _, plan = planned(posed, [[0, 0, 1]])
    assert check(posed, plan) == []
    first, second = plan.transfers
    together = replace(plan, transfers=(first, second._replace(start=first.start, end=first.end)))
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


@pytest.mark.parametrize("status", ["feasible", "interrupted"])
def test_a_closed_gap_is_optimal(status: str) -> None:
    """Whatever the file calls itself; for another objective the gap of the makespan says nothing."""
    posed, plan = training()
    closed = replace(plan, lower_bound=plan.makespan, placement_lower_bound=plan.makespan, gap=0.0, status=status)
    (violation,) = check(posed, closed)
    assert f"status is '{status}', but the gap 0 is within 1e-06: optimal" in str(violation)
    assert check(posed, replace(closed, status="optimal")) == []
    assert plan.gap is not None
    (violation,) = check(posed, replace(plan, options={"gap": 2 * plan.gap}))
    assert "is within" in str(violation)
    assert check(posed, replace(plan, options={"gap": plan.gap / 2})) == []


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
    allowed = {"planner.common.messages", "planner.plan.plan", "planner.problem.cluster", "planner.problem.graph"}
    paths = list((Path(planner.__file__).parent / "verification").glob("*.py"))
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("planner") for name in node.names)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("planner"):
                assert node.level == 0
                assert node.module in allowed or str(node.module).startswith("planner.verification."), path


def test_every_kind_of_figure_is_computed_anew() -> None:
    assert set(REACHED) == set(FIGURES)


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
                old._replace(start=old.start - plan.makespan - 1, end=old.end - plan.makespan - 1),
                old._replace(end=old.end + 0.5),
                old._replace(stream="comm" if old.stream == "compute" else "compute"),
                old._replace(device="gpu7"),
                old._replace(copy=old.copy + 2),
                old._replace(microbatch=old.microbatch + 1),
            ]
        )
    )
    assert check(posed, replace(plan, tasks=(*plan.tasks[:k], new, *plan.tasks[k + 1 :])))
