"""Plans as schedule CSVs: run as torch would run them, against the plan, the baselines and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from export_samples import (
    UNEQUAL,
    Cell,
    by_orders,
    cells,
    named,
    partition_of,
    pipeline,
    published,
    readers,
    renumbered,
    run_csv,
)
from random_plans import plan_of
from solver_problems import operator, posed, random_placement, random_problem

from planner.baselines import baseline_timetable
from planner.baselines.choices import posed as as_one_of
from planner.baselines.registry import baseline_pipeline
from planner.exporters import CannotExport, Exported
from planner.exporters.partition import fine_stages, on_streams, positions, runs
from planner.exporters.source import source_of
from planner.exporters.torch_csv import modules, torch_csv
from planner.objectives.baseline import baseline_plan
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Operator, Pass, Placement, Problem, Stream, Variant
from planner.scheduling.list.kernel import run
from planner.scheduling.list.look import Look
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.scheduling.retime import retime


def checked(problem: Problem, plan: Plan, exported: Exported) -> list[list[Cell]]:
    """The rows of an export, if a runtime can run them on the partition beside them and the partition is the plan's."""
    document, rows = partition_of(exported), cells(exported.text)
    stages = document["stages"]
    run_csv(rows, len(stages), plan.microbatches)
    for r, row in enumerate(rows):
        assert sorted({cell.stage for cell in row}) == document["ranks"][r]["stages"]
    placed = {p.operator: p.device for p in plan.placement}
    assert sorted(name for stage in stages for name in stage["operators"]) == sorted(placed)
    assert all(placed[name] == stage["device"] for stage in stages for name in stage["operators"])
    at = {name: stage["stage"] for stage in stages for name in stage["operators"]}
    for producer, reader in readers(problem.operators):
        between = range(at[producer] + 1, at[reader])
        assert at[reader] >= at[producer]
        assert all(producer in stages[s]["hands_on"] for s in between)
    return rows


def free_chain(seed: int) -> tuple[Problem, Plan] | None:
    """A random list schedule of a chain on random devices, transfers free."""
    r = np.random.default_rng(seed)
    times = tuple(tuple(np.round(r.uniform(0.1, 3.0, 3), 3).tolist()) for _ in range(3))
    problem = pipeline(int(r.integers(2, 9)), int(r.integers(2, 5)), int(r.integers(1, 7)), times)
    return listed(problem, seed)


def listed(problem: Problem, seed: int) -> tuple[Problem, Plan] | None:
    """A list schedule under random keys on a random placement."""
    try:
        search = ListSearch.of(problem, random_placement(problem, seed), seed)
    except DoesNotFit:
        return None
    classes = search.classes
    keys = np.random.default_rng(seed).random((classes.n, max(classes.counts)))
    _, start, turn = run(search.arrays, keys, Look(0.3))
    seconds = retime(classes, start, turn)
    assert seconds is not None
    return problem, plan_of(problem, classes.timetable(seconds))


def makespan_of(problem: Problem, exported: Exported) -> float:
    """When the last cell ends, on a chain with free transfers, every cell as early as it can."""
    document, rows = partition_of(exported), cells(exported.text)
    index = problem.graph.index
    length = np.array(
        [problem.duration[[index[n] for n in s["operators"]], :, 0].sum(axis=0) for s in document["stages"]]
    )
    rank_of = {cell.stage: r for r, row in enumerate(rows) for cell in row}
    free, end = [0.0] * len(rows), {}
    for cell in run_csv(rows, len(length), document["microbatches"]):
        s, kind, m = cell
        waits = {"F": [Cell(s - 1, "F", m)], "W": [], "I": [Cell(s + 1, k, m) for k in "IB"]}.get(
            kind, [Cell(s + 1, k, m) for k in "IB"]
        )
        begin = max([free[rank_of[s]], *(end[c] for c in waits if c in end)])
        seconds = length[s, 1] + length[s, 2] if kind == "B" else length[s, "FIW".index(kind)]
        free[rank_of[s]] = end[cell] = begin + seconds
    return max(end.values())


