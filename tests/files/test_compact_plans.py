"""plan.json in the compact form: the same plan to the last bit, and one clear error where it stands for none."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from handmade import cluster, graph, operator, problem
from whole_steps import plan_of_step, whole_step

from planner.files import InputError, schema
from planner.files.plan_file import plan_error, read_plan
from planner.objectives.baseline import baseline_plan
from planner.plan import compact as compact_form
from planner.plan.plan import Plan, PlannedTask, PlannedTransfer, plan_to_json
from planner.plan.progressions import duration, in_progression, split
from planner.problem.graph import Pass


def steady(name: str = "1f1b", microbatches: int = 60, length: float = 1.0) -> Plan:
    """A baseline of four devices in passes of odd lengths, so that its instants are rounded."""
    a, b, c, d = (
        operator(x, *before, f=0.1 * length, i=0.17 * length, w=0.03 * length, output=1.0)
        for x, *before in (("a",), ("b", "a"), ("c", "b"), ("d", "c"))
    )
    posed = problem(graph(a, b, c, d, microbatches=microbatches), cluster(4, latency=0.007, bandwidth=90.0), copies=2)
    return baseline_plan(name, posed, None)


def both_ends() -> Plan:
    """A plan of a whole step: two copies, step tasks and an exchange of gradients."""
    steps = {Pass.R: 1.0, Pass.U: 0.5, Pass.G: 0.25}
    a = operator("a", w=1, parameters=5, activation=3, output=1, step=steps, gradient=1.0)
    posed = problem(graph(a, operator("b", "a"), microbatches=2), cluster(2, latency=0.5, bandwidth=2.0), copies=2)
    return plan_of_step(posed, whole_step(posed, [[0, 1], [1, 0]], [0, 1], [(0, 0), (0, 0)]))


def written(plan: Plan, folder: Path) -> Path:
    plan.write(folder / "plan.json", compact=True)
    return folder / "plan.json"


PLANS: dict[str, Callable[[], Plan]] = {
    "1f1b": steady,
    "gpipe": lambda: steady("gpipe"),
    "zb1p": lambda: steady("zb1p"),
    "dualpipe": lambda: steady("dualpipe"),
    "one microbatch": lambda: steady(microbatches=1),
    "thirds": lambda: steady(length=1 / 3),
    "whole step": both_ends,
    "nothing": lambda: replace(steady(microbatches=1), tasks=(), transfers=()),
}


@pytest.mark.parametrize("name", PLANS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    """Every row comes back, to the last bit and in its place; written again, it is the same file."""
    plan = PLANS[name]()
    path = written(plan, tmp_path)
    assert read_plan(path) == plan
    assert plan_to_json(read_plan(path), compact=True) == path.read_text()
    assert jsonschema.Draft202012Validator(schema("plan")).is_valid(json.loads(path.read_text()))


def test_ramps_and_steady_state_stand_apart() -> None:
    """Ten times as many microbatches: one number more a row, and the same ramps."""
    short, long = (json.loads(plan_to_json(steady(microbatches=m), compact=True)) for m in (60, 600))
    alone = [sum(len(row["starts"]) for row in plan["tasks"]["classes"]) for plan in (short, long)]
    assert alone[0] == alone[1] < 60
    assert len(plan_to_json(steady(microbatches=600), compact=True)) < 0.05 * len(
        plan_to_json(steady(microbatches=600))
    )


@pytest.mark.parametrize("seed", range(40))
def test_any_rows(seed: int, tmp_path: Path) -> None:
    """No steady state, negative and huge instants, two durations in a class, rows twice: nothing is lost."""
    chance = random.Random(seed)
    scale = chance.choice([1.0, 1e-9, 1e300, 5e-324])

    def instant() -> float:
        return chance.choice([0.0, -0.0, chance.uniform(-1, 9) * scale, chance.randrange(9) * 0.1, chance.random()])

    def rows(kind: type[Any], names: list[str], there: list[str]) -> tuple[Any, ...]:
        made = []
        for _ in range(chance.randrange(120)):
            start = instant()
            end = chance.choice([start + 0.1, start, start + 0.1 * (1 + 1e-15), instant()])
            where = chance.choice(["gpu0", "gpu1", "unknown"])
            copy, microbatch = chance.randrange(2), chance.randrange(-1, 30)
            made.append(kind(chance.choice(names), "F", microbatch, copy, where, chance.choice(there), start, end))
        return tuple(made)

    plan = replace(
        steady(microbatches=1),
        tasks=rows(PlannedTask, ["a", "b", "none"], ["compute", "comm"]),
        transfers=rows(PlannedTransfer, ["a", "größe"], ["gpu0", "comm"]),
    )
    path = written(plan, tmp_path)
    found = read_plan(path)
    for before, after in ((plan.tasks, found.tasks), (plan.transfers, found.transfers)):
        assert sorted(map(repr, before)) == sorted(map(repr, after))
        assert [row.start for row in after] == sorted(row.start for row in before)
    assert plan_to_json(found, compact=True) == path.read_text()


def test_progressions_of_several_microbatches() -> None:
    """A pattern of three microbatches: three progressions, and what is left at both ends."""
    microbatch = np.arange(100)
    start = 7.0 * (microbatch // 3) + np.array([0.0, 1.0, 5.0])[microbatch % 3]
    start[:2] -= 0.5
    found = split(microbatch, start)
    assert found.alone.tolist() == [0, 1]
    assert {(each.length, each.microbatches) for each in found.progressions} == {(7.0, 3)}
    again = [in_progression(each.start, each.length, each.times, each.rounding) for each in found.progressions]
    assert np.concatenate([start[found.alone], *again]).tolist() == start[found.order].tolist()


def test_the_duration_that_gives_every_end() -> None:
    start = np.cumsum(np.full(1000, 0.3))
    assert duration(start, start + 0.0005219578311) == pytest.approx(0.0005219578311, rel=1e-9)
    assert (start + duration(start, start + 0.0005219578311) == start + 0.0005219578311).all()


def test_not_finite(tmp_path: Path) -> None:
    plan = steady(microbatches=1)
    with pytest.raises(ValueError, match="no instant"):
        plan_to_json(replace(plan, tasks=(plan.tasks[0]._replace(end=float("inf")),)), compact=True)


# -- mistakes -------------------------------------------------------------------------------------------------

MISTAKES: list[tuple[Callable[[dict[str, Any]], Any], str, str]] = [
    (lambda d: again(d).update(times=0), "tasks.classes[0].repeated[0].times", "greater than or equal to 1"),
    (lambda d: again(d).update(times=10**12), "tasks.classes[0].repeated[0].times", "more than 5,000,000 rows"),
    (lambda d: again(d).update(times=5), "tasks.classes[0].repeated[0].rounding", "there must be 5, or none"),
    (lambda d: again(d).update(microbatches=2**31 - 1), "tasks.classes[0].repeated[0].microbatches", "leads to"),
    (lambda d: again(d).update(length="1 s"), "tasks.classes[0].repeated[0].length", "valid number"),
    (lambda d: again(d).update(length=1e308), "tasks.classes[0].repeated[0]", "no finite number"),
    (lambda d: again(d)["rounding"].append("x"), "tasks.classes[0].repeated[0].rounding[", "valid integer"),
    (lambda d: again(d)["rounding"].append(2**31), "tasks.classes[0].repeated[0].rounding[", "less than 2147483648"),
    (lambda d: again(d).pop("start"), "tasks.classes[0].repeated[0].start", "is missing"),
    (lambda d: d["tasks"]["classes"][0]["starts"].append(0.5), "tasks.classes[0].starts", "one each"),
    (lambda d: d["tasks"]["classes"][0].update(end_rounding=[1]), "tasks.classes[0].end_rounding", "or none"),
    (lambda d: d["tasks"]["classes"][0].update(seconds=None), "tasks.classes[0].seconds", "valid number"),
    (lambda d: d["tasks"]["classes"][1].update({"pass": "R"}), "tasks.classes[1].pass", "found 'R'"),
    (lambda d: d["transfers"]["classes"][0].pop("from"), "transfers.classes[0].from", "is missing"),
    (lambda d: d["tasks"].update(classes={}), "tasks.classes", "valid list"),
    (lambda d: d.update(tasks={}), "tasks", "valid list"),
    (lambda d: d["tasks"].update(once=[row(microbatch=1)]), "tasks.once[0].microbatch", "belongs to a class"),
    (lambda d: d["tasks"].update(once=[row()]), "tasks.once[0].microbatch", "is null, but pass is F"),
]


def again(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["tasks"]["classes"][0]["repeated"][0]
    return found


def row(microbatch: int | None = None) -> dict[str, Any]:
    where = {"operator": "a", "copy": 0, "device": "gpu0", "stream": "compute"}
    return {**where, "pass": "F", "microbatch": microbatch, "start": 0.0, "end": 1.0}


@pytest.mark.parametrize(("damage", "field", "words"), MISTAKES)
def test_mistakes(damage: Callable[[dict[str, Any]], Any], field: str, words: str, tmp_path: Path) -> None:
    """File, line and field, as in rows."""
    document = json.loads(plan_to_json(steady(), compact=True))
    assert again(document)["rounding"]
    damage(document)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_plan(path)
    assert (error.value.field or "").startswith(field) and words in str(error.value), str(error.value)
    assert error.value.line is not None and error.value.line > 1


def test_too_many_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of rows holds for those that stand one by one, too."""
    path = written(steady(microbatches=1), tmp_path)
    monkeypatch.setattr(compact_form, "MOST_ROWS", 3)
    with pytest.raises(InputError, match="more than 3 rows"):
        read_plan(path)


def test_one_form_for_tasks_and_another_for_transfers(tmp_path: Path) -> None:
    plan = steady()
    document = json.loads(plan_to_json(plan)) | {"tasks": json.loads(plan_to_json(plan, compact=True))["tasks"]}
    (tmp_path / "plan.json").write_text(json.dumps(document))
    assert read_plan(tmp_path / "plan.json") == plan


def test_an_error_about_a_row_names_its_class(tmp_path: Path) -> None:
    """A row has no line of its own there."""
    plan = steady()
    path = written(plan, tmp_path)
    k = next(k for k, task in enumerate(plan.tasks) if task.operator == "c" and task.pass_ == "I")
    error = plan_error(path, ["tasks", k, "end"], "is wrong")
    assert error.line is not None and error.field is not None and error.field.startswith("tasks.classes[")
    named = json.loads(path.read_text().splitlines()[error.line - 1].rstrip(","))
    assert (named["operator"], named["pass"]) == ("c", "I")
    both_ends().write(path, compact=True)
    error = plan_error(path, ["tasks", len(both_ends().tasks), "end"], "is wrong")
    assert error.field == "tasks.once[0]" and error.line is not None
