"""Branching on job shops: what it proves holds, against enumeration, the model with order variables, and the books."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from exhaustive import TooLarge, optimum
from solver_problems import config, operator, posed

from planner.control import Control
from planner.files import read_cluster, read_graph
from planner.problem import ByDevice, Problem, Stream
from planner.schedule.branching import Answer, Branching
from planner.schedule.branching_trail import CLAUSES
from planner.schedule.classes import Ints
from planner.schedule.disjunctive import DisjunctiveModel
from racing.cases import job_shops


def random_shop(seed: int, operators: int, devices: int, fractions: bool = False) -> Problem:
    """A job shop with inputs like chains or like any graph, on one device an operator or on several.

    Some have operators that take no time, some a second stream. ``fractions``: sevenths, which have no common step.
    """
    r = random.Random(seed)
    n, m = r.randint(2, operators), r.randint(1, devices)
    plain, comm, instant = r.random() < 0.35, r.random() < 0.2, r.random() < 0.4

    def seconds() -> float:
        if instant and r.random() < 0.3:
            return 0.0
        return r.randint(1, r.choice([3, 9, 30])) / (7 if fractions else 1)

    made = []
    for i in range(n):
        allowed = r.sample(range(m), 1 if plain else r.randint(1, m))
        same = seconds()
        cost = ByDevice({f"g{d}": same if r.random() < 0.4 else seconds() for d in allowed})
        inputs = [f"o{j}" for j in range(i) if (j == i - 1 and r.random() < 0.5) or r.random() < 0.12]
        stream = Stream.COMM if comm and r.random() < 0.4 else Stream.COMPUTE
        made.append(operator(f"o{i}", *inputs, times=(cost,), stream=stream))
    return posed(*made, devices=m, training=False)


def checked(problem: Problem, branching: Branching, answer: Answer) -> int:
    """The makespan (ticks) of a schedule that was found, after a check of inputs, devices and streams."""
    assert answer.start is not None
    device, start = answer.device_of.tolist(), answer.start.tolist()
    end = [s + int(branching.ticks[i, device[i]]) for i, s in enumerate(start)]
    for i in range(problem.n_operators):
        assert start[i] >= 0
        assert problem.runs_on[i, device[i]]
        assert all(end[j] <= start[i] for j in problem.inputs[i])
        for j in range(i):
            if device[i] == device[j] and problem.on_comm[i] == problem.on_comm[j]:
                assert end[j] <= start[i] or end[i] <= start[j]
    return max(end)


def shortest(problem: Problem, longest: float) -> float:
    """The makespan (seconds) than which the branching proves none shorter."""
    branching = Branching.of(problem, longest)
    assert branching is not None
    most = math.floor(longest / branching.unit)
    while True:
        answer = branching.ask(most, most, 1_000_000, Control())
        if answer.start is None:
            assert answer.exhausted
            return (most + 1) * branching.unit
        most = min(most, checked(problem, branching, answer)) - 1
        branching.follow(answer.device_of, answer.start)


def all_in_turn(problem: Problem) -> float:
    """Seconds in which everything can be done."""
    return float(np.where(problem.runs_on, problem.duration[:, 0], 0.0).max(axis=1).sum())


@pytest.mark.parametrize("fractions", [False, True])
@pytest.mark.parametrize("block", range(3))
def test_optima_of_small_shops(block: int, fractions: bool) -> None:
    """What it finds and proves is the optimum by enumeration; without a common step, to ten digits."""
    compared = 0
    for seed in range(100 * block, 100 * block + 60):
        problem = random_shop(seed, 8, 3, fractions)
        try:
            best, _ = optimum(problem)
        except TooLarge:
            continue
        if not best:
            continue
        found = shortest(problem, all_in_turn(problem))
        assert found == pytest.approx(best, rel=1e-10), seed
        assert found <= best * (1 + 1e-14), seed
        compared += 1
    assert compared >= 40


@pytest.mark.parametrize("block", range(2))
def test_answers_in_any_order(block: int) -> None:
    """What was learnt under one limit never spoils the answer for another, however often a question is cut off."""
    for seed in range(1000 + 30 * block, 1030 + 30 * block):
        problem = random_shop(seed, 10, 3)
        longest = all_in_turn(problem)
        if not longest:
            continue
        branching = Branching.of(problem, longest)
        assert branching is not None
        best, most = (round(seconds / branching.unit) for seconds in (shortest(problem, longest), longest))
        r = random.Random(seed)
        refuted = -1
        for _ in range(30):
            asked = r.randint(refuted + 1, best + 3)
            answer = branching.ask(asked, most, r.choice([1, 3, 1_000_000]), Control())
            if answer.cut:
                continue
            if asked >= best:
                assert checked(problem, branching, answer) <= asked, seed
            else:
                assert answer.start is None, seed
                assert not answer.exhausted, seed
                refuted = max(refuted, asked)
        assert branching.ask(best - 1, best - 1, 1_000_000, Control()).exhausted, seed


def heads_and_tails(seed: int, jobs: int, machines: int) -> tuple[Problem, list[tuple[int, ...]]]:
    """Jobs of a head and a tail on streams of their own, and between them an operator on one of a few machines.

    Also as rows: head, tail, seconds on each machine.
    """
    r = random.Random(seed)
    wide = r.choice([3, 6, 15])
    table, made = [], []
    for j in range(jobs):
        head, tail = r.randint(0, 2 * wide), r.randint(0, 2 * wide)
        seconds = [r.randint(1, wide) for _ in range(machines)]
        table.append((head, tail, *seconds))
        own = (f"g{machines + j}",)
        made.append(operator(f"head{j}", times=(float(head),), devices=own))
        cost = ByDevice({f"g{d}": float(t) for d, t in enumerate(seconds)})
        made.append(operator(f"main{j}", f"head{j}", times=(cost,)))
        made.append(operator(f"tail{j}", f"main{j}", times=(float(tail),), devices=own, stream=Stream.COMM))
    return posed(*made, devices=machines + jobs, training=False), table


def by_enumeration(table: list[tuple[int, ...]], machines: int) -> int:
    """The shortest makespan over all orders, each job in turn on each machine."""
    best = sum(map(sum, table))

    def extend(left: tuple[int, ...], free: tuple[int, ...], makespan: int) -> None:
        nonlocal best
        if makespan >= best:
            return
        if not left:
            best = makespan
        for j in left:
            head, tail, *seconds = table[j]
            rest = tuple(k for k in left if k != j)
            for d in range(machines):
                end = max(head, free[d]) + seconds[d]
                extend(rest, (*free[:d], end, *free[d + 1 :]), max(makespan, end + tail))

    extend(tuple(range(len(table))), (0,) * machines, 0)
    return best


@pytest.mark.parametrize(("machines", "jobs", "shops"), [(1, 7, 150), (2, 6, 60)])
def test_one_or_two_busy_streams(machines: int, jobs: int, shops: int) -> None:
    """Where all depends on a stream's windows (edge finding and its like): never one tick too much."""
    for seed in range(shops):
        problem, table = heads_and_tails(seed, jobs, machines)
        best = by_enumeration(table, machines)
        assert shortest(problem, all_in_turn(problem)) == best, seed
        branching = Branching.of(problem, all_in_turn(problem))
        assert branching is not None
        ticks = round(best / branching.unit)
        assert (
            branching.ask(ticks, round(all_in_turn(problem) / branching.unit), 1_000_000, Control()).start is not None
        )