@pytest.mark.parametrize("name", ["gpipe", "1f1b", "interleaved-1f1b"])
@pytest.mark.parametrize("times", [(), UNEQUAL], ids=["equal", "unequal"])
def test_the_order_of_a_baseline_is_exported_unchanged(name: str, times: tuple[()]) -> None:
    problem, plan = published(name, 8, 4, 8, times)
    exported = torch_csv(plan, problem, False)
    wanted = [",".join(map(str, row)) for row in baseline_pipeline(name, problem).rows]
    assert exported.text.splitlines() == wanted
    assert partition_of(exported)["makespan"] == {"planned": plan.makespan, "exported": pytest.approx(plan.makespan)}


@pytest.mark.parametrize("name", ["zb1p", "zbv", "v-half", "v-min", "dualpipev"])
def test_split_backwards_keep_their_order(name: str) -> None:
    problem, plan = published(name, 8, 4, 8, UNEQUAL)
    exported = torch_csv(plan, problem, False)
    checked(problem, plan, exported)
    assert partition_of(exported)["makespan"]["exported"] <= plan.makespan * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_random_plans_of_chains_cost_nothing_and_take_what_is_said(seed: int) -> None:
    found = free_chain(seed)
    assert found is not None
    problem, plan = found
    exported = torch_csv(plan, problem, True)
    checked(problem, plan, exported)
    said = partition_of(exported)["makespan"]["exported"]
    assert said == pytest.approx(makespan_of(problem, exported), rel=1e-9)
    assert said <= plan.makespan * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_are_exported_with_repairs(seed: int) -> None:
    problem = random_problem(seed, operators=7, devices=3, copies=(1,), training=True)
    found = None if problem is None else listed(problem, seed)
    if found is None:  # the seed's problem has no plan
        return
    problem, plan = found
    exported = torch_csv(plan, problem, True)
    checked(problem, plan, exported)
    makespan = partition_of(exported)["makespan"]["exported"]
    document = partition_of(exported)
    unchanged = not any(stage["hands_on"] for stage in document["stages"])
    one_stage_an_operator = all(len(stage["operators"]) == 1 for stage in document["stages"])
    assert makespan > 0
    if unchanged and one_stage_an_operator:
        assert makespan <= plan.makespan * (1 + 1e-9)


def test_random_graphs_hold_some_of_each() -> None:
    """So that the test above does not pass for want of cases."""
    problems = [random_problem(seed, operators=7, devices=3, copies=(1,), training=True) for seed in range(60)]
    plans = [found for seed, p in enumerate(problems) if p is not None and (found := listed(p, seed)) is not None]
    exports = [torch_csv(found[1], found[0], True) for found in plans]
    handing_on = [any(s["hands_on"] for s in partition_of(e)["stages"]) for e in exports]
    refused = 0
    for found in plans:
        try:
            torch_csv(found[1], found[0], False)
        except CannotExport:
            refused += 1
    assert len(plans) >= 25
    assert 5 <= sum(handing_on) < len(plans)
    assert sum(handing_on) <= refused < len(plans)


def test_the_plan_alone_gives_the_same_file() -> None:
    problem, plan = published("zbv", 8, 4, 8, UNEQUAL)
    alone = torch_csv(plan, None, False)
    assert alone.text == torch_csv(plan, problem, False).text
    assert any("chain" in note for note in alone.notes)


def test_the_plan_alone_does_not_guess_a_graph() -> None:
    problem = posed(operator("a"), operator("b"), operator("c", "a", "b"), devices=3, microbatches=2)
    apart = by_orders(problem, [0, 1, 2], one_each(problem))
    with pytest.raises(CannotExport, match="--graph GRAPH --cluster CLUSTER"):
        source_of(apart, None)


def one_each(problem: Problem) -> list[list[list[tuple[int, int, int]]]]:
    """Operator i alone on device i: forwards, then gradients, then weight gradients."""
    passes = [[p for p in range(3) if problem.has_pass[i, p]] for i in range(problem.n_operators)]
    return [[[(i, p, m) for p in those for m in range(problem.microbatches)], []] for i, those in enumerate(passes)]


