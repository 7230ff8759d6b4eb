"""How many stages a schedule CSV has: few by default, at a cost that is said; the plan's own order on request."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from export_samples import by_orders, cells, partition_of, pipeline, run_csv
from random_plans import plan_of
from solver_problems import operator, posed

from planner.exporters import CannotExport, Exported
from planner.exporters.merging import fewer, grouped
from planner.exporters.partition import Stages, runs
from planner.exporters.source import source_of
from planner.exporters.torch_csv import FEW, remedy, torch_csv
from planner.exporters.torch_stages import candidate_of
from planner.objectives.baseline import baseline_plan
from planner.plan.plan import Plan
from planner.problem import Placement, Problem, Stream
from planner.scheduling.list.kernel import run
from planner.scheduling.list.look import Look
from planner.scheduling.list_search import ListSearch
from planner.scheduling.retime import retime


def linear(seed: int, operators: int = 14, devices: int = 2) -> tuple[Problem, Plan]:
    """A random list schedule, operator by operator, of a chain in equal parts on the devices.

    Every second operator is communication where the seed is even: the plan overlaps microbatches that stages do not.
    """
    r = np.random.default_rng(seed)
    times = tuple(tuple(np.round(r.uniform(0.1, 3.0, 3), 3).tolist()) for _ in range(3))
    problem = pipeline(operators, devices, 4, times)
    if seed % 2 == 0:
        mixed = tuple(replace(o, stream=Stream.COMM) if k % 2 else o for k, o in enumerate(problem.operators))
        problem = replace(problem, graph=replace(problem.graph, operators=mixed))
    placement = Placement.single([k * devices // operators for k in range(operators)])
    search = ListSearch.of(problem, placement, seed)
    classes = search.classes
    keys = np.random.default_rng(seed).random((classes.n, max(classes.counts)))
    _, start, turn = run(search.arrays, keys, Look(0.3))
    seconds = retime(classes, start, turn)
    assert seconds is not None
    return problem, plan_of(problem, classes.timetable(seconds))


def count(exported: Exported) -> int:
    return len(partition_of(exported)["stages"])


def makespan(exported: Exported) -> float:
    return float(partition_of(exported)["makespan"]["exported"])


def test_a_colocated_linear_plan_on_four_ranks_has_four_stages() -> None:
    """Layers of operators on both streams."""
    names = [f"layer.{k}.{part}" for k in range(8) for part in ("attn", "reduce", "mlp")]
    made = [
        operator(name, *names[max(0, k - 1) : k], stream=Stream.COMM if name.endswith("reduce") else Stream.COMPUTE)
        for k, name in enumerate(names)
    ]
    problem = posed(*made, devices=4, microbatches=6)
    for name in ("1f1b", "zb1p"):
        exported = torch_csv(baseline_plan(name, problem), problem)
        assert count(exported) == 4
        assert makespan(exported) <= partition_of(exported)["makespan"]["planned"] * (1 + 1e-9)
        assert not any("more)" in note for note in exported.notes)


def test_stages_by_default_on_request_and_at_most() -> None:
    """Over random plans: each rule holds, and each case comes up."""
    merged = kept = 0
    for seed in range(24):
        problem, plan = linear(seed)
        coarse = runs(problem, source_of(plan, problem).timetable.placement.device_of[0])
        assert len(coarse) == 2
        exact = torch_csv(plan, problem, stages="exact")
        assert makespan(exact) <= plan.makespan * (1 + 1e-9)
        few = torch_csv(plan, problem)
        run_csv(cells(few.text), count(few), 4)
        if count(exact) <= FEW * len(coarse):
            assert few.text == exact.text
            kept += 1
        else:
            assert count(few) == len(coarse)
            assert any(f"its own order takes {count(exact)} (--stages exact" in note for note in few.notes)
            merged += 1
        for most in (2, 5, 9):
            some = torch_csv(plan, problem, stages=str(most))
            run_csv(cells(some.text), count(some), 4)
            assert count(some) <= most
            if count(few) <= most:
                assert makespan(some) <= makespan(few) * (1 + 1e-9)
    assert merged >= 3 and kept >= 3


def test_the_cost_is_said_in_seconds_and_percent() -> None:
    said = 0
    for seed in range(24):
        problem, plan = linear(seed)
        exported = torch_csv(plan, problem)
        note = next(note for note in exported.notes if "as planned" in note)
        figures = re.fullmatch(r"makespan (\S+) s as planned, (\S+) s as exported(?: \((\S+) % more\))?", note)
        if figures is None:
            assert re.fullmatch(r"makespan (\S+) s as planned and as exported", note)
            continue
        assert figures[1] != figures[2]
        if figures[3] is not None:
            assert float(figures[3]) == pytest.approx(100 * (makespan(exported) / plan.makespan - 1), abs=0.006)
            said += 1
    assert said >= 3


def test_a_published_order_where_it_is_quicker() -> None:
    """Forwards of all microbatches by turns, operator by operator: as one stage that is GPipe, and 1F1B holds less."""
    problem = pipeline(8, 2, 6)
    device_of = [0] * 4 + [1] * 4
    orders = [
        [
            [(i, p, m) for p in range(3) for i in (mine if p == 0 else mine[::-1]) for m in range(6)],
            [],
        ]
        for mine in ([0, 1, 2, 3], [4, 5, 6, 7])
    ]
    plan = by_orders(problem, device_of, orders)
    exported = torch_csv(plan, problem)
    assert count(exported) == 2
    assert makespan(exported) <= plan.makespan


@pytest.mark.parametrize(
    ("stages", "message"),
    [("0", "neither a number from 1 on nor exact"), ("few", "neither a number"), ("1", r"too few: .* in 2 runs")],
)
def test_numbers_that_make_no_sense(stages: str, message: str) -> None:
    problem, plan = linear(0)
    with pytest.raises(CannotExport, match=message):
        torch_csv(plan, problem, stages=stages)


@dataclass(frozen=True)
class Tried:
    """Stages that cost nothing where none is longer than ``most`` or holds ``never``."""

    own: Stages
    most: int
    never: frozenset[int] = frozenset()

    def costs_nothing(self, plan: Plan) -> bool:
        return all(len(stage) <= self.most and not (len(stage) > 1 and self.never & set(stage)) for stage in self.own)


def test_neighbours_are_merged_as_long_as_that_costs_nothing() -> None:
    _, plan = linear(0)
    coarse = (tuple(range(8)), tuple(range(8, 16)))
    single = tuple((i,) for i in range(16))
    half = fewer(Tried(single, 4), coarse, lambda stages: Tried(stages, 4), plan)
    assert [len(stage) for stage in half.own] == [4] * 4
    apart = frozenset({5})
    found = fewer(Tried(single, 8, apart), coarse, lambda stages: Tried(stages, 8, apart), plan)
    assert found.own == ((0, 1, 2, 3), (4,), (5,), (6, 7), tuple(range(8, 16)))
    assert [i for stage in found.own for i in stage] == list(range(16))


def test_groups_lie_between_the_runs_and_the_fine_stages() -> None:
    coarse = (tuple(range(8)), tuple(range(8, 12)))
    single = tuple((i,) for i in range(12))
    found = grouped(coarse, single, 8)
    assert [len(stages) for stages in found] == [8, 4]
    assert found[0][:4] == ((0, 1), (2, 3), (4, 5), (6, 7))
    assert all([i for stage in stages for i in stage] == list(range(12)) for stages in found)
    assert grouped(coarse, single, 2) == []


def test_what_takes_as_long_is_not_said_to_take_another_time() -> None:
    problem, plan = linear(0)
    source = source_of(plan, problem)
    best = candidate_of(source, runs(problem, source.timetable.placement.device_of[0]))
    for factor, words in (
        (1 + 1e-12, "--repair does it, and the step takes no longer"),
        (0.9, "--repair does it, and the step takes no longer"),
        (1 + 1e-7, r"takes (\S+) s instead of (\S+) s \(<0.01 % more\)"),
        (1.5, r"takes (\S+) s instead of (\S+) s \(50.00 % more\)"),
    ):
        said = re.search(words, remedy(source, replace(best, makespan=plan.makespan * factor)))
        assert said is not None
        assert len(set(said.groups())) == len(said.groups())
