"""The list scheduler and exact retiming: any keys give a valid schedule, however tight the memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from solver_problems import chain, config, operator, posed, random_placement, random_problem, unit_cluster, violations

from planner.placement.layouts import family_placement, only_placement
from planner.placement.memory import parameters_on
from planner.problem import Placement, Problem, Stream, common_step
from planner.scheduling.classes import Classes, Floats, build_classes
from planner.scheduling.list.kernel import run
from planner.scheduling.list.look import Look
from planner.scheduling.list.rules import RULES, random_rule
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.scheduling.retime import retime


def least_cap(problem: Problem, placement: Placement) -> float:
    """The least cap, the same for all devices, under which the placement fits (to a thousandth of an activation)."""
    low, high = 0.0, float(parameters_on(problem, placement).max() + problem.activation.sum())
    while high - low > 1e-3 * (problem.activation.max() or 1.0):
        middle = (low + high) / 2
        try:
            ListSearch.of(capped(problem, middle), placement, 0)
            high = middle
        except DoesNotFit:
            low = middle
    return high


def capped(problem: Problem, cap: float) -> Problem:
    return Problem(problem.graph, problem.cluster, problem.microbatches, problem.copies, memory_cap=cap)


def orders(classes: Classes, start: Floats) -> list[list[tuple[int, int]]]:
    """The (class, index) on every resource by start, tasks of no length left out."""
    tasks = [(a, k) for a in np.flatnonzero(classes.ticks).tolist() for k in range(int(classes.count[a]))]
    return [
        sorted((task for task in tasks if r in classes.resources[task[0]]), key=lambda task: start[task])
        for r in range(classes.n_resources)
    ]


def check_run(search: ListSearch, key: Floats, look: Look) -> None:
    """Complete, valid, and retiming keeps the orders and delays nothing."""
    classes = search.classes
    makespan, start, turn = run(search.arrays, key, look)
    assert makespan >= 0, "deadlock"
    seconds = retime(classes, start, turn)
    assert seconds is not None
    real = ~np.isnan(start)
    assert real.sum() == classes.n_tasks
    assert (seconds[real] <= start[real] * classes.tick + 1e-9 * makespan * classes.tick).all(), "later than before"
    assert orders(classes, seconds) == orders(classes, start)
    timetable = classes.timetable(seconds)
    assert violations(classes.problem, timetable) == []
    assert timetable.makespan(classes.problem) <= makespan * classes.tick * (1 + 1e-9)


@pytest.mark.parametrize("block", range(6))
def test_random_keys_on_random_problems(block: int) -> None:
    """Whatever keys and look-ahead: no deadlock, no memory exceeded, all rules kept; also after exact retiming."""
    ran = 0
    for seed in range(100 * block, 100 * block + 30):
        problem = random_problem(seed)
        if problem is None:
            continue
        rng = np.random.default_rng(seed)
        placement = random_placement(problem, seed)
        try:
            search = ListSearch.of(problem, placement, seed)
        except DoesNotFit:
            search = ListSearch.of(capped(problem, least_cap(problem, placement)), placement, seed)
        shape = (search.classes.n, max(search.classes.counts))
        for look in (Look(), Look(0.5), Look(0.5, comm_first=True), Look(1e6), Look(1e6, comm_first=True)):
            check_run(search, rng.random(shape), look)
        check_run(search, random_rule(rng, problem.microbatches).keys(search.keying, search.scales), Look(0.3))
        ran += 1
    assert ran > 20


@pytest.mark.parametrize("seed", range(200, 240))
def test_at_the_least_memory_that_a_placement_needs(seed: int) -> None:
    """With the cap at what one microbatch needs in its best order, the scheduler still goes through."""
    problem = random_problem(seed, operators=7, devices=2, copies=(1, 2))
    if problem is None:
        problem = posed(*chain(3, activation=1.0), devices=2)
    placement = random_placement(problem, seed)
    search = ListSearch.of(capped(problem, least_cap(problem, placement)), placement, seed)
    rng = np.random.default_rng(seed)
    for look in (Look(), Look(1.0), Look(1.0, comm_first=True)):
        check_run(search, rng.random((search.classes.n, max(search.classes.counts))), look)


def test_an_order_that_memory_forces() -> None:
    """Inference, memory for 3: of two branches (3 bytes, then 1) joined at the end, one finishes before the other."""
    heads = [operator(f"head{b}", times=(1.0,), activation=2.0) for b in (0, 1)]
    ends = [operator(f"end{b}", f"head{b}", times=(1.0,), activation=0.5) for b in (0, 1)]
    join = operator("join", "end0", "end1", times=(1.0,))
    problem = posed(*heads, *ends, join, devices=unit_cluster(1, 3.0), microbatches=3, training=False)
    search = ListSearch.of(problem, Placement(((0,) * 5,)), 0)
    assert search.ordered.preds != search.classes.preds
    for keys in np.random.default_rng(1).random((20, search.classes.n, 3)):
        check_run(search, keys, Look())
    with pytest.raises(DoesNotFit) as error:
        ListSearch.of(capped(problem, 2.75), Placement(((0,) * 5,)), 0)
    assert error.value.proven


def test_known_schedule_of_one_device() -> None:
    """Two stages on one device, no choice but order: work alone, 12 s for 2 microbatches."""
    search = ListSearch.of(posed(*chain(2), microbatches=2), Placement(((0, 0),)), 0)
    makespan, start, turn = run(search.arrays, np.zeros((search.classes.n, 2)))
    assert makespan * search.classes.tick == pytest.approx(12.0)
    assert np.nanmin(start) == 0
    in_turn = np.argsort(turn, axis=None)
    assert (np.diff(start.ravel()[in_turn]) >= 0).all()


def test_a_limit_ends_a_schedule_early() -> None:
    """Beyond the limit the answer is inf; at the makespan itself the schedule is complete."""
    search = ListSearch.of(posed(*chain(3), devices=3, microbatches=4), Placement(((0, 1, 2),)), 0)
    keys = RULES[0].keys(search.keying, search.scales)
    first = run(search.arrays, keys)
    assert run(search.arrays, keys, Look(), first.makespan - 0.5).makespan == np.inf
    again = run(search.arrays, keys, Look(), first.makespan)
    assert again.makespan == first.makespan
    assert np.array_equal(first.start, again.start, equal_nan=True)


def test_a_schedule_reoptimised_from_a_prefix() -> None:
    """Starts before a time stay; with the same keys the rest does, with others the schedule is complete and valid."""
    changed = 0
    for seed in range(400, 500):
        problem = random_problem(seed)
        if problem is None:
            continue
        rng = np.random.default_rng(seed)
        try:
            search = ListSearch.of(problem, random_placement(problem, seed), seed)
        except DoesNotFit:
            continue
        one, other = rng.random((2, search.classes.n, max(search.classes.counts)))
        first = run(search.arrays, one, Look(0.3))
        until = float(rng.random()) * first.makespan
        again = run(search.arrays, one, Look(0.3), begun=first, until=until)
        assert np.array_equal(again.start, first.start, equal_nan=True)
        found = run(search.arrays, other, Look(0.3), begun=first, until=until)
        assert found.makespan >= 0, "deadlock"
        early = first.start < until
        assert np.array_equal(found.start[early], first.start[early])
        assert (np.nan_to_num(found.start[~early], nan=until) >= until).all()
        seconds = retime(search.classes, found.start, found.turn)
        assert seconds is not None
        timetable = search.classes.timetable(seconds)
        assert violations(problem, timetable) == []
        assert timetable.makespan(problem) <= found.makespan * search.classes.tick * (1 + 1e-9)
        changed += not np.array_equal(found.start, first.start, equal_nan=True)
    assert changed > 20


def test_rules_reach_the_bound_of_zero_bubble() -> None:
    """4 stages, no memory cap: some known rule is as good as the first device's work and the last one's wait."""
    problem = config("dualpipe-4x8", layout="linear", memory_cap=100)
    placement = only_placement(problem)
    assert placement is not None
    search = ListSearch.of(problem, placement, 0)
    makespans = [search.try_rule(rule) for rule in RULES]
    assert min(makespans) * search.classes.tick == pytest.approx(24 + 3)


@pytest.mark.parametrize(("comm_first", "order"), [(False, "a0 a1 b0 b1"), (True, "a0 b0 a1 b1")])
def test_comm_first_lets_the_microbatch_go_on_that_waits_for_a_short_collective(comm_first: bool, order: str) -> None:
    """Inference on one device: a and b of 10 s, a collective of 1 s between them; the older microbatch goes first."""
    a, b = operator("a", times=(10.0,)), operator("b", "c", times=(10.0,))
    collective = operator("c", "a", times=(1.0,), stream=Stream.COMM)
    problem = posed(a, collective, b, microbatches=2, training=False)
    search = ListSearch.of(problem, Placement(((0, 0, 0),)), 0)
    keys = np.tile([0.0, 1.0], (search.classes.n, 1))
    found = run(search.arrays, keys, Look(0.5, comm_first))
    tasks = [(found.start[x, k], f"{'acb'[search.classes.operator[x]]}{k}") for x in range(3) for k in (0, 1)]
    assert " ".join(name for _, name in sorted(tasks) if name[0] != "c") == order


def test_comm_first_pays_with_tensor_parallelism() -> None:
    """Llama-3.1-70B with long sequences, one layer a chunk: collectives of 2 ms between passes of 9 to 29 ms."""
    problem = config("llama-3.1-70b-tp8-pp8-32768").default
    placement = family_placement(problem, "interleaved", range(8), 10)
    assert placement is not None
    search = ListSearch.of(problem, placement, 0)
    (rule,) = (rule for rule in RULES if rule.look.comm_first)
    assert search.try_rule(rule) < 0.95 * search.try_rule(replace(rule, comm_first=False))


def test_rules_nearby_keep_their_groups() -> None:
    """Variation changes numbers, not groups nor comm first; look-ahead stays in its range; keys are finite."""
    rng = np.random.default_rng(0)
    search = ListSearch.of(posed(*chain(3), devices=3, microbatches=5), Placement(((0, 1, 2),)), 0)
    changed = 0
    for _ in range(50):
        rule = random_rule(rng, 5)
        near = rule.nearby(rng)
        assert near.groups == rule.groups
        assert near.comm_first == rule.comm_first
        changed += near != rule
        assert 0 <= near.look_ahead <= 1.2
        assert np.isfinite(near.keys(search.keying, search.scales)).all()
    assert changed > 40


def test_retime_refuses_an_order_that_memory_forbids() -> None:
    """Memory for one activation, and an order that starts two forward passes at once: None."""
    classes = build_classes(
        posed(*chain(1, activation=1.0), devices=unit_cluster(1, 1.0), microbatches=2), Placement(((0,),))
    )
    assert retime(classes, np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])) is None
    assert retime(classes, np.array([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])) is not None


def test_retime_closes_gaps() -> None:
    """A schedule with idle time in it gets as early as its order allows."""
    classes = build_classes(posed(*chain(1), microbatches=2), Placement(((0,),)))
    seconds = retime(classes, np.array([[0.0, 30.0], [10.0, 40.0], [20.0, 50.0]]))
    assert seconds is not None
    assert seconds.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


@pytest.mark.parametrize(
    ("values", "step"),
    [([1.0, 2.0], 1.0), ([0.1, 0.25], 0.05), ([1.5, 0.0, 1.0], 0.5), ([0.0], None), ([1 / 3, 1.0], None)],
)
def test_common_step(values: list[float], step: float | None) -> None:
    """Decimals as they print; nothing for thirds, which print as noise."""
    assert common_step(np.array(values)) == (None if step is None else pytest.approx(step))


def test_tasks_without_length_are_waited_for_when_a_schedule_is_resumed() -> None:
    """What starts after it at the same instant starts in a turn of its own, on the same streams."""
    times = [(0.0, 1.0, 0.0), (2.0, 0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 2.0, 0.0)]
    operators = [operator(f"o{k}", *([f"o{k - 1}"] if k else []), times=times[k % 4]) for k in range(12)]
    problem = posed(*operators, devices=2, microbatches=4)
    search = ListSearch.of(problem, Placement((tuple(k // 3 % 2 for k in range(12)),)), 0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = rng.random((2, search.classes.n, 4))
        first = run(search.arrays, one, Look(0.3))
        until = float(rng.random()) * first.makespan
        again = run(search.arrays, one, Look(0.3), begun=first, until=until)
        assert np.array_equal(again.start, first.start, equal_nan=True)
        found = run(search.arrays, other, Look(0.3), begun=first, until=until)
        seconds = retime(search.classes, found.start, found.turn)
        assert seconds is not None
        assert search.classes.timetable(seconds).makespan(problem) <= found.makespan * search.classes.tick * (1 + 1e-9)
