"""What a plan says of its graph's origin, and of the step in tokens, is checked against graph and cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_cases import Case, check, planned, training, two_stages

from planner.problem.made_from import MadeFrom

ORIGIN = MadeFrom("m", sequence=100, micro_batch=3, tensor=2, data=4, flops_per_token=0.5)


def case() -> Case:
    """Four microbatches on three devices of 10 FLOP/s."""
    posed = two_stages()
    return planned(replace(posed, graph=replace(posed.graph, made_from=ORIGIN)), [[0, 1, 1, 1]])


def test_a_plan_that_says_what_the_graph_says() -> None:
    posed, plan = case()
    assert check(posed, plan) == []
    assert plan.graph.origin == ORIGIN
    assert plan.throughput is not None
    assert (plan.throughput.gpus, plan.throughput.sequences, plan.throughput.tokens) == (24, 48, 4800)
    assert plan.throughput.peak_flops == 240
    assert plan.throughput.mfu == pytest.approx(4800 * 0.5 / (plan.makespan * 240))


def test_a_plan_need_not_say_it() -> None:
    posed, plan = case()
    assert check(posed, replace(plan, graph=replace(plan.graph, mode=None, origin=None), throughput=None)) == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("model", "n", "rule 7 (bounds): graph.origin.model is 'n', but the graph says 'm'"),
        ("tensor", 4, "rule 7 (bounds): graph.origin.tensor is 4, but the graph says 2"),
        ("flops_per_token", None, "rule 7 (bounds): graph.origin.flops_per_token is nothing, but the graph says 0.5"),
    ],
)
def test_an_origin_of_another_graph(field: str, value: object, words: str) -> None:
    posed, plan = case()
    wrong = replace(plan.graph, origin=replace(ORIGIN, **{field: value}))
    assert [str(violation) for violation in check(posed, replace(plan, graph=wrong))] == [words]


def test_a_mode_of_another_graph() -> None:
    posed, plan = case()
    wrong = replace(plan, graph=replace(plan.graph, mode="inference"))
    assert [str(v) for v in check(posed, wrong)] == [
        "rule 7 (bounds): graph.mode is 'inference', but the graph says 'training'"
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gpus", 3),
        ("sequences", 12),
        ("tokens", 1200),
        ("tokens_per_second", 1.0),
        ("tokens_per_second_per_gpu", 1.0),
        ("peak_flops", None),
        ("mfu", 0.5),
    ],
)
def test_figures_that_do_not_follow(field: str, value: object) -> None:
    posed, plan = case()
    assert plan.throughput is not None
    (violation,) = check(posed, replace(plan, throughput=replace(plan.throughput, **{field: value})))
    assert str(violation).startswith(f"rule 6 (figures): throughput.{field} is ")


def test_an_origin_that_the_graph_does_not_have() -> None:
    said = case()[1]
    posed, plan = training()
    found = check(posed, replace(plan, graph=replace(said.graph, sha256=plan.graph.sha256), throughput=said.throughput))
    assert [str(violation) for violation in found] == [
        "rule 6 (figures): throughput is stated, but the graph does not say the tokens of a step",
        "rule 7 (bounds): graph.origin names model 'm', but the graph has no origin",
    ]
