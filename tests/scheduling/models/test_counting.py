"""The counting model: yes where a schedule exists, no where none does, on optima known and optima enumerated."""

from __future__ import annotations

import math

import pytest
from exhaustive import TooLarge, optimum_of_placement
from solver_problems import chain, config, operator, posed, random_problem, unit_cluster, violations

from planner.common.budget import Control
from planner.placement.layouts import only_placement
from planner.problem import Placement, Problem, Stream
from planner.scheduling.classes import Classes, build_classes
from planner.scheduling.mirror import mirror
from planner.scheduling.models.counting import STEPS_AT_MOST, VARIABLES_AT_MOST, Answer, CountingModel
from planner.scheduling.retime import retime


def ask(classes: Classes, steps: int, mirrored: bool = False) -> Answer:
    half = mirror(classes) if mirrored else None
    if half is None:
        return CountingModel(classes, steps).solve(Control())
    answer = CountingModel(half.classes, steps).solve(Control(), certify=False)
    return Answer(None if answer.start is None else half.expand(answer.start), answer.impossible)


def seconds_of(classes: Classes, answer: Answer) -> float:
    """The makespan of the valid schedule in an answer."""
    assert answer.start is not None
    start = retime(classes, answer.start)
    assert start is not None
    timetable = classes.timetable(start)
    assert violations(classes.problem, timetable) == []
    return timetable.makespan(classes.problem)


def bidirectional(name: str, **flags: int) -> Classes:
    problem = config(name, copies=2, layout="bidirectional", **flags)
    placement = only_placement(problem)
    assert placement is not None
    return build_classes(problem, placement)


def test_dualpipe_8x20_takes_63() -> None:
    """The optimum of DualPipe's setting (DualPipe: 66), found with copies that run alike."""
    classes = bidirectional("dualpipe-8x20")
    assert seconds_of(classes, ask(classes, 63, mirrored=True)) == 63.0


def test_dualpipe_4x8_takes_25() -> None:
    """25 s exist with and without copies that run alike, 24 s do not."""
    classes = bidirectional("dualpipe-4x8")
    assert seconds_of(classes, ask(classes, 25)) == 25.0
    assert seconds_of(classes, ask(classes, 25, mirrored=True)) == 25.0
    assert ask(classes, 24).impossible
    assert ask(classes, 24, mirrored=True).impossible


def test_one_direction_4x8() -> None:
    """One copy: the last stage waits 3 s for its 24 s of work; with little memory even that is out of reach."""
    problem = config("dualpipe-4x8", layout="linear", memory_cap=100)
    classes = build_classes(problem, Placement(((0, 1, 2, 3),)))
    assert seconds_of(classes, ask(classes, 27)) == 27.0
    assert ask(classes, 26).impossible
    tight = build_classes(config("dualpipe-4x8", layout="linear", memory_cap=3), Placement(((0, 1, 2, 3),)))
    assert ask(tight, 27).impossible


def test_sequential_where_one_activation_fits() -> None:
    """One device in a chain of two holds one microbatch: by hand 5 s a microbatch, the last W overlapped."""
    problem = posed(*chain(2, activation=1.0), devices=unit_cluster(2, 1.0), microbatches=3)
    classes = build_classes(problem, Placement(((0, 1),)))
    shortest = optimum_of_placement(problem, ((0, 1),))
    assert ask(classes, round(shortest) - 1).impossible
    assert seconds_of(classes, ask(classes, round(shortest))) == shortest


def test_memory_that_two_readers_hold() -> None:
    """Inference, memory for one activation that two streams read: free once both have read it, so 3 s a microbatch."""
    source = operator("source", times=(1.0,), activation=1.0)
    quick = operator("quick", "source", times=(1.0,), stream=Stream.COMM)
    slow = operator("slow", "source", times=(2.0,))
    problem = posed(source, quick, slow, devices=unit_cluster(1, 1.0), microbatches=3, training=False)
    classes = build_classes(problem, Placement(((0, 0, 0),)))
    assert optimum_of_placement(problem, ((0, 0, 0),)) == 9.0
    assert seconds_of(classes, ask(classes, 9)) == 9.0
    assert ask(classes, 8).impossible
    on_comm = operator("source", times=(1.0,), activation=1.0, stream=Stream.COMM)
    for order in ((quick, slow), (slow, quick)):
        problem = posed(on_comm, *order, devices=unit_cluster(1, 1.0), microbatches=3, training=False)
        classes = build_classes(problem, Placement(((0, 0, 0),)))
        assert ask(classes, 8).impossible
        assert seconds_of(classes, ask(classes, 9)) == 9.0


@pytest.mark.parametrize("block", range(4))
def test_against_the_exhaustive_optimum(block: int) -> None:
    """On tiny problems of one copy: yes at the optimum of a placement, no one step below."""
    compared = 0
    for seed in range(3000 + 40 * block, 3000 + 40 * block + 40):
        problem = random_problem(seed, operators=4, devices=2, microbatches=(1, 2, 3), copies=(1,), instant=False)
        device_of = tuple(seed >> i & 1 for i in range(problem.n_operators)) if problem else ()
        if problem is None or not fits_the_model(problem, device_of):
            continue
        classes = build_classes(problem, Placement((device_of,)))
        try:
            shortest = optimum_of_placement(problem, (device_of,))
        except TooLarge:
            continue
        if math.isinf(shortest):
            assert ask(classes, 80).impossible, seed
            continue
        steps = round(shortest / classes.tick)
        answer = ask(classes, steps)
        assert answer.start is not None, seed
        assert seconds_of(classes, answer) == pytest.approx(shortest), seed
        assert ask(classes, steps - 1).impossible, seed
        compared += 1
    assert compared >= 4


def fits_the_model(problem: Problem, device_of: tuple[int, ...]) -> bool:
    """Whether the placement is allowed and its grid coarse enough for a quick answer."""
    if problem.n_devices <= max(device_of) or not problem.allows(device_of):
        return False
    classes = build_classes(problem, Placement((device_of,)))
    if not classes.seconds.sum() or (classes.available < 0).any():
        return False
    return float((classes.seconds * classes.count).sum()) / classes.tick < 45


def test_size_is_known_before_it_is_built() -> None:
    """The number of variables, by which the search decides whether to ask."""
    model = CountingModel(bidirectional("dualpipe-8x20"), 63)
    assert 0 < model.size < VARIABLES_AT_MOST
    assert model.horizon < STEPS_AT_MOST
    model.solve(Control(0.0))
    assert len(model.model.cost) == model.size
