"""Baselines of operators with variants, each at every uniform choice, and baselines of whole steps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from handmade import F, I, W, cluster, graph, operator, problem
from step_rules import step_violations

from planner.baselines import BASELINES, NotApplicable, baseline_pipeline, baseline_timetable
from planner.baselines.choices import best_choice, choice_named, choice_of, uniform_choices
from planner.baselines.registry import every_timetable
from planner.baselines.replayed import replayed
from planner.common.budget import Control
from planner.problem import Mode, Operator, Pass, Problem, ProblemError, Variant
from planner.timetable.figures import figures

R, U, G = Pass.R, Pass.U, Pass.G
RECOMPUTE = Variant("recompute", {F: 1.0, I: 3.0}, 0.0, 2.0, 2.0)
OFFLOAD = Variant("offload", {F: 1.5, I: 1.5, W: 1.0}, 0.0, 1.0, 1.0)


def layers(count: int, *variants: Variant) -> list[Operator]:
    """A chain of operators of F, I, W = 1, with 10 bytes of activation."""
    return [
        operator(f"o{k}", *([f"o{k - 1}"] if k else []), w=1, activation=10, held_for_weight_grad=10, variants=variants)
        for k in range(count)
    ]


def pipeline(*variants: Variant, memory: float | None = None, count: int = 4, **more: object) -> Problem:
    return problem(graph(*layers(count, *variants), microbatches=8), cluster(4, memory=memory), **more)


def test_choices_are_base_and_each_variant_wherever_an_operator_has_it() -> None:
    first, second = layers(2, RECOMPUTE, OFFLOAD)
    second = replace(second, variants=(OFFLOAD,))
    posed = problem(graph(first, second), cluster(1))
    assert uniform_choices(posed) == {"base": (0, 0), "recompute": (1, 0), "offload": (2, 1)}
    allowed = replace(posed, variants=("recompute", "offload"))
    assert uniform_choices(allowed) == {"recompute": (1, 1), "offload": (2, 1)}
    assert uniform_choices(problem(graph(*layers(1)), cluster(1))) == {"base": (0,)}


def test_unknown_and_forbidden_variants() -> None:
    posed = pipeline(RECOMPUTE, OFFLOAD)
    with pytest.raises(ProblemError, match="did you mean 'recompute'"):
        choice_named(posed, "recomptue")
    with pytest.raises(ProblemError, match="'offload' is not allowed"):
        choice_named(replace(posed, variants=("base", "recompute")), "offload")


def test_without_variants_there_is_one_choice_and_no_name() -> None:
    posed = pipeline()
    timetable = baseline_timetable("1f1b", posed)
    assert choice_of(posed, timetable.placement) is None
    assert list(every_timetable("1f1b", posed)[0]) == ["base"]


def test_the_fastest_choice_that_fits() -> None:
    """1F1B holds 4 microbatches on the first device: 40 bytes at base, 8 recomputed, 4 offloaded.

    (8 + 3) x 3 at base; a share of 4 and of 4 otherwise.
    """
    shown = {}
    for memory in (40, 39, 7, 3):
        posed = pipeline(RECOMPUTE, OFFLOAD, memory=memory)
        timetable = baseline_timetable("1f1b", posed)
        shown[memory] = choice_of(posed, timetable.placement), figures(posed, timetable).makespan
    assert shown == {40: ("base", 33), 39: ("recompute", 44), 7: ("offload", 44), 3: ("offload", 44)}


def test_a_choice_that_is_asked_for() -> None:
    """It may not fit. Every copy is in the variant, and the figures are the variant's."""
    posed = pipeline(RECOMPUTE, memory=5)
    timetable = baseline_timetable("dualpipe-unfused", posed, "recompute")
    assert timetable.placement.variant_of == ((1,) * 4,) * 2
    assert math.isnan(timetable.start[0, 2, 0])
    assert baseline_timetable("1f1b", posed, "base").placement.variant_of == ()


def test_stages_are_cut_for_the_times_of_the_choice() -> None:
    """The first operator takes 3 at base and 9 as slow: then the others share a device."""
    slow = Variant("slow", {F: 3.0, I: 3.0, W: 3.0}, 0.0, 0.0, 0.0)
    first, *others = layers(4)
    posed = problem(graph(replace(first, variants=(slow,)), *others, microbatches=4), cluster(2))
    assert baseline_timetable("1f1b", posed, "base").placement.device_of == ((0, 0, 1, 1),)
    assert baseline_timetable("1f1b", posed, "slow").placement.device_of == ((0, 1, 1, 1),)


def test_where_nothing_fits_the_choice_that_lacks_least() -> None:
    posed = pipeline(RECOMPUTE, OFFLOAD, memory=1)
    found = every_timetable("gpipe", posed)[0]
    assert best_choice({name: figures(posed, each) for name, each in found.items()}) == "offload"


def test_a_choice_that_no_cut_serves_is_left_out() -> None:
    """The variant runs on the second device alone, before an operator of the first."""
    from planner.problem import ByDevice

    there = Variant("there", {p: ByDevice({"gpu1": 1.0}) for p in (F, I, W)}, 0.0, 0.0, 0.0)
    first, second = layers(2)
    posed = problem(graph(replace(first, variants=(there,)), replace(second, devices=("gpu0", "gpu1"))), cluster(2))
    found, refused = every_timetable("1f1b", posed)
    assert list(found) == ["base"]
    assert len(refused) == 1
    with pytest.raises(NotApplicable):
        baseline_timetable("1f1b", posed, "there")


def test_all_choices_that_fit_are_replayed_for_the_search() -> None:
    """The best has the baseline's name; the others stand behind it."""
    posed = pipeline(RECOMPUTE, OFFLOAD, memory=39)
    linear = replayed(posed, Control())[0]["linear"]
    names = [name for name, _ in linear]
    assert names[names.index("1f1b") :][:2] == ["1f1b", "1f1b at offload"]
    assert choice_of(posed, dict(linear)["1f1b"].placement) == "recompute"
    assert all(name in BASELINES or figures(posed, each).fits for name, each in linear)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", BASELINES)
def test_baselines_end_with_their_step_tasks(name: str, clip: bool) -> None:
    """R 1, U 1, G 1 a layer; two copies exchange 4 bytes first."""
    step = {R: 1.0, U: 1.0, G: 1.0}
    operators = [replace(each, step=step, gradient=4.0) for each in layers(8, RECOMPUTE)]
    the_graph = replace(graph(*operators, microbatches=8), clip_gradients=clip)
    posed = problem(the_graph, cluster(4, latency=0.25, bandwidth=8.0))
    for choice in ("base", "recompute"):
        timetable = baseline_timetable(name, posed, choice)
        assert step_violations(posed, timetable) == []
        assert timetable.step is not None
        assert timetable.makespan(posed) == timetable.step_ends(posed).max()
        copies = timetable.placement.copies
        assert len(timetable.exchanges) == (8 * 2 if copies == 2 else 0)


def test_inference_has_no_step_tasks() -> None:
    operators = [replace(each, step={R: 1.0}, gradient=4.0) for each in layers(4)]
    posed = problem(graph(*operators, mode=Mode.INFERENCE, microbatches=4), cluster(4))
    assert baseline_timetable("1f1b", posed).step is None


def test_the_pipeline_of_a_choice_has_its_passes() -> None:
    posed = pipeline(RECOMPUTE)
    assert baseline_pipeline("1f1b", posed).problem.has_pass[0].tolist() == [True, True, True]
    assert baseline_pipeline("1f1b", posed, (1,) * 4).problem.has_pass[0].tolist() == [True, True, False]
