"""plan.json of whole steps: variants in the placement, step tasks and exchanges without a microbatch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from handmade import cluster, graph, operator, problem
from whole_steps import plan_of_step, whole_step

from planner.files import InputError, schema
from planner.files.plan_file import read_plan
from planner.plan.build import timetable_of
from planner.plan.plan import Plan, plan_to_json
from planner.problem import Pass, Problem
from planner.problem.graph import Variant


def posed() -> Problem:
    lazy = Variant("lazy", {Pass.F: 1.0, Pass.I: 3.0}, 5.0, 1.0, 1.0)
    steps = {Pass.R: 1.0, Pass.U: 0.5, Pass.G: 0.25}
    a = operator("a", w=1, parameters=5, activation=3, output=1, step=steps, gradient=1.0, variants=(lazy,))
    b = operator("b", "a", step={Pass.U: 1.0})
    return problem(graph(a, b, microbatches=2), cluster(2, latency=0.5, bandwidth=2.0), copies=2)


def planned() -> Plan:
    return plan_of_step(posed(), whole_step(posed(), [[0, 1], [1, 0]], [0, 1], [(1, 0), (0, 0)]))


def test_a_file_brings_it_back(tmp_path: Path) -> None:
    """And the timetable that it was made of."""
    plan = planned()
    plan.write(tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan
    assert plan_to_json(read_plan(tmp_path / "plan.json")) == plan_to_json(plan)
    timetable = timetable_of(plan, posed())
    assert timetable.placement.variant_of == ((1, 0), (0, 0))
    assert timetable.makespan(posed()) == plan.makespan


def test_rows_of_the_file() -> None:
    document = json.loads(plan_to_json(planned()))
    assert jsonschema.Draft202012Validator(schema("plan")).is_valid(document)
    assert [row.get("variant") for row in document["placement"]] == ["lazy", None, None, None]
    once = [row for row in document["tasks"] if row["microbatch"] is None]
    assert sorted((row["operator"], row["copy"], row["pass"], row["stream"]) for row in once) == [
        *(("a", k, p, s) for k in (0, 1) for p, s in (("G", "comm"), ("R", "comm"), ("U", "compute"))),
        *(("b", k, "U", "compute") for k in (0, 1)),
    ]
    assert document["tasks"][-len(once) :] == once
    sent = [row for row in document["transfers"] if row["microbatch"] is None]
    assert sorted((row["operator"], row["pass"], row["copy"], row["from"], row["to"]) for row in sent) == [
        ("a", "R", 0, "gpu0", "gpu1"),
        ("a", "R", 1, "gpu1", "gpu0"),
    ]
    assert document["transfers"][-2:] == sent


def test_a_plan_without_them_has_no_such_keys() -> None:
    the_problem = problem(graph(operator("a"), microbatches=2), cluster(1))
    document = json.loads(plan_to_json(plan_of_step(the_problem, whole_step(the_problem, [[0]]))))
    assert document["placement"] == [{"operator": "a", "copy": 0, "device": "gpu0"}]
    assert all(row["microbatch"] is not None for row in document["tasks"])


def last(document: dict[str, Any], field: str) -> dict[str, Any]:
    row: dict[str, Any] = document[field][-1]
    return row


MISTAKES: list[tuple[Callable[[dict[str, Any]], Any], str, str]] = [
    (lambda d: last(d, "tasks").update(microbatch=0), "tasks[16].microbatch", "must be null where pass is U"),
    (lambda d: d["tasks"][0].update(microbatch=None), "tasks[0].microbatch", "is null, but pass is F"),
    (lambda d: last(d, "transfers").update(microbatch=1), "transfers[5].microbatch", "must be null where pass is R"),
    (lambda d: d["transfers"][0].update(microbatch=None), "transfers[0].microbatch", "is null, but pass is F"),
    (lambda d: last(d, "transfers").update({"pass": "U"}), "transfers[5].pass", "found 'U'"),
    (lambda d: last(d, "tasks").update({"pass": "X"}), "tasks[16].pass", "found 'X'"),
    (lambda d: d["placement"][0].update(variant=None), "placement[0].variant", "found nothing"),
    (lambda d: d["placement"][0].update(variant=3), "placement[0].variant", "found 3"),
    (lambda d: last(d, "tasks").pop("microbatch"), "tasks[16].microbatch", "is missing"),
]


@pytest.mark.parametrize(("damage", "field", "words"), MISTAKES)
def test_mistakes(damage: Callable[[dict[str, Any]], Any], field: str, words: str, tmp_path: Path) -> None:
    document = json.loads(plan_to_json(planned()))
    damage(document)
    (tmp_path / "plan.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_plan(tmp_path / "plan.json")
    assert (error.value.field, words in str(error.value)) == (field, True), str(error.value)
