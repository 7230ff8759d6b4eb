"""Layouts, merging, and what proposes placements: all within what colocate and devices allow."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from solver_problems import chain, config, operator, posed, random_problem, state_of, unit_cluster

from planner.bounds import placement_bound
from planner.common.budget import Control
from planner.placement.assignment import AssignmentModel
from planner.placement.earliest import earliest_finish_placement
from planner.placement.fit import fits
from planner.placement.layouts import all_cuts, family_placement, family_placements, only_placement, stage_hosts
from planner.placement.merge import REFINED_AT_MOST, describe, merge, refined
from planner.problem import ByDevice, Impossible, NetworkLevel, Pass, Placement, Problem, Variant
from planner.scheduling.list_search import ListSearch
from planner.search.params import MoveParams
from planner.search.steps.move_operators import Heat, move_groups


@pytest.mark.parametrize(
    ("layout", "chunks", "copies"),
    [
        ("linear", 1, ["012"]),
        ("interleaved", 2, ["012012"]),
        ("vshape", 2, ["012210"]),
        ("wave", 4, ["012210012210"]),
        ("wave", 3, ["012210012"]),
        ("bidirectional", 1, ["012", "210"]),
    ],
)
def test_hosts_of_stages(layout: str, chunks: int, copies: list[str]) -> None:
    """The pattern in which a family deals its stages to three devices."""
    hosts = stage_hosts(layout, range(3), chunks)
    assert ["".join(map(str, copy)) for copy in zip(*hosts, strict=True)] == copies


def stages(problem: Problem, copy: tuple[int, ...]) -> list[int]:
    """Devices in the order in which the topological order visits them."""
    return [d for d, _ in itertools.groupby(copy[i] for i in problem.topological)]


@pytest.mark.parametrize("layout", ["linear", "interleaved", "vshape", "wave", "bidirectional"])
@pytest.mark.parametrize("block", range(3))
def test_families_on_random_problems(layout: str, block: int) -> None:
    """Every operator of every copy on a device that it may run on, colocated ones together, stages in the pattern."""
    for seed in range(25 * block, 25 * block + 25):
        drawn = random_problem(seed, operators=9, devices=3)
        if drawn is None:
            continue
        problem = Problem(drawn.graph, drawn.cluster, drawn.microbatches, copies=2, layout=layout)
        try:
            found = list(family_placements(problem))
        except Impossible:
            continue
        assert len({p.device_of for p in found}) == len(found)
        assert found or len(problem.groups) < problem.n_operators, "only labels leave it open whether there is one"
        for placement in found:
            assert placement.copies == (2 if layout == "bidirectional" else 1)
            visited = [stages(problem, copy) for copy in placement.device_of]
            assert all(problem.allows(copy) for copy in placement.device_of), seed
            patterns = [stage_hosts(layout, range(problem.n_devices), chunks) for chunks in range(1, 10)]
            wanted = [
                [[d for d, _ in itertools.groupby(hosts)] for hosts in zip(*pattern, strict=True)]
                for pattern in patterns
            ]
            assert visited in wanted, seed


def test_stages_are_balanced() -> None:
    """Eight equal operators on four devices: two each; with one four times as long, that one stands alone."""
    problem = posed(*chain(8), devices=4)
    placement = family_placement(problem, "linear", range(4), 1)
    assert placement == Placement.single((0, 0, 1, 1, 2, 2, 3, 3), "linear")
    heavy = [replace(o, times=dict.fromkeys(o.times, 4.0)) if o.name == "s2" else o for o in chain(5)]
    placement = family_placement(posed(*heavy, devices=3), "linear", range(3), 1)
    assert placement is not None
    assert placement.device_of == ((0, 0, 1, 2, 2),)


def test_a_heavy_end_stands_apart() -> None:
    """A head as long as two layers: it and the first layer are on one device, the other twelve loop over the rest.

    An embedding with a gradient to reduce goes to the first of these. A head as long as a layer is no reason.
    """
    layers = chain(13, times=(2.0, 2.0, 2.0))
    embedding = operator("embed", times=(0.0, 0.0, 0.1), step={Pass.R: 1.0, Pass.U: 1.0})
    first = replace(layers[0], inputs=("embed",))
    heavy = operator("head", layers[-1].name, times=(4.0, 4.0, 4.0))
    problem = posed(embedding, first, *layers[1:], heavy, devices=4, microbatches=8)
    apart = [p for p in family_placements(problem) if p.origin == "interleaved x4, ends apart"]
    assert [p.device_of for p in apart] == [((0, 3, *(k % 3 for k in range(12)), 3),)]
    light = posed(*chain(16), devices=4, microbatches=8)
    assert not [p for p in family_placements(light) if "ends apart" in p.origin]


def test_auto_tries_one_layer_a_chunk() -> None:
    """Twenty layers on four devices: five chunks each, besides the usual numbers."""
    problem = posed(*chain(20), devices=4, microbatches=8)
    assert "interleaved x5" in [p.origin for p in family_placements(problem)]


def test_stages_are_cut_by_memory() -> None:
    """Where time balances 2 + 2 but memory holds one activation fewer on the first device, the cut moves."""
    operators = [operator("big", activation=3.0), *(operator(f"s{k}", "big", activation=1.0) for k in range(3))]
    problem = posed(*operators, devices=unit_cluster(2, 3.0), microbatches=2)
    for placement in family_placements(replace(problem, layout="linear")):
        if fits(problem, placement):
            assert placement.device_of == ((0, 1, 1, 1),)
            break
    else:
        pytest.fail("no placement that fits among the families")


def test_only_placement_of_a_layout() -> None:
    """One stage a device on equal devices leaves no choice; two segments more, or auto, leave one."""
    assert only_placement(config("dualpipe-4x8", layout="linear")) is not None
    both = only_placement(config("dualpipe-4x8", copies=2, layout="bidirectional"))
    assert both is not None
    assert both.device_of == ((0, 1, 2, 3), (3, 2, 1, 0))
    assert only_placement(config("dualpipe-4x8")) is None
    assert only_placement(posed(*chain(6), devices=4, layout="linear")) is None


def test_all_cuts_are_all_cuts() -> None:
    """Five operators in two stages: four cuts; interleaved twice: four chunks, again four, and the line's besides."""
    five = chain(5)
    cuts = all_cuts(posed(*five, devices=2, layout="linear"))
    assert cuts is not None
    assert {p.device_of[0] for p in cuts} == {tuple(int(i >= k) for i in range(5)) for k in range(1, 5)}
    cuts = all_cuts(posed(*five, devices=2, layout="interleaved", chunks=2))
    assert cuts is not None
    assert len({p.device_of for p in cuts}) == 4
    assert all_cuts(posed(*five, devices=2)) is None


