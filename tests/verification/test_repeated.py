"""Plans that list their steady state once: what ``verify`` says of them is what it says of the step in full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from solver_problems import checked, random_search
from whole_steps import plain_figures, plan_of_step, with_step_tasks

from planner.files.plan_file import read_plan
from planner.plan.build import build_plan, timetable_of
from planner.plan.plan import Plan, PlannedTask, PlanRepetition
from planner.problem import Operator, Problem
from planner.problem.graph import STEP_ORDER
from planner.scheduling.list.kernel import run
from planner.scheduling.list.rules import RULES
from planner.scheduling.repetition import Repetition, repetition_of
from planner.verification.repeated import repeated_plan, repetitions_to_check

Case = tuple[Problem, Plan, PlanRepetition]


def repeated_case(seed: int, times: int) -> Case | None:
    """A list schedule of a random problem with a steady state, repeated so often; memory tight as often as not."""
    search = random_search(seed, operators=5, devices=3, microbatches=(24,))
    if search is None or search.mirrored is not None:
        return None
    rule = RULES[seed % len(RULES)]
    found = run(search.arrays, rule.keys(search.keying, search.scales), rule.look, reserve=rule.reserve)
    if found.makespan < 0:
        return None
    short = search.classes.problem
    timetable = search.classes.timetable(found.start * search.classes.tick)
    for microbatches in range(1, 5):
        whole = short.with_microbatches(short.microbatches + microbatches * len(set(timetable.copy_of)) * times)
        repetition = repetition_of(whole, short, timetable)
        if repetition is not None and repetition.part.times == times:
            return whole, written(repetition), repetition.part
    return None


def written(repetition: Repetition) -> Plan:
    return build_plan(
        repetition.short,
        repetition.timetable,
        origin="solve",
        status="feasible",
        lower_bound=0.0,
        placement_lower_bound=0.0,
        options={"copies": repetition.short.copies},
        solve_seconds=0.0,
        repeated=repetition.part,
        whole=repetition.figures(),
    )


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    found = [case for seed in range(60) if (case := repeated_case(seed, times=(1, 2, 5, 40)[seed % 4])) is not None]
    assert len(found) >= 12
    return found


def test_the_step_in_full_is_valid(cases: list[Case]) -> None:
    """With all repetitions written out, every task is in its place, and the figures are those of the plan."""
    for problem, plan, part in cases:
        assert checked(problem, plan) == []
        assert checked(problem, repeated_plan(plan, part, part.times)) == []
    assert any(repetitions_to_check(plan, part) < part.times for _, plan, part in cases)


def test_a_file_brings_it_back(cases: list[Case], tmp_path: object) -> None:
    _, plan, part = cases[0]
    path = f"{tmp_path}/plan.json"
    plan.write(path)
    assert read_plan(path).repeated == part
    assert replace(read_plan(path), options=plan.options) == plan


def shifted(plan: Plan, k: int, seconds: float) -> Plan:
    """The plan with one task moved."""
    tasks = list(plan.tasks)
    tasks[k] = tasks[k]._replace(start=tasks[k].start + seconds, end=tasks[k].end + seconds)
    return replace(plan, tasks=tuple(tasks))


def test_moved_tasks_and_lengths(cases: list[Case]) -> None:
    """What the step in full does not allow is found; and what it allows is passed, if the listed step is valid, too."""
    rng = np.random.default_rng(7)
    wrong = 0
    for problem, plan, part in cases:
        for _ in range(8):
            how = rng.integers(3)
            length = part.length * (rng.uniform(0.6, 1.4) if how == 0 else 1.0)
            start = max(0.0, part.start + (rng.uniform(-0.5, 0.5) * part.length if how == 1 else 0.0))
            again = replace(part, length=float(length), start=float(start))
            move = float(rng.uniform(-1, 1) * part.length) if how == 2 else 0.0
            made = replace(shifted(plan, int(rng.integers(len(plan.tasks))), move), repeated=again)
            found = [v for v in checked(problem, made) if int(v.rule) < 6]
            full = [v for v in checked(problem, repeated_plan(made, again, again.times)) if int(v.rule) < 6]
            if full:
                assert found, (how, length, start, move)
                wrong += 1
            elif found:
                listed = repeated_plan(made, again, 0)
                odd = [v for v in checked(problem.with_microbatches(listed.microbatches), listed) if int(v.rule) < 6]
                assert odd or all(v.message.startswith("repeated: ") for v in found)
    assert wrong >= 20


def without(plan: Plan, part: PlanRepetition) -> Plan:
    """The plan without one task of the part that is repeated."""
    k = next(k for k, t in enumerate(plan.tasks) if part.start <= t.start < part.start + part.length)
    return replace(plan, tasks=plan.tasks[:k] + plan.tasks[k + 1 :])


def renumbered(plan: Plan, part: PlanRepetition) -> Plan:
    """Two microbatches of one pass change places, one before the part and one after it."""
    first = plan.tasks[0]
    last = next(t for t in reversed(plan.tasks) if (t.operator, t.pass_, t.copy) == (first[0], first[1], first[3]))

    def swapped(task: PlannedTask) -> PlannedTask:
        if task in (first, last):
            return task._replace(microbatch=(last if task is first else first).microbatch)
        return task

    return replace(plan, tasks=tuple(map(swapped, plan.tasks)))


DAMAGE: tuple[tuple[str, Callable[[Plan, PlanRepetition], Plan]], ...] = (
    ("a task is missing", without),
    ("microbatches change places", renumbered),
    ("times", lambda plan, part: replace(plan, repeated=replace(part, times=part.times + 1))),
    ("microbatches", lambda plan, part: replace(plan, microbatches=plan.microbatches + part.microbatches)),
    ("microbatches of the part", lambda plan, part: replace(plan, repeated=replace(part, microbatches=977))),
    ("makespan", lambda plan, _: replace(plan, makespan=plan.makespan * (1 + 1e-6))),
    ("bubble_ratio", lambda plan, _: replace(plan, bubble_ratio=plan.bubble_ratio + 1e-3)),
    ("bound", lambda plan, _: replace(plan, lower_bound=plan.makespan * 1.01)),
    *(
        (name, lambda plan, _, name=name: replace(plan, devices=tuple(_grown(d, name) for d in plan.devices)))
        for name in ("busy", "bubble", "span_bubble", "peak_memory")
    ),
    (
        "peak_memory_at",
        lambda plan, _: replace(plan, devices=tuple(replace(d, peak_memory_at=-1.0) for d in plan.devices)),
    ),
)


def _grown(device: object, name: str) -> object:
    return replace(device, **{name: getattr(device, name) * 1.01 + 1.0})  # type: ignore[type-var]


@pytest.mark.parametrize(("what", "damage"), DAMAGE, ids=[what for what, _ in DAMAGE])
def test_damage_is_found(what: str, damage: Callable[[Plan, PlanRepetition], Plan], cases: list[Case]) -> None:
    for problem, plan, part in cases:
        assert checked(problem, damage(plan, part)), what


def test_million_repetitions(cases: list[Case]) -> None:
    """The check of a step does not grow with its repetitions, and the memory that they hold is that of few."""
    for problem, plan, part in cases[:4]:
        times = 10**6
        whole = problem.with_microbatches(plan.listed_microbatches + times * part.microbatches)
        more = replace(plan, repeated=replace(part, times=times), microbatches=whole.microbatches)
        rules = {int(violation.rule) for violation in checked(whole, more)}
        assert rules == {6}, "only its figures are others"


# -- the end of the step ------------------------------------------------------------------------------------


def ended(case: Case, seed: int) -> Case:
    """The plan of the same problem with step tasks, exchanges and clipping: some of them, with their times drawn."""
    problem, plan, part = case
    rng = np.random.default_rng(seed)

    def more(operator: Operator) -> Operator:
        step = {p: part.length * float(rng.choice([0.2, 0.7, 3.0])) for p in STEP_ORDER if rng.random() < 0.7}
        return replace(operator, step=step, gradient=float(rng.choice([0.0, 1.0])))

    graph = replace(problem.graph, operators=tuple(map(more, problem.operators)), clip_gradients=rng.random() < 0.5)
    problem = replace(problem, graph=graph)
    short = problem.with_microbatches(plan.listed_microbatches)
    timetable = with_step_tasks(short, timetable_of(plan, short))
    plan = replace(plan_of_step(short, timetable), microbatches=problem.microbatches, repeated=part)
    whole = timetable_of(repeated_plan(plan, part, part.times), problem)
    figures = plain_figures(problem, whole)
    return problem, replace(
        plan,
        makespan=figures.makespan,
        bubble_ratio=figures.bubble_ratio,
        bubble_ratio_all=figures.bubble_ratio_all,
        devices=figures.devices,
    ), part  # fmt: skip


@pytest.fixture(scope="module")
def with_ends(cases: list[Case]) -> list[Case]:
    found = [ended(case, seed) for seed, case in enumerate(cases)]
    assert sum(len(plan.exchanges) > 0 for _, plan, _ in found) >= 1
    assert sum(repetitions_to_check(plan, part) < part.times for _, plan, part in found) >= 2
    return found


def test_steps_with_an_end_are_valid(with_ends: list[Case]) -> None:
    """Step tasks and exchanges come once, after all repetitions; the figures are those of the step in full."""
    for problem, plan, part in with_ends:
        assert checked(problem, plan) == []
        assert checked(problem, repeated_plan(plan, part, part.times)) == []


def test_moved_step_tasks(with_ends: list[Case]) -> None:
    """What the step in full does not allow is found; what it allows is passed, if the listed step is valid, too."""
    rng = np.random.default_rng(11)
    wrong = right = 0
    for problem, plan, part in with_ends:
        for _ in range(8):
            field = ("step_tasks", "exchanges")[int(rng.integers(2))]
            rows = list(getattr(plan, field))
            if not rows:
                continue
            k, by = int(rng.integers(len(rows))), float(rng.uniform(-3, 1) * part.length)
            rows[k] = rows[k]._replace(start=rows[k].start + by, end=rows[k].end + by)
            made = replace(plan, **{field: tuple(rows)})
            found = [v for v in checked(problem, made) if int(v.rule) < 6]
            full = [v for v in checked(problem, repeated_plan(made, part, part.times)) if int(v.rule) < 6]
            listed = repeated_plan(made, part, 0)
            odd = [v for v in checked(problem.with_microbatches(listed.microbatches), listed) if int(v.rule) < 6]
            assert bool(found) == bool(full or odd)
            wrong, right = wrong + bool(full), right + (not found)
    assert wrong >= 10
    assert right >= 2


def test_step_tasks_come_after_the_part(with_ends: list[Case]) -> None:
    problem, plan, part = next(case for case in with_ends if case[1].step_tasks and case[2].start > 0)
    first = plan.step_tasks[0]
    early = first._replace(start=part.start / 2, end=part.start / 2 + first.end - first.start)
    (violation,) = checked(problem, replace(plan, step_tasks=(early, *plan.step_tasks[1:])))
    assert "must start after all repetitions, but the part starts later" in str(violation)


@pytest.mark.parametrize("field", ["makespan", "bubble_ratio"])
def test_figures_count_the_end(field: str, with_ends: list[Case]) -> None:
    for problem, plan, _ in with_ends:
        assert checked(problem, replace(plan, **{field: getattr(plan, field) + 1e-3}))