def test_forwards_of_the_last_stage_out_of_order_are_renumbered_on_request() -> None:
    problem, plan = published("zbv", 8, 4, 6, UNEQUAL)
    straight = torch_csv(plan, problem, False)
    number = [3, 1, 5, 0, 2, 4]
    shuffled = renumbered(plan, number)
    with pytest.raises(CannotExport, match=r"last stage runs microbatch 3 before 0.*--repair renumbers"):
        torch_csv(shuffled, problem, False)
    repaired = torch_csv(shuffled, problem, True)
    assert repaired.text == straight.text
    assert partition_of(repaired)["microbatch_in_plan"] == number
    assert partition_of(repaired)["makespan"] == partition_of(straight)["makespan"]
    assert any("numbered" in note for note in repaired.notes)


@pytest.mark.parametrize(
    ("first", "full", "expected"),
    [
        ("0F0 1F0 0F1 1F1 1I0 0I0 1W0 0W0 1I1 0I1 0W1 1W1", False, ((0, 1), (2,))),
        ("0F0 0F1 1F0 1F1 1I0 0I0 1W0 0W0 1I1 0I1 0W1 1W1", True, ((0,), (1,), (2,))),  # forwards apart
        ("0F0 1F0 0F1 1F1 1I0 1W0 0I0 0W0 1I1 0I1 0W1 1W1", True, ((0, 1), (2,))),  # I and W mixed
        ("0F0 1F0 0F1 1F1 1I0 1W0 0I0 0W0 1I1 0I1 0W1 1W1", False, ((0,), (1,), (2,))),
        ("0F0 1F0 0F1 1F1 1I0 1W0 0I0 1I1 0W0 0I1 0W1 1W1", True, ((0,), (1,), (2,))),  # something between
    ],
)
def test_a_stage_is_what_the_plan_runs_as_one(first: str, full: bool, expected: tuple[tuple[int, ...], ...]) -> None:
    problem = pipeline(3, 2, 2)
    row = [(int(cell[0]), "FIW".index(cell[1]), int(cell[2])) for cell in first.split()]
    plan = by_orders(problem, [0, 0, 1], [[row, []], [[(2, p, m) for m in range(2) for p in range(3)], []]])
    timetable, device_of = source_of(plan, problem).timetable, [0, 0, 1]
    coarse = runs(problem, device_of)
    assert coarse == ((0, 1), (2,))
    rank = on_streams(problem, device_of, positions(problem, timetable))
    assert fine_stages(problem, coarse, rank, full) == expected
    checked(problem, plan, torch_csv(plan, problem, False))


def test_stages_are_split_only_where_it_pays() -> None:
    counts = []
    for seed in range(40):
        problem, plan = free_chain(seed) or pytest.fail("no plan")
        source = source_of(plan, problem)
        coarse = runs(problem, source.timetable.placement.device_of[0])
        counts.append((len(partition_of(torch_csv(plan, problem, True))["stages"]), len(coarse), problem.n_operators))
    assert all(coarse <= stages <= operators for stages, coarse, operators in counts)
    assert any(stages > coarse for stages, coarse, _ in counts)
    assert any(stages < operators for stages, _, operators in counts)


def test_a_full_backward_only_if_nothing_waits() -> None:
    """The second stage's W follows its I at once, but the first stage waits for the gradient in between."""
    problem = pipeline(2, 2, 1)
    plan = by_orders(problem, [0, 1], one_each(problem))
    assert plan.makespan == 5
    exported = torch_csv(plan, problem, False)
    assert exported.text == "0F0,0B0\n1F0,1I0,1W0\n"
    _, later = published("1f1b", 2, 2, 1)
    assert later.makespan == 6  # 1F1B hands the gradient on after W
    assert torch_csv(later, problem, False).text == "0F0,0B0\n1F0,1B0\n"


def test_a_stage_without_weights_has_full_backwards_alone() -> None:
    without = operator("b", "a", times=(1.0, 1.0))
    problem = posed(operator("a"), without, operator("c", "b"), devices=3, microbatches=2)
    plan = by_orders(problem, [0, 1, 2], one_each(problem))
    rows = checked(problem, plan, torch_csv(plan, problem, False))
    assert [cell.kind for cell in rows[1]] == ["F", "F", "B", "B"]


