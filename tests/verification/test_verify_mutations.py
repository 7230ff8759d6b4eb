"""verify: every way to break a valid plan is found under the rule that it breaks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from plan_cases import CASES, check, device, fields, index, place, task, transfer, twice, without

from planner.plan.plan import Figure, Plan


def scaled(plan: Plan) -> Plan:
    """Every instant twice as late, so that passes last too long."""
    return replace(plan, tasks=tuple(t._replace(start=2 * t.start, end=2 * t.end) for t in plan.tasks))


def swapped(plan: Plan) -> Plan:
    """Two forward tasks of one length change places in time."""
    i, j = index(plan, "b", "F", 0), index(plan, "b", "W", 0)
    tasks = list(plan.tasks)
    first, second = tasks[i], tasks[j]
    tasks[i] = first._replace(start=second.start, end=second.end)
    tasks[j] = second._replace(start=first.start, end=first.end)
    return replace(plan, tasks=tuple(tasks))


def moved(field: str, k: int, **change: Any) -> Callable[[Plan], Plan]:
    """Change one row by its position."""
    return lambda plan: without(field, k)(twice(field, k, **change)(plan))


def other_copy(plan: Plan) -> Plan:
    """A microbatch runs on a copy without a placement."""
    tasks = tuple(t._replace(copy=3) if t.microbatch == 1 else t for t in plan.tasks)
    return replace(plan, tasks=tasks)


def no_gradient(plan: Plan) -> Plan:
    """No gradient comes back for microbatch 2."""
    kept = tuple(t for t in plan.transfers if (t.pass_, t.microbatch) != ("I", 2))
    return replace(plan, transfers=kept)


def overlapping_work(plan: Plan) -> Plan:
    """Move a weight gradient under a transfer that ends at its device."""
    into = next(t for t in plan.transfers if t.pass_ == "F" and t.microbatch == 2)
    moved = plan.tasks[index(plan, "b", "W", 0)]
    return task("b", "W", 0, start=into.start, end=into.start + (moved.end - moved.start))(plan)


MUTATIONS: list[tuple[str, int, str, Callable[[Plan], Plan]]] = [
    ("training", 1, "placement lacks an operator", without("placement")),
    ("training", 1, "placement listed twice", twice("placement")),
    ("training", 1, "placement on two devices", twice("placement", device="gpu2")),
    ("training", 1, "placement of an unknown operator", twice("placement", operator="ghost")),
    ("training", 1, "placement on an unknown device", place("a", device="gpu9")),
    ("training", 1, "copies not from 0", place("a", copy=1)),
    ("training", 1, "negative copy", twice("placement", copy=-1)),
    ("training", 1, "more copies than allowed", twice("placement", copy=1)),
    ("training", 1, "device not allowed", place("d", device="gpu2")),
    ("training", 1, "colocation broken", place("c", device="gpu0")),
    ("bidirectional", 1, "an operator lacks a copy", without("placement", 5)),
    ("bidirectional", 1, "colocation broken in copy 1", moved("placement", 6, device="gpu2")),
    ("bidirectional", 1, "two copies in one microbatch", task("b", "F", 0, copy=1)),
    ("bidirectional", 1, "two copies and devices in one microbatch", task("b", "F", 0, copy=1, device="gpu0")),
    ("bidirectional", 2, "device of the other copy", task("b", "F", 0, device="gpu0")),
    ("mixed", 1, "no time on the device", place("typed", device="f0")),
    ("mixed", 1, "no rate on the device", place("roof", device="s0")),
    ("training", 1, "microbatch of a copy that is not placed", other_copy),
    ("training", 2, "task missing", without("tasks", 3)),
    ("training", 2, "task twice", twice("tasks", 3)),
    ("training", 2, "task twice, elsewhere", twice("tasks", 3, start=200.0, end=201.0)),
    ("training", 2, "unknown operator", task("b", "F", 1, operator="ghost")),
    ("training", 2, "pass that does not exist", twice("tasks", pass_="X")),
    ("training", 2, "W where there is none", lambda p: twice("tasks", index(p, "c", "F", 0), pass_="W")(p)),
    ("inference", 2, "I in inference", twice("tasks", pass_="I")),
    ("training", 2, "microbatch out of range", task("d", "I", 3, microbatch=4)),
    ("training", 2, "negative microbatch", task("d", "I", 3, microbatch=-1)),
    ("training", 2, "unknown device", task("b", "F", 1, device="gpu9")),
    ("training", 2, "other device than placed", task("b", "F", 1, device="gpu2")),
    ("training", 2, "wrong stream", task("c", "F", 1, stream="compute")),
    ("training", 2, "wrong stream, compute to comm", task("b", "F", 1, stream="comm")),
    ("training", 2, "all tasks too long", scaled),
    ("training", 2, "negative start", task("a", "F", 0, shift=-1.0)),
    ("training", 2, "NaN", task("a", "F", 0, start=math.nan)),
    ("training", 2, "infinite end", task("a", "W", 3, end=math.inf)),
    ("training", 2, "end before start", task("b", "F", 1, start=9.0, end=7.0)),
    ("training", 2, "overlap on a stream", task("a", "F", 1, shift=-0.25)),
    ("training", 3, "b swapped with its W", swapped),
    ("training", 3, "F before the F of its input", task("d", "F", 0, shift=-0.001)),
    ("training", 3, "I before the I of a consumer", task("c", "I", 0, shift=-0.001)),
    ("training", 3, "W before I", task("a", "W", 0, shift=-0.001)),
    ("training", 4, "transfer missing", without("transfers", 2)),
    ("training", 4, "gradient missing", no_gradient),
    ("training", 4, "transfer twice", twice("transfers")),
    ("training", 4, "transfer twice, later", twice("transfers", start=90.0, end=92.0)),
    ("training", 4, "starts before its producer ends", transfer("a", "F", 1, shift=-0.001)),
    ("training", 4, "ends after its reader starts", transfer("a", "F", 0, shift=0.001)),
    ("training", 4, "gradient starts before the I of all readers", transfer("a", "I", 1, shift=-0.001)),
    ("training", 4, "gradient ends after the producer's I starts", transfer("a", "I", 1, shift=0.001)),
    ("training", 4, "too short", transfer("a", "F", 1, end=6.0)),
    ("training", 4, "unknown operator", transfer("a", "F", 1, operator="ghost")),
    ("training", 4, "pass W", transfer("a", "F", 1, pass_="W")),
    ("training", 4, "microbatch out of range", transfer("a", "F", 1, microbatch=7)),
    ("training", 4, "wrong copy", transfer("a", "F", 1, copy=1)),
    ("training", 4, "wrong source", transfer("a", "F", 1, source="gpu2")),
    ("training", 4, "unknown target", transfer("a", "F", 1, target="gpu9")),
    ("training", 4, "to where nobody reads", twice("transfers", target="gpu2")),
    ("training", 4, "of an operator read at home", twice("transfers", operator="b", source="gpu1", target="gpu0")),
    ("training", 4, "gradient the wrong way", transfer("a", "I", 1, source="gpu0", target="gpu1")),
    ("training", 4, "NaN", transfer("a", "F", 1, end=math.nan)),
    ("inference", 4, "gradient in inference", twice("transfers", pass_="I")),
    ("exclusive", 4, "overlaps work at an exclusive end", overlapping_work),
    ("training", 5, "over the cap", fields()),
    ("training", 6, "makespan", fields(makespan=100.0)),
    ("training", 6, "microbatches", fields(microbatches=5)),
    ("training", 6, "busy", device(busy=1.0)),
    ("training", 6, "bubble", device(bubble=1.0)),
    ("training", 6, "span bubble", device(span_bubble=1.0)),
    ("training", 6, "peak memory", device(peak_memory=111.0)),
    ("training", 6, "peak memory a little", device(peak_memory=110.0 + 1e-5)),
    ("training", 6, "when the peak is", lambda p: device(peak_memory_at=p.makespan)(p)),
    ("training", 6, "peak after the end", device(peak_memory_at=1e9)),
    ("training", 6, "cap", device(memory=999.0)),
    ("training", 6, "no cap", device(memory=None)),
    ("shared", 6, "cap where there is none", device(memory=999.0)),
    ("training", 6, "NaN figure", device(busy=math.nan)),
    ("training", 6, "device missing", without("devices", 1)),
    ("training", 6, "device twice", twice("devices", 1)),
    ("training", 6, "unknown device", device(name="gpu9")),
    ("training", 6, "ratio", fields(bubble_ratio=0.5)),
    ("training", 6, "ratio over all", fields(bubble_ratio_all=0.5)),
    ("training", 6, "period", fields(figures=(Figure("period", 1.0, None),))),
    ("training", 6, "least memory", fields(figures=(Figure("memory", 1.0, 1.0),))),
    ("training", 6, "devices used", fields(figures=(Figure("devices", 7, 1),))),
    ("training", 7, "bound above the figure", fields(figures=(Figure("memory", 110.0, 111.0),))),
    ("training", 7, "bound without a figure", fields(figures=(Figure("period", None, 1.0),))),
    ("training", 7, "bound that is no number", fields(figures=(Figure("devices", 2, math.nan),))),
    ("training", 7, "graph's name", lambda p: replace(p, graph=replace(p.graph, name="other"))),
    ("training", 7, "graph's hash", lambda p: replace(p, graph=replace(p.graph, sha256="0" * 64))),
    ("training", 7, "cluster's name", lambda p: replace(p, cluster=replace(p.cluster, name="other"))),
    ("training", 7, "cluster's hash", lambda p: replace(p, cluster=replace(p.cluster, sha256=""))),
    ("training", 7, "bound above the makespan", fields(lower_bound=1e6, placement_lower_bound=1e6, gap=-1.0)),
    ("training", 7, "placement's bound above the makespan", fields(placement_lower_bound=1e6)),
    ("training", 7, "placement's bound below the problem's", fields(placement_lower_bound=0.5)),
    ("training", 7, "negative bound", lambda p: replace(p, lower_bound=-1.0, gap=(p.makespan + 1) / p.makespan)),
    ("training", 7, "no bound", fields(lower_bound=None, gap=None)),
    ("training", 7, "gap", fields(gap=0.5)),
    ("training", 7, "gap missing", fields(gap=None)),
    ("training", 7, "optimal with a gap", fields(status="optimal")),
    ("training", 7, "unknown status", fields(status="perfect")),
    ("training", 7, "other objective", fields(objective="cost")),
]  # fmt: skip


@pytest.mark.parametrize(("case", "rule", "what", "mutate"), MUTATIONS, ids=[f"{m[1]}: {m[2]}" for m in MUTATIONS])
def test_mutation_is_found(case: str, rule: int, what: str, mutate: Callable[[Plan], Plan]) -> None:
    """Each way to break a valid plan is found under the rule that it breaks."""
    posed, plan = CASES[case]()
    if what == "over the cap":
        posed = replace(posed, memory_cap=110.0 - 1e-5)
    found = check(posed, mutate(plan))
    assert rule in {v.rule for v in found}, [str(v) for v in found]
    assert all("\n" not in str(v) and str(v).startswith(f"rule {v.rule} ({v.rule.title}): ") for v in found)
