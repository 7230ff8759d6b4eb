"""Tasks of no length on the comm stream hold nothing up, and wherever they stand the orders do not deadlock."""

from __future__ import annotations

import random

import pytest
from baseline_problems import cluster, operator, problem, violations

from planner.baselines import NotApplicable, baseline_timetable
from planner.problem import Operator, Problem, Stream


def gathered(layers: int, seconds: float, microbatches: int = 1) -> Problem:
    """Layers on one device, the weights of each gathered before both of its passes, as ``--zero 3`` has it."""
    operators: list[Operator] = []
    for k in range(layers):
        reads = (f"a{k - 1}",) if k else ()
        operators += [
            operator(f"w{k}", (seconds, 0.0), (), stream=Stream.COMM),
            operator(f"a{k}", (1.0, 2.0), (*reads, f"w{k}")),
            operator(f"again{k}", (0.0, seconds), (f"a{k}",), stream=Stream.COMM),
        ]
    return problem(operators, cluster(1), microbatches)


@pytest.mark.parametrize("name", ["gpipe", "1f1b", "zb1p"])
def test_gathers_run_ahead_of_the_computation(name: str) -> None:
    """Only the first gather of each pass shows: 0.5 before 4 forwards of 1, and 0.5 before 4 gradients of 2."""
    p = gathered(4, 0.5)
    timetable = baseline_timetable(name, p)
    assert violations(timetable, p) == []
    assert timetable.makespan(p) == pytest.approx(0.5 + 4.0 + 0.5 + 8.0)


def test_gathers_longer_than_the_computation_keep_the_stream_busy() -> None:
    p = gathered(4, 3.0)
    assert baseline_timetable("1f1b", p).makespan(p) == pytest.approx(4 * 3.0 + 1.0 + 4 * 3.0 + 2.0)


def test_what_waits_for_a_task_of_no_length_comes_after_it() -> None:
    """At the end of its pass, ``free`` would stand behind ``sent``, which waits for it over the computation."""
    p = problem(
        [
            operator("free", (0.0, 0.0), (), stream=Stream.COMM),
            operator("a", (1.0, 1.0), ("free",)),
            operator("b", (1.0, 1.0)),
            operator("sent", (1.0, 1.0), ("b",), stream=Stream.COMM),
            operator("c", (1.0, 1.0), ("a", "sent")),
        ],
        cluster(1),
        2,
    )
    timetable = baseline_timetable("1f1b", p)
    assert violations(timetable, p) == []


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_do_not_deadlock(seed: int) -> None:
    r = random.Random(seed)
    operators: list[Operator] = []
    for k in range(r.randint(4, 12)):
        comm = r.random() < 0.6
        times = tuple(r.choice([0.0, 0.0, 1.0, 2.0]) if comm else 1.0 for _ in range(2 if comm else 3))
        inputs = tuple(sorted(r.sample([o.name for o in operators], min(k, r.randint(0, 2)))))
        operators.append(operator(f"o{k}", times, inputs, stream=Stream.COMM if comm else Stream.COMPUTE))
    p = problem(operators, cluster(r.choice([1, 2, 3])), r.choice([1, 3, 6]))
    for name in ("1f1b", "zb1p", "interleaved-1f1b", "dualpipe-unfused", "dualpipe"):
        try:
            timetable = baseline_timetable(name, p)
        except NotApplicable:
            continue
        assert violations(timetable, p) == []
