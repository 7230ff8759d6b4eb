"""Disturbed replays: exact without disturbance, the right distribution with it, the same for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from random_plans import plan_of, random_plan
from random_steps import random_whole_step, two_copies
from solver_problems import chain, config, operator, posed, unit_cluster

from planner.baselines import baseline_timetable
from planner.events import events_of
from planner.plan.plan import Plan
from planner.problem import NetworkLevel, Problem
from planner.simulate import Disturbance, replays, simulate


def published(problem: Problem, name: str = "1f1b") -> Plan:
    return plan_of(problem, baseline_timetable(name, problem))


@pytest.mark.parametrize("name", ["dualpipe-4x8", "mixed-cluster", "multimodal"])
def test_without_disturbance_the_makespan_is_the_plans_to_the_last_bit(name: str) -> None:
    problem = config(name)
    for schedule in ("zb1p", "1f1b", "dualpipe"):
        plan = published(problem, schedule)
        for given in (problem, None):
            outcome = simulate(events_of(plan, given), plan.makespan, Disturbance(), 3, 0)
            assert outcome.makespans.tolist() == [plan.makespan] * 3
            assert outcome.slowdown == pytest.approx(1.0) and outcome.beyond(plan.makespan) == 0.0


def test_random_plans_without_disturbance() -> None:
    ran = 0
    for seed in range(500, 540):
        made = random_plan(seed)
        if made is not None:
            problem, plan = made
            outcome = simulate(events_of(plan, problem), plan.makespan, Disturbance(), 1, 0)
            assert outcome.makespans.tolist() == [plan.makespan], seed
            ran += 1
    assert ran > 20


def test_whole_steps() -> None:
    """The makespan with everything after the last microbatch, exchanges that end last, too."""
    sent_last = 0
    for seed in range(500, 540):
        made = random_whole_step(seed)
        if made is not None:
            problem, plan = made
            outcome = simulate(events_of(plan, problem), plan.makespan, Disturbance(), 1, 0)
            assert outcome.makespans.tolist() == [plan.makespan], seed
            sent_last += any(x.end == plan.makespan for x in plan.exchanges)
    assert sent_last > 0


def test_slow_devices_and_links_of_whole_steps() -> None:
    """Step tasks are slow where passes are; exchanges, where transfers are."""
    problem, plan = two_copies(2)
    events = events_of(plan, problem)
    nodes = events.nodes
    slow = Disturbance(slow_devices={"g0": 2.0}, slow_links={("g0", "g1"): 3.0}).slowed(nodes)
    steps, sent = nodes.of_step, nodes.exchanges
    assert (slow[steps] == np.where(nodes.device[steps] == 0, 2.0, 1.0)).all()
    assert len(sent) == 4 and (slow[sent] == np.where(nodes.device[sent] == 0, 3.0, 1.0)).all()


def test_variants_meet_the_same_disturbance() -> None:
    """Passes that one of two plans lacks change nothing in the others, in any run."""
    _, varied = two_copies(2)
    plain = two_copies(2, varied=False)[1]
    lengths = [next(Disturbance(0.3).lengths(events_of(plan), 5, 3, 5)) for plan in (varied, plain)]
    factors = [
        dict(
            zip(
                map(repr, (t[:4] for t in plan.tasks)), (each / events_of(plan).seconds[:, None]).tolist(), strict=False
            )
        )
        for plan, each in zip((varied, plain), lengths, strict=True)
    ]
    shared = factors[0].keys() & factors[1].keys()
    assert len(shared) == len(factors[0]) < len(factors[1])
    assert all(factors[0][key] == pytest.approx(factors[1][key]) for key in shared)


def test_a_sequence_has_the_distribution_of_a_sum() -> None:
    """One device, ten passes of 1 s one after the other: the mean stays, the variance is ten times that of one."""
    plan = published(posed(*chain(5, times=(1.0, 1.0)), microbatches=1))
    outcome = simulate(events_of(plan), plan.makespan, Disturbance(0.2), 20_000, 3)
    deviation = 0.2 * math.sqrt(10)
    assert outcome.mean == pytest.approx(10.0, abs=4 * deviation / math.sqrt(20_000))
    assert outcome.makespans.std() == pytest.approx(deviation, rel=0.03)
    assert outcome.makespans.min() > 0


def test_single_pass_is_lognormal() -> None:
    """Mean 1, relative deviation as asked, median below the mean."""
    plan = published(posed(operator("a", times=(2.0,)), training=False))
    outcome = simulate(events_of(plan), plan.makespan, Disturbance(0.5), 40_000, 1)
    assert outcome.mean == pytest.approx(2.0, rel=0.01)
    assert outcome.makespans.std() == pytest.approx(1.0, rel=0.04)
    assert outcome.quantile(0.5) == pytest.approx(2.0 / math.sqrt(1.25), rel=0.01)
    assert outcome.beyond(2.0) == pytest.approx((outcome.makespans > 2.0).mean())


def test_slow_devices_and_links() -> None:
    """Two stages, one microbatch: F, transfer, F and I, transfer, I; what is slowed adds just its stage_pass."""
    problem = posed(*chain(2, times=(1.0, 2.0)), devices=unit_cluster(2, None, NetworkLevel(None, 0.5)), microbatches=1)
    plan = published(problem)
    assert plan.makespan == 7.0

    def makespan(**what: object) -> float:
        return float(simulate(events_of(plan), 7.0, Disturbance(**what), 1, 0).makespans[0])  # type: ignore[arg-type]

    assert makespan(slow_devices={"g1": 1.5}) == pytest.approx(7.0 + 0.5 * 3)
    assert makespan(slow_links={("g0", "g1"): 3.0}) == pytest.approx(7.0 + 2 * 0.5)
    assert makespan(slow_links={("*", "g0"): 3.0}) == pytest.approx(7.0 + 2 * 0.5)
    assert makespan(slow_links={("*", "*"): 3.0}) == pytest.approx(7.0 + 4 * 0.5)
    assert makespan(slow_devices={"g0": 0.5}, slow_links={("g1", "g0"): 2.0}) == pytest.approx(7.0 - 1.5 + 0.5)


def test_in_portions_as_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs are held at once: the same makespans; another seed gives others."""
    plan = published(config("dualpipe-4x8"))
    events = events_of(plan)
    whole = simulate(events, plan.makespan, Disturbance(0.1), 50, 7).makespans
    monkeypatch.setattr(replays, "CELLS", 2 * events.nodes.n * 7)
    assert np.array_equal(simulate(events, plan.makespan, Disturbance(0.1), 50, 7).makespans, whole)
    assert not np.array_equal(simulate(events, plan.makespan, Disturbance(0.1), 50, 8).makespans, whole)


def test_plans_meet_the_same_disturbance() -> None:
    """A plan against itself is never faster; where all work is one sequence any two orders take the same time."""
    problem = posed(*chain(3), microbatches=4)
    first, second = published(problem, "1f1b"), published(problem, "gpipe")
    assert [t.start for t in first.tasks] and first.tasks != second.tasks
    outcomes = [simulate(events_of(p, problem), p.makespan, Disturbance(0.3), 100, 5) for p in (first, second)]
    assert outcomes[0].makespans == pytest.approx(outcomes[1].makespans, rel=1e-12)
    assert outcomes[0].faster_than(outcomes[1]) == 0.0


def test_a_plan_that_contradicts_itself() -> None:
    plan = published(config("dualpipe-4x8"))
    with pytest.raises(replays.NotReplayed):
        simulate(events_of(plan), plan.makespan * 1.01, Disturbance(), 1, 0)
