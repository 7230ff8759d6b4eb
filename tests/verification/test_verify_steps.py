"""verify: variants by copy, step tasks and exchanges; every way to break their rules is found under the right one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from handmade import cluster, graph, operator, problem
from plan_cases import changed, check, device, place, twice, without
from step_cases import CASES, case, posed, random_case
from whole_steps import plan_of_step, whole_step

from planner.plan.plan import Figure, Plan, PlannedExchange, PlannedStepTask, PlannedTask
from planner.problem import ByDevice, Pass
from planner.verification import verify_plan


@pytest.mark.parametrize("name", CASES)
def test_valid_plans_have_no_violation(name: str) -> None:
    assert check(*CASES[name]()) == []


def test_a_step_by_hand() -> None:
    """Two copies of one operator, a microbatch each; every instant and figure follows from the rules by hand."""
    a = operator(
        "a", f=1, i=2, w=1, parameters=8, activation=3, held_for_weight_grad=2, gradient=4.0,
        step={Pass.R: 3.0, Pass.U: 1.0, Pass.G: 0.5},
    )  # fmt: skip
    the_problem = problem(graph(a, microbatches=2), cluster(2, latency=1.0, bandwidth=4.0), copies=2)
    tasks, step = [], []
    for k, late in enumerate((0.0, 0.5)):
        for pass_, start, end in (("F", 0, 1), ("I", 1, 3), ("W", 3, 4)):
            tasks.append(PlannedTask("a", pass_, k, k, f"gpu{k}", "compute", start + late, end + late))
        # gradients leave at 4 and 4.5 and arrive 2 s later
        for pass_, stream, start, end in (("R", "comm", 6, 9), ("U", "compute", 9, 10), ("G", "comm", 10, 10.5)):
            other = 0.5 - late
            step.append(PlannedStepTask("a", pass_, k, f"gpu{k}", stream, start + other, end + other))
    sent = (PlannedExchange("a", 0, "gpu0", "gpu1", 4, 6), PlannedExchange("a", 1, "gpu1", "gpu0", 4.5, 6.5))
    made = plan_of_step(the_problem, whole_step(the_problem, [[0], [1]], [0, 1]))
    devices = (  # 5 s of work each; gpu0 from 0 to 10.5, gpu1 from 0.5 to 10
        replace(made.devices[0], busy=5.0, bubble=6.0, span_bubble=5.5, peak_memory=11.0, peak_memory_at=0.0),
        replace(made.devices[1], busy=5.0, bubble=6.0, span_bubble=4.5, peak_memory=11.0, peak_memory_at=0.5),
    )
    plan = replace(
        made,
        tasks=tuple(tasks),
        step_tasks=tuple(step),
        exchanges=sent,
        devices=devices,
        makespan=11.0,
        gap=1.0,
        bubble_ratio=12 / 22,
        bubble_ratio_all=12 / 22,
        figures=(Figure("period", 2.0, 2.0),),  # 4 s of passes, two microbatches: step tasks do not count
    )
    assert check(the_problem, plan) == []


@pytest.mark.parametrize("seed", range(120))
def test_random_plans_are_valid(seed: int) -> None:
    """Figures and memory agree with plain sums, and no valid plan is refused."""
    the_problem, plan = random_case(seed)
    plan = replace(plan, origin="baseline:by-hand", lower_bound=None, placement_lower_bound=None, gap=None)
    assert check(the_problem, plan) == []


@pytest.mark.parametrize("seed", range(40))
def test_every_dropped_or_doubled_row_is_found(seed: int) -> None:
    """No step task and no exchange of any plan may be missing or stand twice."""
    the_problem, plan = random_case(seed)
    for field, rule in (("step_tasks", 2), ("exchanges", 4)):
        for k in range(len(getattr(plan, field))):
            assert rule in {v.rule for v in check(the_problem, without(field, k)(plan))}
            assert rule in {v.rule for v in check(the_problem, twice(field, k)(plan))}


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        (None, []),
        (("base", "lazy", "fat"), []),
        (("base", "lazy"), ["a', copy 1: variant 'fat' is not allowed, only 'base', 'lazy'"]),
        (("fat",), ["a', copy 0: variant 'lazy' is not allowed, only 'fat'"]),
        (("base",), ["a', copy 0: variant 'lazy'", "a', copy 1: variant 'fat' is not allowed, only 'base'"]),
    ],
)
def test_variants_that_are_allowed(allowed: tuple[str, ...] | None, refused: list[str]) -> None:
    """An operator that has none of the names is base: b and c always are."""
    the_problem, plan = CASES["clipped"]()
    found = verify_plan(
        plan, the_problem.graph, the_problem.cluster, copies=2, memory_cap=1000, microbatches=3, variants=allowed
    )
    assert [v.rule for v in found] == [1] * len(refused)
    assert all(words in v.message for words, v in zip(refused, found, strict=True))


def test_base_itself_may_be_refused() -> None:
    """Where a variant of the operator is among those allowed, base is not."""
    the_problem, plan = case(posed(copies=1), [[0, 1, 1]], [0, 0, 0], [(0, 0, 0)])
    found = verify_plan(
        plan, the_problem.graph, the_problem.cluster, copies=1, memory_cap=1000, microbatches=3, variants=["lazy"]
    )
    assert [str(v) for v in found] == [
        "rule 1 (placement): placement of 'a', copy 0: variant 'base' is not allowed, only 'lazy'"
    ]


def test_a_device_without_a_time_for_a_step_task() -> None:
    """It may not run the operator, whatever the passes take there."""
    a = operator("a", step={Pass.U: ByDevice({"gpu1": 1.0})})
    the_problem = problem(graph(a), cluster(2))
    timetable = whole_step(the_problem, [[1]])
    plan = plan_of_step(the_problem, timetable)
    assert check(the_problem, plan) == []
    for words in ("'a', copy 0, may not run on gpu0: gpu0 has no time for pass U",):
        assert any(words in v.message for v in check(the_problem, place("a", device="gpu0")(plan)))


def test_the_larger_variant_counts_against_the_cap() -> None:
    """Two copies on one device share their parameters: those of the larger variant, once."""
    the_problem, plan = CASES["idle_copy"]()
    assert plan.devices[0].peak_memory == 132
    for cap, rules in ((132.0, []), (132.0 - 1e-5, [5])):
        tight = replace(the_problem, memory_cap=cap)
        capped = replace(plan, devices=tuple(replace(d, memory=cap) for d in plan.devices))
        assert [v.rule for v in check(tight, capped)] == rules


# -- damage -------------------------------------------------------------------------------------------------


def step(operator: str, pass_: str, copy: int, /, **change: Any) -> Callable[[Plan], Plan]:
    """Change the fields of one step task; ``shift`` moves it, ``to`` moves it to that start."""

    def mutate(plan: Plan) -> Plan:
        k = next(k for k, t in enumerate(plan.step_tasks) if t[:3] == (operator, pass_, copy))
        return _changed(plan, "step_tasks", k, change)

    return mutate


def exchange(operator: str, copy: int, /, **change: Any) -> Callable[[Plan], Plan]:
    """The same for one exchange."""

    def mutate(plan: Plan) -> Plan:
        k = next(k for k, x in enumerate(plan.exchanges) if x[:2] == (operator, copy))
        return _changed(plan, "exchanges", k, change)

    return mutate


def _changed(plan: Plan, field: str, k: int, change: dict[str, Any]) -> Plan:
    rows = getattr(plan, field)
    if "to" in change:
        change = {"shift": change["to"] - rows[k].start}
    return replace(plan, **{field: (*rows[:k], changed(rows[k], change), *rows[k + 1 :])})


def added(row: PlannedStepTask | PlannedExchange) -> Callable[[Plan], Plan]:
    field = "step_tasks" if isinstance(row, PlannedStepTask) else "exchanges"
    return lambda plan: replace(plan, **{field: (*getattr(plan, field), row)})


def place_of(operator: str, copy: int, /, **change: Any) -> Callable[[Plan], Plan]:
    return lambda plan: replace(
        plan,
        placement=tuple(
            replace(p, **change) if (p.operator, p.copy) == (operator, copy) else p for p in plan.placement
        ),
    )


def under(work: tuple[str, str, int], sent: tuple[str, int]) -> Callable[[Plan], Plan]:
    """Move a step task to where an exchange starts that occupies its device."""

    def mutate(plan: Plan) -> Plan:
        start = next(x.start for x in plan.exchanges if x[:2] == sent)
        return step(*work, to=start)(plan)

    return mutate


def after_task(name: str, pass_: str, k: int, /, **change: Any) -> Callable[[Plan], Plan]:
    """Move a step task to where a pass of a microbatch starts on that device."""

    def mutate(plan: Plan) -> Plan:
        where = next(t.device for t in plan.step_tasks if t[:3] == (name, pass_, k))
        stream = next(t.stream for t in plan.step_tasks if t[:3] == (name, pass_, k))
        start = max(t.start for t in plan.tasks if (t.device, t.stream) == (where, stream) and t.end > t.start)
        return step(name, pass_, k, to=start)(plan)

    return mutate


R0 = PlannedStepTask("a", "R", 0, "gpu0", "comm", 60.0, 61.0)
SENT = PlannedExchange("a", 0, "gpu0", "gpu1", 60.0, 61.0)

MUTATIONS: list[tuple[str, int, str, Callable[[Plan], Plan]]] = [
    # variants
    (
        "clipped",
        1,
        "copy 0: the operator has no variant 'ghost', only 'base', 'lazy', 'fat'",
        place("a", variant="ghost"),
    ),
    ("clipped", 1, "copy 0: the operator has no variant 'lazy', only 'base'", place("b", variant="lazy")),
    (
        "clipped",
        2,
        "W of 'a', microbatch 1, on gpu1 (22 to 22.75 s): variant 'lazy' has no such pass",
        place_of("a", 1, variant="lazy"),
    ),
    (
        "clipped",
        2,
        "I of 'a', microbatch 1, on gpu1 (21 to 22 s) lasts 1 s, but the pass takes 3.5 s there",
        place_of("a", 1, variant="lazy"),
    ),
    ("clipped", 2, "W of 'a', microbatch 0, does not run on gpu0", place("a", variant="base")),
    ("clipped", 2, "lasts 3.5 s, but the pass takes 2 s there", place("a", variant="base")),
    ("clipped", 6, "peak_memory of gpu1 is 143, but it follows as 113", place_of("a", 1, variant="base")),
    ("idle_copy", 6, "peak_memory of gpu0 is 132, but it follows as 102", place_of("a", 1, variant="base")),
    ("inference", 1, "the operator has no variant 'ghost'", place("a", variant="ghost")),
    ("inference", 2, "F of 'a', microbatch 1, on gpu1", place_of("a", 1, variant="lazy")),
    (
        "idle_copy",
        1,
        "'a', copy 1, may not run on gpu2 as variant 'fat': gpu2 has no time for pass W",
        place_of("a", 1, device="gpu2"),
    ),
    # step tasks
    ("clipped", 2, "R of 'a', copy 0, does not run on gpu0", without("step_tasks", 0)),
    ("clipped", 2, "runs a second time; first on gpu0 at 34.5 s", added(R0)),
    (
        "idle_copy",
        2,
        "U of 'b', copy 1, does not run on gpu0",
        lambda p: without("step_tasks", [t[:3] for t in p.step_tasks].index(("b", "U", 1)))(p),
    ),
    ("clipped", 2, "the graph has no such operator", added(R0._replace(operator="ghost"))),
    ("clipped", 2, "the operator has no such step task", added(R0._replace(operator="b"))),
    ("clipped", 2, "the operator has no such step task", added(R0._replace(pass_="F"))),
    ("inference", 2, "inference has no step tasks", added(R0)),
    ("clipped", 2, "copy 2 of the operator has no placement", added(R0._replace(copy=2))),
    ("clipped", 2, "copy 0 of the operator is placed on gpu0", step("a", "G", 0, device="gpu2")),
    ("clipped", 2, "copy 0 of the operator is placed on gpu0", step("a", "G", 0, device="gpu9")),
    ("clipped", 2, "is on stream compute, but R occupies stream comm", step("a", "R", 0, stream="compute")),
    ("clipped", 2, "is on stream comm, but U occupies stream compute", step("b", "U", 0, stream="comm")),
    ("clipped", 2, "is on stream compute, but G occupies stream comm", step("c", "G", 0, stream="compute")),
    ("clipped", 2, "lasts 1.1 s, but it takes 1 s there", step("b", "U", 0, end=38.6)),
    ("clipped", 2, "must be finite", step("a", "R", 0, start=math.nan)),
    ("clipped", 2, "must be finite", step("a", "R", 0, end=math.inf)),
    ("clipped", 2, "must be finite", step("a", "R", 0, to=-3.0)),
    ("clipped", 2, "must be finite", step("b", "U", 0, start=38.0, end=37.0)),
    ("clipped", 2, "G of 'c', copy 1, on gpu0 (37.2 to 37.7 s) overlaps G of 'a', copy 0", step("c", "G", 1, to=37.2)),
    ("clipped", 2, "U of 'b', copy 1, on gpu0 (36.7 to 37.7 s) overlaps U of 'a', copy 0", step("b", "U", 1, to=36.7)),
    ("clipped", 2, "I of 'a', microbatch 2, on gpu0 (31 to 34.5 s) overlaps U of 'b', copy 1", after_task("b", "U", 1)),
    ("clipped", 2, "overlaps R of 'a', copy 1", step("c", "G", 0, to=36.25)),
    ("idle_copy", 2, "on stream comm", after_task("c", "G", 0)),
    # their order
    (
        "clipped",
        3,
        "R of 'a', copy 0, on gpu0 (33 to 34 s) must start after I of 'a', microbatch 2",
        step("a", "R", 0, to=33.0),
    ),
    (
        "single",
        3,
        "R of 'a', copy 0, on gpu0 (35.9 to 36.9 s) must start after W of 'a', microbatch 2",
        step("a", "R", 0, shift=-0.1),
    ),
    (
        "unclipped",
        3,
        "U of 'a', copy 0, on gpu0 (35.4 to 35.9 s) must start after R of 'a', copy 0",
        step("a", "U", 0, to=35.4),
    ),
    (
        "clipped",
        3,
        "U of 'a', copy 0, on gpu0 (36.4 to 36.9 s) must start after R of 'a', copy 1",
        step("a", "U", 0, to=36.4),
    ),
    (
        "clipped",
        3,
        "U of 'b', copy 1, on gpu0 (35.4 to 36.4 s) must start after R of 'a', copy 1",
        step("b", "U", 1, to=35.4),
    ),
    (
        "unclipped",
        3,
        "U of 'b', copy 0, on gpu1 (20 to 21 s) must start after I of 'b', microbatch 2",
        step("b", "U", 0, to=20.0),
    ),
    ("clipped", 3, "must start after U of 'a', copy 0", step("a", "G", 0, shift=-0.1)),
    (
        "clipped",
        3,
        "G of 'c', copy 0, on gpu1 (1 to 1.5 s) must start after W of 'c', microbatch 2",
        step("c", "G", 0, to=1.0),
    ),
    (
        "free_exchanges",
        3,
        "R of 'a', copy 1, on gpu1 (20 to 21 s) must start after I of 'a', microbatch 2, on gpu0",
        step("a", "R", 1, to=20.0),
    ),
    # exchanges
    (
        "clipped",
        4,
        "transfer R of 'b', copy 0, from gpu1 to gpu0 is missing: copies there wait for this gradient",
        without("exchanges", 1),
    ),
    ("clipped", 4, "is sent a second time; first at 34.5 s", added(SENT)),
    (
        "idle_copy",
        4,
        "transfer R of 'b', copy 1, from gpu0 to gpu1 is missing",
        lambda p: without("exchanges", [x[:2] for x in p.exchanges].index(("b", 1)))(p),
    ),
    (
        "clipped",
        4,
        "is not needed: the operator has no gradient that copies exchange",
        added(SENT._replace(operator="c", copy=1)),
    ),
    (
        "clipped",
        4,
        "is not needed: no other device than gpu0 with a copy of the operator is gpu2",
        added(SENT._replace(target="gpu2")),
    ),
    (
        "clipped",
        4,
        "is not needed: no other device than gpu0 with a copy of the operator is gpu0",
        added(SENT._replace(target="gpu0")),
    ),
    ("idle_copy", 4, "is not needed", added(SENT)),
    ("single", 4, "is not needed", added(SENT)),
    ("inference", 4, "inference sends no gradients", added(SENT)),
    ("clipped", 4, "the graph has no such operator", exchange("a", 0, operator="ghost")),
    ("clipped", 4, "the cluster has no device 'gpu9'", exchange("a", 0, target="gpu9")),
    ("clipped", 4, "copy 3 of the operator has no placement", exchange("a", 0, copy=3)),
    ("clipped", 4, "copy 1 of the operator runs on gpu1", exchange("a", 0, copy=1)),
    ("clipped", 4, "copy 0 of the operator runs on gpu0", exchange("a", 0, source="gpu1", target="gpu0")),
    ("clipped", 4, "must be finite", exchange("a", 0, end=math.nan)),
    ("clipped", 4, "lasts 1.1 s, but it takes 1 s", exchange("a", 0, end=35.6)),
    ("clipped", 4, "starts before I of 'a', microbatch 2, on gpu0 (31 to 34.5 s) ends", exchange("a", 0, shift=-0.01)),
    ("clipped", 4, "ends after R of 'a', copy 1, on gpu1 (35.5 to 36.5 s) starts", exchange("a", 0, shift=0.01)),
    ("clipped", 4, "ends after U of 'b', copy 0, on gpu1 (37.5 to 38.5 s) starts", exchange("b", 1, shift=0.01)),
    (
        "clipped",
        4,
        "transfer R of 'b', copy 1, from gpu0 to gpu1 (35.4 to 37.4 s) overlaps transfer R of 'a', copy 0",
        exchange("b", 1, to=35.4),
    ),
    ("clipped", 4, "(30.5 to 31.5 s) overlaps transfer I of 'a', microbatch 2", exchange("a", 1, to=30.5)),
    ("exclusive", 4, "but both occupy compute on gpu0", under(("a", "U", 0), ("b", 1))),
    ("exclusive", 4, "but both occupy compute on gpu1", exchange("a", 1, to=0.5)),
    # figures
    ("clipped", 6, "makespan is 38.5, but it follows as 39.25", lambda p: replace(p, makespan=38.5)),
    ("clipped", 6, "busy of gpu0 is 12, but it follows as 13.5", device(busy=12.0)),
    ("clipped", 6, "bubble of gpu0 is 20, but it follows as 25.75", device(bubble=20.0)),
    ("clipped", 6, "span_bubble of gpu0 is 21, but it follows as 24.5", device(span_bubble=21.0)),
    ("clipped", 6, "bubble_ratio is 0.5", lambda p: replace(p, bubble_ratio=0.5)),
    ("clipped", 6, "bubble_ratio_all is 0.5", lambda p: replace(p, bubble_ratio_all=0.5)),
    ("idle_copy", 6, "devices is 2, but it follows as 3", lambda p: replace(p, figures=(Figure("devices", 2, None),))),
    ("unclipped", 6, "period is", lambda p: replace(p, figures=(Figure("period", 5.0, None),))),
]


@pytest.mark.parametrize(
    ("name", "rule", "words", "mutate"), MUTATIONS, ids=[f"{m[0]}, {m[1]}: {m[2][:60]}" for m in MUTATIONS]
)
def test_mutation_is_found(name: str, rule: int, words: str, mutate: Callable[[Plan], Plan]) -> None:
    """Each way to break a valid plan is found under the rule that it breaks, in these words."""
    the_problem, plan = CASES[name]()
    found = check(the_problem, mutate(plan))
    assert [v for v in found if v.rule == rule and words in v.message], [str(v) for v in found]
    assert all("\n" not in str(v) and str(v).startswith(f"rule {v.rule} ({v.rule.title}): ") for v in found)
