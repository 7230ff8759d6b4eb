"""Plans for the tests of the exports, and what a pipeline runtime makes of a schedule CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any, NamedTuple

from solver_problems import chain, posed

from planner.exporters import Exported
from planner.objectives.baseline import baseline_plan
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Operator, Placement, Problem
from planner.timetable.replay import Orders, replay

UNEQUAL = ((1.0, 1.2, 0.8), (2.0, 2.5, 1.5), (0.7, 0.9, 0.5))


class Cell(NamedTuple):
    """One cell of the CSV."""

    stage: int
    kind: str
    microbatch: int


def cells(text: str) -> list[list[Cell]]:
    """The rows of a schedule CSV; anything that torch would stumble over is an error."""
    assert text.endswith("\n") and not text.endswith("\n\n")
    found = []
    for row in csv.reader(io.StringIO(text)):
        matches = [re.fullmatch(r"(\d+)([FIWB])(\d+)", cell) for cell in row]
        assert row and all(matches)
        found.append([Cell(int(m[1]), m[2], int(m[3])) for m in matches if m])
    return found


def partition_of(exported: Exported) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(exported.beside[".partition.json"])
    return document


def run_csv(rows: list[list[Cell]], stages: int, microbatches: int) -> list[Cell]:
    """Run a CSV as torch does: every rank its row in order, each cell once what it reads is there.

    Gives the cells in an order in which they may end. Fails on whatever torch refuses, on a deadlock, and on
    forwards of the last stage out of order.
    """
    rank_of = {cell.stage: r for r, row in enumerate(rows) for cell in row}
    assert sorted(rank_of) == list(range(stages))
    assert all(rank_of[cell.stage] == r for r, row in enumerate(rows) for cell in row), "a stage on two ranks"
    done: set[Cell] = set()
    ended: list[Cell] = []
    place = [0] * len(rows)

    def ready(cell: Cell) -> bool:
        s, kind, m = cell
        if kind == "F":
            return s == 0 or Cell(s - 1, "F", m) in done
        if kind == "W":
            return Cell(s, "I", m) in done
        later = s == stages - 1 or not done.isdisjoint({Cell(s + 1, "I", m), Cell(s + 1, "B", m)})
        return later and Cell(s, "F", m) in done

    moved = True
    while moved:
        moved = False
        for r, row in enumerate(rows):
            while place[r] < len(row) and ready(row[place[r]]):
                assert row[place[r]] not in done, "a cell twice"
                done.add(row[place[r]])
                ended.append(row[place[r]])
                place[r] += 1
                moved = True
    assert place == [len(row) for row in rows], "deadlock"
    for s in range(stages):
        for m in range(microbatches):
            halves = {kind for kind in "IW" if Cell(s, kind, m) in done}
            assert Cell(s, "F", m) in done
            assert halves == (set() if Cell(s, "B", m) in done else {"I", "W"})
    assert sum(map(len, rows)) == len(done)
    last = [cell.microbatch for cell in ended if (cell.stage, cell.kind) == (stages - 1, "F")]
    assert last == sorted(last), "forwards of the last stage out of order"
    return ended


def by_orders(problem: Problem, device_of: list[int], orders: Orders) -> Plan:
    """The plan that runs these orders."""
    timetable = replay(problem, Placement.single(device_of), [0] * problem.microbatches, orders)
    assert timetable is not None
    return build_plan(
        problem,
        timetable,
        origin="solve",
        status="feasible",
        lower_bound=0.0,
        placement_lower_bound=0.0,
        options={"copies": 1},
        solve_seconds=0.0,
    )


def pipeline(n: int, devices: int, microbatches: int, times: tuple[tuple[float, float, float], ...] = ()) -> Problem:
    """A chain of operators, its pass times taken in turns."""
    turns = times or ((1.0, 1.0, 1.0),)
    operators = tuple(
        replace(chain(n, turns[k % len(turns)])[k], parameters=1.0, activation=1.0, held_for_weight_grad=1.0)
        for k in range(n)
    )
    return posed(*operators, devices=devices, microbatches=microbatches)


def published(name: str, n: int, devices: int, microbatches: int, times: Any = ()) -> tuple[Problem, Plan]:
    """A baseline on a chain."""
    problem = pipeline(n, devices, microbatches, times)
    return problem, baseline_plan(name, problem)


def renumbered(plan: Plan, number: list[int]) -> Plan:
    """The plan with microbatch m called ``number[m]``."""
    return replace(
        plan,
        tasks=tuple(t._replace(microbatch=number[t.microbatch]) for t in plan.tasks),
        transfers=tuple(t._replace(microbatch=number[t.microbatch]) for t in plan.transfers),
    )


def named(problem: Problem, *names: str) -> Problem:
    """The problem with other names for its operators."""
    new = dict(zip((o.name for o in problem.operators), names, strict=True))
    operators = tuple(
        replace(o, name=new[o.name], inputs=tuple(new[name] for name in o.inputs)) for o in problem.operators
    )
    return replace(problem, graph=replace(problem.graph, operators=operators))


def readers(operators: tuple[Operator, ...]) -> set[tuple[str, str]]:
    """Pairs of producer and reader."""
    return {(name, o.name) for o in operators for name in o.inputs}