def test_a_layout_that_the_graph_is_too_short_for() -> None:
    """Three operators cannot be cut into four stages."""
    with pytest.raises(Impossible, match="layout linear"):
        list(family_placements(posed(*chain(3), devices=4, layout="linear")))


@pytest.mark.parametrize("at_most", [1, 2, 4])
def test_merged_groups(at_most: int) -> None:
    """Every operator in one group; colocated ones in the same; every group has a device that may run all of it."""
    for seed in range(150):
        problem = random_problem(seed, operators=9)
        if problem is None:
            continue
        groups = merge(problem, at_most)
        assert sorted(i for g in groups for i in g) == list(range(problem.n_operators)), seed
        assert all(problem.runs_on[list(g)].all(axis=0).any() for g in groups), seed
        of = {i: n for n, g in enumerate(groups) for i in g}
        assert all(len({of[i] for i in members}) == 1 for members in problem.groups), seed
        assert len(groups) <= len(problem.groups)


def test_merging_keeps_dear_transfers_together() -> None:
    """Of a chain of four, the two cheap cuts are left; no group is larger than its share."""
    sizes = (9.0, 1.0, 9.0, 1.0)
    four = [replace(o, output=size) for o, size in zip(chain(4), sizes, strict=True)]
    groups = merge(posed(*four, devices=2), 2)
    assert groups == ((0, 1), (2, 3))
    assert describe(posed(*four, devices=2), groups).startswith("level 1 merged 4 operators into 2 groups")


def test_merging_nothing_is_not_worth_a_line() -> None:
    """A small graph is not merged."""
    problem = posed(*chain(4), devices=2)
    assert merge(problem) == problem.groups
    assert describe(problem, merge(problem)) == ""


@pytest.mark.parametrize("at_most", [1, 2, 4])
def test_refined_groups(at_most: int) -> None:
    """Refining loses no operator and separates no colocated ones; a group within one device stays whole."""
    some = 0
    for seed in range(150):
        problem = random_problem(seed, operators=9)
        if problem is None:
            continue
        groups = merge(problem, at_most)
        device = {g: int(problem.runs_on[list(g)].all(axis=0).argmax()) for g in groups}
        device_of = [device[next(g for g in groups if i in g)] for i in range(problem.n_operators)]
        finer = refined(problem, groups, device_of)
        inner = {
            g
            for g in groups
            if all(
                device_of[i] == device_of[j] for j, reads in enumerate(problem.inputs) for i in reads if {i, j} & {*g}
            )
        }
        if finer is None:
            assert all(g in inner or g in problem.groups for g in groups), seed
            continue
        some += 1
        assert sorted(i for g in finer for i in g) == list(range(problem.n_operators)), seed
        assert inner <= {*finer}, seed
        assert {*finer} - inner <= {*problem.groups}, seed
    assert some > 10 or at_most == 1


def test_opening_has_a_limit() -> None:
    """A chain of 200 in two groups: both are at the border, neither may be refined; of forty groups some are."""
    problem = posed(*chain(200), devices=2)
    halves = (tuple(range(100)), tuple(range(100, 200)))
    assert refined(problem, halves, [0] * 100 + [1] * 100) is None
    forty = merge(problem)
    finer = refined(problem, forty, [i % 2 for i in range(200)])
    assert finer is not None
    assert len(forty) < len(finer) <= REFINED_AT_MOST


