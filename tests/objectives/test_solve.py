"""solve: the same plan again, a stop, limits, flags; the optima that are known."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from solver_problems import BRIEF, chain, checked, config, operator, posed, random_problem, solved, unit_cluster

from planner.baselines import BASELINES
from planner.common.budget import Control, Progress
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.registry import solve
from planner.plan.plan import Plan, plan_to_json
from planner.problem import Impossible, NetworkLevel, Problem
from planner.search import SearchParams


def small(devices: int = 3) -> Problem:
    """Five stages of unequal costs on a few devices, with transfers and little memory."""
    network = unit_cluster(devices, 6.0, NetworkLevel(None, 0.25))
    operators = [
        replace(o, times=dict(zip(o.times, (1.0 + k / 4, 1.5, 0.5), strict=True)))
        for k, o in enumerate(chain(5, activation=1.0, parameters=0.5))
    ]
    return posed(*operators, devices=network, microbatches=2 if devices > 2 else 3)


def comparable(plan: Plan) -> Any:
    """What must be the same again: everything but the seconds it took."""
    rows = json.loads(plan_to_json(plan))
    del rows["solve_seconds"]
    return rows


@pytest.mark.parametrize(
    "problem",
    [
        lambda: config("dualpipe-4x8", microbatches=3, copies=2),
        small,
        lambda: random_problem(12, operators=5, devices=3, copies=(2,)),
    ],
)
def test_the_same_again(problem: Callable[[], Problem]) -> None:
    """Same inputs, flags, seed and effort: the same plan, with one thread or two."""
    first, second = (
        solve(problem(), Control(math.inf, effort=1_500.0), SolveOptions({}, seed=3, threads=threads, params=BRIEF))
        for threads in (1, 2)
    )
    assert comparable(first) == comparable(second)


@pytest.mark.parametrize(
    ("name", "flags", "makespan"),
    [
        ("dualpipe-4x8", {"copies": 2, "layout": "bidirectional"}, 25.0),
        ("dualpipe-4x8", {"layout": "linear", "memory_cap": 100}, 27.0),
        ("jobshop-sfjs05", {}, 119.0),
        ("jobshop-ft06", {}, 55.0),
        ("jobshop-mfjs01", {}, 468.0),
    ],
)
def test_known_optima_are_proven(name: str, flags: dict[str, Any], makespan: float) -> None:
    """Found and proven, with the effort of ``planner solve``."""
    problem = config(name, **flags)
    plan = solved(problem, params=SearchParams())
    assert (plan.status, plan.makespan, plan.lower_bound) == ("optimal", makespan, makespan)
    assert checked(problem, plan) == []


def stop_at(word: str, control: Control) -> Callable[[Progress], None]:
    """A listener that asks for a stop as soon as something of that name is tried."""
    return lambda progress: control.stop_requested.set() if word in progress.trying else None


@pytest.mark.parametrize("word", ["list scheduling", "moving operators", "assignment"])
def test_a_stop_ends_with_a_verified_plan(word: str) -> None:
    """Whatever is being tried when the stop comes: the best plan so far, marked interrupted."""
    problem = config("sailor-opt350", microbatches=2)
    control = Control(120.0)
    control.listener = stop_at(word, control)
    plan = solve(problem, control, SolveOptions({}, params=BRIEF))
    assert control.stop_requested.is_set()
    assert control.elapsed < 60
    assert plan.status == "interrupted"
    assert checked(problem, plan) == []


def shop(jobs: int, machines: int, memory: float | None = None) -> Problem:
    """A plain job shop of random times, every job on every machine once; machines with a cap are not branched on."""
    r = random.Random(5)
    operators = []
    for j in range(jobs):
        for k, machine in enumerate(r.sample(range(machines), machines)):
            name, before = f"j{j}.{k}", [f"j{j}.{k - 1}"] if k else []
            operators.append(operator(name, *before, times=(float(r.randint(5, 99)),), devices=(f"g{machine}",)))
    return posed(*operators, devices=unit_cluster(machines, memory), training=False)


def test_a_stop_during_an_exact_search() -> None:
    """A stop from another thread while the exact decomposition works on a job shop too hard for it."""
    stopped_while("exact decomposition", shop(10, 10, memory=1e9))


def stopped_while(trying: str, problem: Problem) -> None:
    """Solve, stop a moment after something is tried first, and look at the plan."""
    control = Control(120.0)
    timers: list[threading.Timer] = []

    def listener(progress: Progress) -> None:
        if progress.trying.startswith(trying) and not timers:
            timers.append(threading.Timer(0.3, control.stop_requested.set))
            timers[0].start()

    control.listener = listener
    plan = solve(problem, control, SolveOptions({}))
    assert timers
    timers[0].cancel()
    assert plan.status == "interrupted"
    assert control.elapsed < 30
    assert checked(problem, plan) == []


def test_the_time_limit_is_kept() -> None:
    """Two seconds on the multimodal model: back in little more than that, with a verified plan."""
    problem = config("multimodal")
    begin = time.monotonic()
    plan = solve(problem, Control(2.0), SolveOptions({}))
    assert time.monotonic() - begin < 7
    assert plan.status == "feasible"
    assert checked(problem, plan) == []


@pytest.mark.parametrize(
    ("layout", "patterns"),
    [
        ("linear", {"01"}),
        ("interleaved", {"0101", "010101", "01010101"}),
        ("vshape", {"0110", "010"}),
        ("wave", {"01100110", "011001", "0101", "01010", "010"}),
    ],
)
def test_a_layout_is_respected(layout: str, patterns: set[str]) -> None:
    """The operators of a chain visit the devices in the layout's pattern."""
    problem = posed(*chain(8), devices=unit_cluster(2, level=NetworkLevel(None, 0.1)), microbatches=3, layout=layout)
    plan = solved(problem, 5.0)
    assert checked(problem, plan) == []
    visits = "".join(row.device[1:] for row in plan.placement)
    runs = "".join(a for a, b in zip(visits, visits[1:] + " ", strict=True) if a != b)
    mirrored = {"".join(a for a, b in zip(p, p[1:] + " ", strict=True) if a != b) for p in patterns}
    assert runs in mirrored