def branches() -> tuple[Problem, Plan]:
    """Two sources on devices of their own, joined on a third; a head in the middle without readers."""
    eyes, ears = operator("eyes", output=4.0), operator("ears", output=1.0)
    problem = posed(eyes, ears, operator("trunk", "eyes", "ears"), operator("aside", "ears"), devices=3, microbatches=3)
    orders = [
        [[(i, p, m) for p in range(3) for m in range(3) for i in mine[:: 1 if p == 0 else -1]], []]
        for mine in ([0], [1, 3], [2])
    ]
    return problem, by_orders(problem, [0, 1, 2, 1], orders)


def test_branches_are_handed_through_at_a_stated_cost() -> None:
    problem, plan = branches()
    with pytest.raises(CannotExport, match=r"'eyes' on stage 0 is read by 'trunk' beyond.*stage 1 must.*--repair"):
        torch_csv(plan, problem, False)
    exported = torch_csv(plan, problem, True)
    checked(problem, plan, exported)
    document = partition_of(exported)
    assert [stage["hands_on"] for stage in document["stages"]] == [[], ["eyes"], ["aside"]]
    # The branches ran side by side; in a chain the second waits for the first.
    assert document["makespan"]["exported"] > plan.makespan
    assert any("more)" in note for note in exported.notes)


def test_copies_on_several_devices_and_inference_are_refused() -> None:
    problem = replace(pipeline(4, 4, 8), copies=2)
    with pytest.raises(CannotExport, match=r"operator 's0' has copies on several devices \(g0, g3\).*--copies 1"):
        source_of(baseline_plan("dualpipe", problem), None)
    forward = posed(operator("a", times=(1.0,)), devices=1, microbatches=2, training=False)
    _, plan = listed(forward, 0) or pytest.fail("no plan")
    with pytest.raises(CannotExport, match="inference"):
        torch_csv(plan, forward, True)


def test_copies_on_the_same_device_are_one() -> None:
    problem, plan = published("1f1b", 4, 4, 4)
    twice = replace(
        plan,
        placement=(*plan.placement, *(replace(p, copy=1) for p in plan.placement)),
        tasks=tuple(t._replace(copy=t.microbatch % 2) for t in plan.tasks),
        transfers=tuple(t._replace(copy=t.microbatch % 2) for t in plan.transfers),
    )
    assert twice.copies == 2
    assert torch_csv(twice, None, False).text == torch_csv(plan, problem, False).text


def test_communication_is_said_to_need_a_stream() -> None:
    problem = posed(operator("a"), operator("b", "a", stream=Stream.COMM), operator("c", "b"), microbatches=2)
    _, plan = listed(problem, 0) or pytest.fail("no plan")
    exported = torch_csv(plan, problem, True)
    checked(problem, plan, exported)
    assert any("stream comm" in note for note in exported.notes)


def test_modules_are_the_shortest_names_that_fit() -> None:
    every = ["embed", "layer.0.attn", "layer.0.mlp", "layer.1.attn", "layer.1.mlp", "head"]
    assert modules(every[:4], every) == ["embed", "layer.0", "layer.1.attn"]
    assert modules(every[1:5], every) == ["layer"]


def test_names_of_modules_stand_in_the_partition() -> None:
    problem, plan = published("1f1b", 4, 2, 4)
    names = ("embed", "layer.0.attn", "layer.0.mlp", "head")
    renamed = named(problem, *names)
    new = dict(zip((o.name for o in problem.operators), names, strict=True))
    plan = replace(
        plan,
        placement=tuple(replace(p, operator=new[p.operator]) for p in plan.placement),
        tasks=tuple(t._replace(operator=new[t.operator]) for t in plan.tasks),
    )
    stages = partition_of(torch_csv(plan, renamed, False))["stages"]
    assert [stage["modules"] for stage in stages] == [["embed", "layer.0.attn"], ["layer.0.mlp", "head"]]


