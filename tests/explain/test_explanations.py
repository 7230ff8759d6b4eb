"""What explain says about plans made by hand, whose critical path is known, and advice that is really taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_plans import plan_of
from solver_problems import chain, operator, posed, unit_cluster

from planner.baselines import baseline_timetable
from planner.events import Wait
from planner.explain import explain
from planner.explain.again import Searching, start_of
from planner.explain.changes import (
    MORE,
    MORE_MEMORY,
    NO_CAP,
    SPLIT,
    Useless,
    capped,
    chunks_of,
    flags_for,
    slowest_operator,
    slowest_split,
    without_cap,
)
from planner.explain.explanation import Explanation, LeastMemory, Tried, no_worse
from planner.explain.levers import FASTER, Lever, kind_of
from planner.explain.path import Part
from planner.explain.words import sections
from planner.explain.written import explanation_document, explanation_markdown, explanation_text
from planner.plan.build import timetable_of
from planner.plan.plan import Plan
from planner.problem import ByDevice, NetworkLevel, Pass, Problem, Stream, Work
from planner.report.causes import Cause
from planner.timetable.replay import orders_of, replay

NO_SEARCH = Searching(0)
SHORT = Searching(30)


def explained(problem: Problem, name: str = "1f1b", searching: Searching = NO_SEARCH) -> tuple[Plan, Explanation]:
    plan = plan_of(problem, baseline_timetable(name, problem))
    return plan, explain(plan, problem, searching)


def wire() -> Problem:
    """F of 1 s on g0, half a second of transfer, F of 1 s and I of 2 s on g1, transfer, I of 2 s on g0: 7 s."""
    return posed(*chain(2, times=(1.0, 2.0)), devices=unit_cluster(2, None, NetworkLevel(None, 0.5)))


def test_the_critical_path_of_one_microbatch() -> None:
    plan, made = explained(wire())
    path = made.path
    assert plan.makespan == 7.0 and path.nodes == 6
    assert path.parts == {Part.F: 2.0, Part.TRANSFER: 1.0, Part.I: 4.0}
    assert path.devices == {"g0": 3.0, "g1": 3.0}
    assert path.links == {("g0", "g1"): 0.5, ("g1", "g0"): 0.5}
    assert path.waits[Wait.TRANSFER] == 2 and sum(path.waits.values()) == path.nodes - 1
    assert made.idle["g1"] == pytest.approx({Cause.INPUT: 1.0, Cause.TRANSFER: 0.5, Cause.NOTHING: 2.5})


def test_parts_add_up_with_a_late_start_and_the_communication_stream() -> None:
    operators = (
        operator("a", times=(1.0,)),
        operator("x", "a", times=(3.0,), stream=Stream.COMM),
        operator("b", "x", times=(1.0,)),
    )
    problem = posed(*operators, training=False)
    timetable = baseline_timetable("gpipe", problem)
    start = timetable.start.copy()
    start[2] += 0.25
    plan = plan_of(problem, replace(timetable, start=start))
    path = explain(plan, problem, NO_SEARCH).path
    assert path.parts == pytest.approx({Part.F: 2.0, Part.COMM: 3.0, Part.NOTHING: 0.25})
    assert path.share(Part.COMM) == pytest.approx(3.0 / 5.25)


def retimed(plan: Plan, problem: Problem, faster: Problem) -> float:
    """The makespan of the plan's orders on another problem, by the solver's own replay."""
    timetable = timetable_of(plan, problem)
    again = replay(faster, timetable.placement, timetable.copy_of, orders_of(timetable, problem))
    assert again is not None
    return again.makespan(faster)


def test_what_to_speed_up_first_is_what_really_helps() -> None:
    """Each operator of a pipeline is made ten percent faster in the graph, and the orders retimed there."""
    operators = chain(3, times=(1.0, 1.0, 1.0))
    slow = replace(operators[1], times={Pass.F: 2.0, Pass.I: 3.0, Pass.W: 2.5})
    problem = posed(operators[0], slow, operators[2], devices=unit_cluster(3, None, NetworkLevel(None, 0.1)))
    problem = problem.with_microbatches(6)
    timetable = baseline_timetable("1f1b", problem)
    early = replay(problem, timetable.placement, timetable.copy_of, orders_of(timetable, problem))
    assert early is not None, "1F1B without its own rule that gradients leave after W"
    plan = plan_of(problem, early)
    made = explain(plan, problem, NO_SEARCH)
    by_name = {one.name: one.makespan for one in made.speedups if one.lever is Lever.OPERATOR}
    assert next(iter(by_name)) == slow.name
    for i, one in enumerate(problem.operators):
        times = {p: (1 - FASTER) * float(t) for p, t in one.times.items()}  # type: ignore[arg-type]
        changed = [*problem.operators[:i], replace(one, times=times), *problem.operators[i + 1 :]]
        faster = replace(problem, graph=replace(problem.graph, operators=tuple(changed)))
        assert by_name.get(one.name, plan.makespan) == pytest.approx(retimed(plan, problem, faster)), one.name


def test_a_faster_link_and_device() -> None:
    """Of 7 s the two transfers take half a second each: ten percent of one of them is 50 ms."""
    _, made = explained(wire())
    gains = {(one.lever, one.name): 7.0 - one.makespan for one in made.speedups}
    assert gains[Lever.LINK, "g0 -> g1"] == pytest.approx(0.05)
    assert gains[Lever.DEVICE, "g1"] == pytest.approx(0.3)
    kinds = [one for one in made.speedups if one.lever is Lever.OPERATORS]
    assert kinds == [], "both operators are of one kind: that is everything"


def test_kinds_of_operators() -> None:
    assert kind_of("layer.3.attn") == kind_of("layer.12.attn") == "layer.*.attn"
    assert kind_of("head") == "head"


def test_perfect_balance_is_the_order_with_equal_work() -> None:
    """Stages of 2 s and 4 s a microbatch become stages of 3 s each; twice the work of one device is the bound."""
    a, b = operator("a", times=(1.0, 1.0)), operator("b", "a", times=(2.0, 2.0))
    problem = posed(a, b, devices=2, microbatches=4)
    plan, made = explained(problem)
    even = posed(operator("a", times=(1.5, 1.5)), operator("b", "a", times=(1.5, 1.5)), devices=2, microbatches=4)
    assert made.balanced.replayed and made.balanced.bound == pytest.approx(12.0)
    assert made.balanced.makespan == pytest.approx(retimed(plan, problem, even))
    _, balanced = explained(even)
    assert balanced.balanced.makespan is None and "balanced already" in str(balanced.balanced.reason)


def tight(size: float = 1.0) -> Problem:
    """Memory for one microbatch a device, where two devices need two on the first to overlap."""
    a, b = (operator(n, *i, times=(1.0, 1.0), activation=size) for n, i in (("a", ()), ("b", ("a",))))
    return posed(a, b, devices=unit_cluster(2, size), microbatches=4, layout="linear")


def one_at_a_time(problem: Problem) -> Plan:
    """Microbatch after microbatch, each of 4 s: all that fits."""
    made = baseline_timetable("1f1b", problem)
    at = 4.0 * np.arange(problem.microbatches)
    start = np.full_like(made.start, np.nan)
    start[0, 0], start[1, 0], start[1, 1], start[0, 1] = at, at + 1, at + 2, at + 3
    return plan_of(problem, replace(made, start=start))


def test_more_memory_where_it_helps_and_the_least_of_it() -> None:
    problem = tight()
    plan = one_at_a_time(problem)
    made = explain(plan, problem, SHORT)
    changes = {tried.key: tried for tried in made.changes}
    assert made.reference is not None and made.reference.makespan == 16.0
    lifted = changes["cap_lifted"].makespan
    assert lifted is not None and lifted <= 10.0  # 1F1B: two devices of 8 s, 2 s to fill and to drain
    assert made.memory is not None and 2.0 <= made.memory.cap < 2.5, "two microbatches on the first device"
    assert made.memory.makespan < 16.0
    assert made.memory.without < 2.0 <= made.memory.factor
    assert made.memory.more == made.memory.cap - 1.0 and made.memory.shorter_than == 16.0
    (flag, cap), factor = made.memory.flags, made.memory.factor
    assert flag == "--memory-cap" and float(cap) == round(factor), "bytes, whole ones"
    assert "The least memory that improves the plan" in " ".join(explanation_text(made).split())
    assert changes["more_memory"].makespan is None and "as much already" in str(changes["more_memory"].reason)


def test_four_gib_more_and_the_flag_for_it() -> None:
    """A microbatch takes the 4 GiB that there are: as much again is one more, and the flags pose what was searched."""
    problem = tight(MORE)
    made = explain(one_at_a_time(problem), problem, SHORT)
    changes = {tried.key: tried for tried in made.changes}
    more, lifted = changes["more_memory"], changes["cap_lifted"]
    assert more.makespan is not None and lifted.makespan is not None and made.reference is not None
    assert lifted.makespan <= more.makespan < made.reference.makespan == 16.0
    assert more.flags == ("--memory-cap", "8GiB") and more.peak is not None and more.peak <= 2 * MORE
    assert "4 GiB more on each device (solve --memory-cap 8GiB): " in " ".join(sections(made)[-1].sentences)


def test_more_memory_is_no_worse_than_less() -> None:
    """The plan with 1.5 times the caps fits 4 GiB more and no cap, too, but not where 4 GiB are less than that."""
    memory = LeastMemory(1.5, 1.5 * MORE, 0.5 * MORE, 9.0, 16.0, 1.0, 1.25 * MORE)
    rows = [Tried(key, key, 4, makespan, peak=1.0) for key in (MORE_MEMORY, NO_CAP, SPLIT) for makespan in (10.0, 8.0)]
    for size, taken in ((MORE, {MORE_MEMORY, NO_CAP}), (3 * MORE, {NO_CAP})):
        for row in rows:
            better = row.key in taken and row.makespan == 10.0
            expected = replace(row, makespan=9.0, peak=1.25 * MORE) if better else row
            assert no_worse(tight(size), row, memory) == expected


def test_flags_pose_the_changed_problem() -> None:
    problem = wire()
    assert flags_for(problem, problem.with_microbatches(6)) == ("--microbatches", "6")
    assert flags_for(problem, replace(problem, layout="wave", chunks=2)) == ("--layout", "wave", "--chunks", "2")
    assert flags_for(problem, capped(problem, [1.5 * 2**30] * 2)) == ("--memory-cap", "1.5GiB")
    assert flags_for(problem, capped(problem, [1e9 + 0.25] * 2)) == ("--memory-cap", "1000000000")
    assert flags_for(problem, capped(problem, [1e9, 2e9])) == ()
    assert flags_for(capped(problem, [1e9] * 2), problem) == flags_for(problem, problem) == ()


def test_changes_are_measured_and_none_is_worse_than_the_order_it_starts_from() -> None:
    problem = wire().with_microbatches(3)
    plan, made = explained(problem, searching=SHORT)
    changes = {tried.key: tried for tried in made.changes}
    assert made.reference is not None and made.reference.makespan is not None
    assert made.reference.makespan <= plan.makespan
    free = replace(problem, cluster=unit_cluster(2, None, None))
    found = changes["transfers_free"]
    assert found.makespan is not None and found.bound is not None
    assert found.bound <= found.makespan <= retimed(plan, problem, free)
    assert changes["cap_lifted"].makespan is None and "no device has a cap" in str(changes["cap_lifted"].reason)
    twice = changes["twice_the_microbatches"]
    assert twice.microbatches == 6 and twice.per_microbatch is not None
    assert twice.per_microbatch < made.reference.makespan / 3
    assert "too few" in str(changes["one_more_chunk"].reason)
    halves = changes["slowest_operator_split"]
    assert halves.makespan is not None and halves.bound is not None
    assert halves.bound <= halves.makespan <= made.reference.makespan


def test_an_operator_in_two_halves_is_the_same_work() -> None:
    slow = operator("b", "a", times=(ByDevice({"g": 4.0}), Work(8.0, 2.0), 2.0), parameters=4.0, activation=6.0)
    problem = posed(
        operator("a"), slow, operator("c", "b"), devices=unit_cluster(2, peak_flops=1.0, memory_bandwidth=1.0)
    )
    plan = plan_of(problem, baseline_timetable("1f1b", problem))
    assert problem.operators[slowest_operator(problem, plan)].name == "b"
    split = slowest_split(problem, plan)
    assert [o.name for o in split.operators] == ["a", "b (first half)", "b", "c"]
    assert split.inputs == ((), (0,), (1,), (2,))
    assert split.duration.sum(axis=0) == pytest.approx(problem.duration.sum(axis=0))
    assert split.parameters.sum() == problem.parameters.sum()
    assert split.activation.sum() == problem.activation.sum()
    assert chunks_of(problem, plan) == 1
    start = start_of(plan, problem, split, slowest_operator(problem, plan))
    assert start is not None
    assert start.makespan(split) == pytest.approx(retimed(plan, problem, problem)), (
        "the halves in turn are the same schedule"
    )


def test_without_caps_there_is_none_to_lift() -> None:
    problem = tight()
    plan = one_at_a_time(problem)
    free = without_cap(problem, plan)
    assert np.isinf(free.cap).all() and np.isfinite(problem.cap).all()
    with pytest.raises(Useless):
        without_cap(free, plan)


def test_text_markdown_and_json_say_the_same() -> None:
    problem = wire().with_microbatches(2)
    plan, made = explained(problem)
    text, markdown, document = explanation_text(made), explanation_markdown(made), explanation_document(made)
    for section in sections(made):
        assert section.heading in text and f"## {section.heading}" in markdown.replace("\\", "")
    assert "Nothing was planned again" in " ".join(text.split())
    assert document["planned_again"] is None and document["makespan"] == plan.makespan
    assert sum(document["critical_path"]["parts"].values()) == pytest.approx(plan.makespan)
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert table and all(line.endswith("|") for line in table)