def test_assignment_balances_two_speeds() -> None:
    """Nine equal operators, one device twice as fast: six there, three on the slow one."""
    cost = ByDevice({"g0": 2.0, "g1": 1.0})
    problem = posed(*(operator(f"o{k}", times=(cost, cost)) for k in range(9)), devices=2)
    assigned = AssignmentModel(problem, problem.groups).solve(Control(), 1000)
    assert assigned is not None
    found = assigned.device_of
    assert sorted(found) == [0] * 3 + [1] * 6


def test_assignment_respects_memory_and_colocation() -> None:
    """Memory for three operators a device, two of which must be together."""
    four = [operator(f"o{k}", parameters=1.0, colocate="x" if k in (0, 3) else None) for k in range(5)]
    problem = posed(*four, devices=unit_cluster(2, 3.0))
    assigned = AssignmentModel(problem, problem.groups).solve(Control(), 1000)
    assert assigned is not None
    found = assigned.device_of
    assert found[0] == found[3]
    assert sorted(found.count(d) for d in (0, 1)) == [2, 3]
    short = posed(*four, devices=unit_cluster(2, 2.0))
    assert AssignmentModel(short, short.groups).solve(Control(), 1000) is None


def test_assignment_saves_transfers() -> None:
    """Two chains on two devices: each stays on one, so that nothing is sent."""
    network = unit_cluster(2, level=NetworkLevel(None, 1.0))
    a = [operator(f"a{k}", *([f"a{k - 1}"] if k else [])) for k in range(3)]
    b = [operator(f"b{k}", *([f"b{k - 1}"] if k else [])) for k in range(3)]
    problem = posed(*a, *b, devices=network)
    assigned = AssignmentModel(problem, problem.groups).solve(Control(), 1000)
    assert assigned is not None
    found = assigned.device_of
    assert (set(found[:3]), set(found[3:])) in [({0}, {1}), ({1}, {0})]


def test_assignment_trades_time_for_bytes() -> None:
    """Of six like operators on one device as many are recomputed as memory asks for, and no more."""
    lean = Variant("lean", {Pass.F: 1.0, Pass.I: 3.0}, 0.0, 1.0, 0.0)
    six = [
        replace(operator(f"o{k}", *([f"o{k - 1}"] if k else []), activation=3.0), variants=(lean,)) for k in range(6)
    ]
    problem = posed(*six, devices=unit_cluster(1, 13.0))
    found = AssignmentModel(problem, problem.groups, 1).solve(Control(), 1000)
    assert found is not None
    assert sorted(found.versions) == [0, 0, 0, 1, 1, 1], "6 x 3 less 2 for each that is lean: 12 of 13 bytes"


def test_earliest_finish_on_random_problems() -> None:
    """Placed where allowed, together where demanded."""
    for seed in range(100):
        problem = random_problem(seed, operators=8)
        if problem is not None:
            assert problem.allows(earliest_finish_placement(problem).device_of[0]), seed


def test_earliest_finish_takes_the_fast_device() -> None:
    """A chain has no parallelism: all of it goes where it is fastest."""
    cost = ByDevice({"g0": 2.0, "g1": 1.0})
    problem = posed(*chain(4, times=(cost,)), devices=2, training=False)
    assert earliest_finish_placement(problem).device_of == ((1, 1, 1, 1),)


@pytest.mark.parametrize("heat", [Heat.none(MoveParams(), 36), Heat.of(MoveParams(), 36)])
def test_moves_never_lose(heat: Heat) -> None:
    """From everything on one of two devices, moving operators gets shorter and stays within what is allowed."""
    operators = [operator(f"o{k}", colocate="x" if k < 2 else None) for k in range(6)]
    problem = posed(*operators, devices=2, microbatches=2)
    search = ListSearch.of(problem, Placement(((0,) * 6,)), 0)
    search.try_known_rules(Control())
    before = search.seconds
    moved = move_groups(state_of(problem), search, (0, 0), heat)
    assert before == pytest.approx(36.0)
    assert moved.seconds == pytest.approx(18.0)
    device_of = moved.classes.placement.device_of[0]
    assert problem.allows(device_of)
    assert np.bincount(device_of).tolist() == [3, 3]


def test_annealing_goes_through_longer_schedules() -> None:
    """On GNMT's profile annealing leaves the placement that no move by itself makes shorter; it never loses any."""
    problem = config("pipedream-gnmt", microbatches=4)
    placement = min(family_placements(problem), key=lambda each: placement_bound(problem, each))
    search = ListSearch.of(problem, placement, 0)
    search.try_known_rules(Control())
    state = state_of(problem)
    incumbent = state.incumbent
    for _ in range(3):
        search = move_groups(state, search, (0, 0), Heat.none(MoveParams(), state.tasks))
    annealed = move_groups(state, search, (0, 1), Heat(600, hot=0.015, cold=0.0003, tuning=20))
    assert annealed.seconds < 0.99 * search.seconds
    assert problem.allows(annealed.classes.placement.device_of[0])
    assert incumbent.best is not None
    assert incumbent.best.makespan == pytest.approx(annealed.seconds)
    assert annealed.seconds >= placement_bound(problem, annealed.full.placement) * (1 - 1e-9)