def test_against_order_variables() -> None:
    """Shops too large for enumeration: the MIP finds nothing shorter, and what is found."""
    for seed in range(3):
        problem = random_shop(2000 + seed, 16, 4)
        found = shortest(problem, all_in_turn(problem))
        assert DisjunctiveModel(problem, found - 0.5).solve(Control(), 2).bound == math.inf, seed
        assert DisjunctiveModel(problem, found + 0.5).solve(Control(), 2).device_of is not None, seed


@pytest.mark.parametrize(("name", "known"), [("ft06", 55.0), ("sfjs05", 119.0), ("mfjs01", 468.0)])
def test_published_optima(name: str, known: float) -> None:
    """The shops of configs/."""
    problem = config(f"jobshop-{name}")
    assert shortest(problem, all_in_turn(problem)) == known


@pytest.mark.parametrize("name", ["la01", "la02", "la03", "la04", "la05", "mk01", "mfjs02", "mfjs03", "sfjs10"])
def test_optima_of_the_race(name: str, tmp_path: Path) -> None:
    """The shops that the race is run on: a wrong reason would cut the optimum off."""
    case = next(c for c in job_shops() if c.name == name)
    (tmp_path / "graph.yaml").write_text(case.graph, encoding="utf-8")
    (tmp_path / "cluster.yaml").write_text(case.cluster, encoding="utf-8")
    problem = Problem(read_graph(tmp_path / "graph.yaml"), read_cluster(tmp_path / "cluster.yaml"), 1)
    assert shortest(problem, all_in_turn(problem)) == case.known