def test_bidirectional_is_respected() -> None:
    """Two copies, one the mirror image of the other."""
    problem = posed(*chain(4), devices=4, microbatches=6, copies=2, layout="bidirectional")
    plan = solved(problem, 5.0)
    assert [row.device for row in plan.placement] == ["g0", "g1", "g2", "g3", "g3", "g2", "g1", "g0"]
    assert {t.copy for t in plan.tasks} == {0, 1}


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_copies_are_never_exceeded(copies: int) -> None:
    """At most as many copies as allowed, in every plan of a few random problems."""
    for seed in (3, 10, 17, 40):
        drawn = random_problem(seed, operators=4, devices=3)
        assert drawn is not None
        problem = replace(drawn, copies=copies)
        try:
            plan = solved(problem, 1.0)
        except Impossible:
            continue
        assert max(row.copy for row in plan.placement) < copies
        assert checked(problem, plan) == []


def test_microbatches_of_the_flag_win() -> None:
    """The graph says 8, the flag 3."""
    problem = config("dualpipe-4x8", microbatches=3)
    plan = solved(problem, 2.0)
    assert plan.microbatches == 3
    assert {t.microbatch for t in plan.tasks} == {0, 1, 2}
    assert checked(problem, plan) == []


def test_baselines_beside_the_plan() -> None:
    """None of them, one, or all; each row has figures or a reason, and no baseline that is allowed is shorter."""
    problem = config("dualpipe-4x8", copies=2, layout="bidirectional")
    assert solved(problem).baselines == ()
    (row,) = solved(problem, baselines=("dualpipe",)).baselines
    assert (row.name, row.makespan, row.fits, row.copies) == ("dualpipe", 26.0, True, 2)
    plan = solved(problem, baselines=BASELINES)
    assert [row.name for row in plan.baselines] == list(BASELINES)
    for row in plan.baselines:
        assert (row.reason is None) is (row.makespan is not None)
        if row.fits and row.copies is not None and row.copies <= 2 and row.makespan is not None:
            assert plan.makespan <= row.makespan


def test_flags_go_into_the_plan() -> None:
    """Options as given; status and gap by the gap that was asked for."""
    problem = config("dualpipe-4x8", microbatches=4)
    options = SolveOptions({"copies": 1, "gap": 0.9}, gap=0.9)
    plan = solve(problem, Control(), options)
    assert plan.options == {"copies": 1, "gap": 0.9}
    assert plan.status == "optimal"
    assert plan.gap is not None
    assert plan.gap <= 0.9


def test_more_memory_is_never_worse_than_proven() -> None:
    """The bound without a cap holds for every cap; at the least cap microbatches run one after another."""
    makespans = [solved(config("dualpipe-4x8", layout="linear", memory_cap=cap)).makespan for cap in (2, 3, 100)]
    assert makespans[0] >= makespans[1] >= makespans[2] == 27.0
    assert makespans[0] > 27.0


def test_impossible_is_no_limit() -> None:
    """An operator larger than any device: Impossible, whatever the time limit; never NoPlan."""
    problem = posed(operator("a", parameters=2.0), devices=unit_cluster(2, 1.0))
    for seconds in (0.0, 10.0):
        with pytest.raises(Impossible):
            solved(problem, seconds)


def test_passes_of_no_length_in_little_memory() -> None:
    """Memory for one activation: the operator that takes no time goes first and is gone at once, then the other."""
    brief, longer = (operator(f"o{k}", times=(0.0, float(k)), activation=1.0) for k in (0, 1))
    problem = posed(brief, longer, devices=unit_cluster(1, 1.0))
    plan = solved(problem, 5.0)
    assert (plan.makespan, plan.status) == (1.0, "optimal")
    assert checked(problem, plan) == []


@pytest.mark.parametrize("block", range(5))
def test_random_problems_with_layouts(block: int) -> None:
    """A verified plan within the bounds, or the proof that there is none: problems with some of everything."""
    for seed in range(7000 + 8 * block, 7000 + 8 * block + 8):
        problem = random_problem(seed, layouts=True)
        if problem is None:
            continue
        try:
            plan = solved(problem, 0.7)
        except Impossible as reason:
            assert "short" in str(reason) or "layout" in str(reason), seed
            continue
        except NoPlan:
            pytest.fail(f"no plan of seed {seed}")
        assert checked(problem, plan) == [], seed
        assert plan.lower_bound is not None
        assert plan.placement_lower_bound is not None
        assert plan.lower_bound <= plan.placement_lower_bound <= plan.makespan, seed