def test_the_placement_of_a_single_copy_is_kept() -> None:
    """A copy that no microbatch uses leaves no trace."""
    problem, plan = published("1f1b", 4, 4, 4)
    moved = {"g0": "g1", "g1": "g0", "g2": "g3", "g3": "g2"}
    unused = replace(
        plan, placement=(*plan.placement, *(replace(p, copy=1, device=moved[p.device]) for p in plan.placement))
    )
    source = source_of(unused, None)
    assert source.timetable.placement == Placement.single(source_of(plan, problem).timetable.placement.device_of[0])


def recomputing(gathers: bool = False) -> Problem:
    """Four operators with a variant that has no W; ``gathers``: with weights that are gathered for each pass."""
    made: list[Operator] = []
    for k, name in enumerate("abcd"):
        reads = tuple("abcd"[k - 1 : k])
        if gathers:
            made.append(replace(operator(f"{name}_weights", times=(0.5, 0.0), stream=Stream.COMM), colocate=name))
            reads += (f"{name}_weights",)
        variant = Variant("full", {Pass.F: 1.0, Pass.I: 3.0}, 1.0, 1.0, 0.0)
        step = {Pass.R: 1.0, Pass.U: 2.0}
        made.append(replace(operator(name, *reads), colocate=name, variants=(variant,), step=step))
        if gathers:
            again = operator(f"{name}_weights_again", name, times=(0.0, 0.5), stream=Stream.COMM)
            made.append(replace(again, colocate=name))
    return posed(*made, devices=2, microbatches=4)


def in_versions(problem: Problem, name: str, *full: str) -> Plan:
    """The plan of a baseline with some operators in ``full``."""
    versions = tuple(int(o.name in full) for o in problem.operators)
    timetable = as_one_of(problem, versions, baseline_timetable(name, problem.chosen(versions)))
    nothing = {"lower_bound": None, "placement_lower_bound": None, "options": {}, "solve_seconds": 0.0}
    return build_plan(problem, timetable, origin="solve", status="feasible", **nothing)


@pytest.mark.parametrize("gathers", [False, True])
@pytest.mark.parametrize("name", ["1f1b", "zb1p", "interleaved-1f1b"])
def test_variants_stand_in_the_partition_and_step_tasks_nowhere(name: str, gathers: bool) -> None:
    problem = recomputing(gathers)
    plan = in_versions(problem, name, "b", "c")
    assert plan.step_tasks
    exported = torch_csv(plan, problem, False)
    checked(problem, plan, exported)
    document = partition_of(exported)
    assert not any(stage["hands_on"] for stage in document["stages"])
    variants = {n: v for stage in document["stages"] for n, v in stage["variants"].items()}
    assert {n for n, v in variants.items() if v == "full"} == {"b", "c"}
    assert set(variants) == set(problem.graph.index)
    for stage in document["stages"]:
        assert list(stage["variants"]) == stage["operators"]
        assert all(n.partition("_")[0] in stage["operators"] for n in stage["operators"])
    last = max(task.end for task in plan.tasks)
    assert last < plan.makespan
    assert document["makespan"]["planned"] == last
    assert document["makespan"]["exported"] <= last * (1 + 1e-9)
    assert any("2 in 'full'" in note for note in exported.notes)
    assert any("step tasks" in note for note in exported.notes)
    if not gathers:
        assert torch_csv(plan, None, False).text == exported.text


def test_partitions_of_plans_without_variants_do_not_name_any() -> None:
    problem = recomputing()
    for stage in partition_of(torch_csv(in_versions(problem, "1f1b"), problem, False))["stages"]:
        assert "variants" not in stage


def test_copies_in_different_variants_are_refused() -> None:
    problem = recomputing()
    plan = in_versions(problem, "1f1b", "b")
    other = tuple(replace(p, copy=1, variant="base") for p in plan.placement)
    tasks = tuple(t._replace(copy=t.microbatch % 2) for t in plan.tasks)
    twice = replace(plan, placement=(*plan.placement, *other), tasks=tasks)
    with pytest.raises(CannotExport, match=r"copies of operator 'b' are in different variants \('full', 'base'\)"):
        torch_csv(twice, problem, True)