@pytest.mark.parametrize("width", [1, 2])
def test_the_same_optimum_on_every_way(width: int) -> None:
    """Hundreds of contradictions, each way others: from above, and by limits at random that are cut off and resumed."""
    for seed in range(6):
        r = random.Random(seed)
        made = []
        for job in range(8):
            for k, machine in enumerate(r.sample(range(5), 5)):
                allowed = {machine, *(r.randrange(5) for _ in range(width - 1))}
                cost = ByDevice({f"g{d}": float(r.randint(1, 40)) for d in sorted(allowed)})
                made.append(operator(f"{job}.{k}", *([f"{job}.{k - 1}"] if k else []), times=(cost,)))
        problem = posed(*made, devices=5, training=False)
        longest = all_in_turn(problem)
        best = round(shortest(problem, longest))
        branching = Branching.of(problem, longest)
        assert branching is not None
        assert branching.unit == 1.0
        refuted, found = 0, math.inf
        while refuted < best - 1 or found > best:
            asked = r.randint(refuted + 1, min(best + 8, round(longest)))
            answer = branching.ask(asked, round(longest), r.choice([5, 50, 500]), Control())
            if answer.start is not None:
                found = min(found, checked(problem, branching, answer))
                assert best <= found, seed
            elif not answer.cut:
                assert asked < best, seed
                refuted = max(refuted, asked)


def random_schedule(problem: Problem, ticks: Ints, r: random.Random) -> tuple[list[int], list[int]]:
    """Devices and starts (ticks) of a schedule in which inputs come first and the rest is chance."""
    device, start, end = ([0] * problem.n_operators for _ in range(3))
    free = [0] * problem.n_devices
    waiting = list(range(problem.n_operators))
    while waiting:
        i = r.choice([i for i in waiting if not set(problem.inputs[i]) & set(waiting)])
        waiting.remove(i)
        device[i] = d = r.choice(np.flatnonzero(problem.runs_on[i]).tolist())
        start[i] = max([free[d], *(end[j] for j in problem.inputs[i])])
        end[i] = free[d] = start[i] + int(ticks[i, d])
    return device, start


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 7, 8, 9])
def test_every_schedule_satisfies_what_was_learnt(seed: int) -> None:
    """Each clause learnt follows from the problem alone: no schedule, of whatever length, contradicts it."""
    r = random.Random(seed)
    made = []
    for job in range(7):
        for k in range(4):
            cost = ByDevice({f"g{d}": float(r.randint(1, 9)) for d in r.sample(range(4), 1 if seed % 3 == 0 else 2)})
            made.append(operator(f"{job}.{k}", *([f"{job}.{k - 1}"] if k else []), times=(cost,)))
    problem = posed(*made, devices=4, training=False)
    longest = 2 * all_in_turn(problem)
    branching = Branching.of(problem, longest)
    assert branching is not None
    schedules = [random_schedule(problem, branching.ticks, r) for _ in range(100)]
    best = round(shortest(problem, longest) / branching.unit)
    for _ in range(60):
        asked = r.randint(best - 6, best + 6)
        answer = branching.ask(asked, round(longest / branching.unit), r.choice([3, 30, 300]), Control())
        if answer.start is not None:
            schedules.append((answer.device_of.tolist(), answer.start.tolist()))
    shop, clauses = branching.shop, branching.clauses
    learnt = [c for c in range(branching.trail.reg[CLAUSES]) if clauses.worth[c]]
    assert learnt, "nothing but literals that always hold: another seed tests more"
    for device, start in schedules:
        end = [s + int(branching.ticks[i, device[i]]) for i, s in enumerate(start)]
        holds = {0: True, 1: False}
        for var in range(1, len(shop.most)):
            (a, b), task = shop.arc[2 * var].tolist(), int(shop.task_of[var])
            if a >= 0:
                holds[2 * var] = end[a] <= start[b]
            elif task >= 0:
                holds[2 * var] = int(shop.opt_stream[shop.option_of[var]]) // 2 == device[task]
            else:
                holds[2 * var] = max(end) <= shop.most[var]
            holds[2 * var + 1] = not holds[2 * var]
        for c in learnt:
            begin = clauses.begin[c]
            assert any(holds[lit] for lit in clauses.lits[begin : begin + clauses.size[c]].tolist())


def test_a_circle_of_orders_is_a_short_conflict() -> None:
    """Tiny durations on a huge horizon: bounds do not climb round a circle of orders tick by tick."""
    cost = [ByDevice({"g0": 1.0}), ByDevice({"g1": 1.0}), ByDevice({"g2": 1_000_000.0})]
    made = []
    for job in range(4):
        for k, machine in enumerate((0, 1, 0, 1)):
            reads = [f"j{job}k{k - 1}"] if k else []
            made.append(operator(f"j{job}k{k}", *reads, times=(cost[(machine + job) % 2],)))
    made.append(operator("long", times=(cost[2],)))
    problem = posed(*made, devices=3, training=False)
    assert shortest(problem, 2_000_000.0) == 1_000_000.0
    branching = Branching.of(problem, 2_000_000.0)
    assert branching is not None
    assert branching.ask(999_999, 2_000_000, 1_000, Control()).start is None
