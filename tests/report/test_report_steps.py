"""Whole steps and variants in the text report, the comparison and the picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from random_plans import plan_of
from random_steps import greedy, recomputed, two_copies
from samples import pipeline, whole_step
from solver_problems import chain, posed

from planner.plan.plan import BaselineFigures, PlacedOperator, Plan, PlannedExchange
from planner.problem import Placement
from planner.report.compare import compare_document, compare_text
from planner.report.step import Part
from planner.report.step import whole_step as parts_of
from planner.report.svg import COLORS, EXCHANGE, gantt_svg
from planner.report.text import report_text
from planner.report.variants import chosen_variants, kind_of, variant_lines


def test_parts_of_the_step() -> None:
    """After 8 s: reduction until 9.5 s, optimizer until 11 s with a pause of nothing else, gathering, idle between."""
    step = parts_of(whole_step())
    assert step is not None and (step.until, step.after) == (8.0, 4.5)
    assert step.exposed == {Part.REDUCE: 1.5, Part.UPDATE: 1.5, Part.GATHER: 1.0}
    assert step.total == {Part.REDUCE: 3.0, Part.UPDATE: 2.0, Part.GATHER: 2.0}
    assert step.hidden == {Part.REDUCE: 1.0, Part.UPDATE: 0.0, Part.GATHER: 0.0}
    sent = replace(whole_step(), exchanges=(PlannedExchange("layer.0.mlp", 0, "gpu0", "gpu1", 7.5, 8.75),))
    step = parts_of(sent)
    assert step is not None and step.exposed[Part.EXCHANGE] == 0.75 and step.exposed[Part.REDUCE] == 0.75
    assert parts_of(pipeline()) is None


def test_the_parts_add_up() -> None:
    """Exposed parts, each instant once, fill the time after the last microbatch of a step without pauses."""
    _, plan = two_copies()
    step = parts_of(plan)
    assert step is not None and sum(step.exposed.values()) == pytest.approx(step.after)
    assert step.until == max(t.end for t in plan.tasks) and step.until + step.after == plan.makespan


def test_lines_of_the_report() -> None:
    lines = report_text(whole_step(), 120).splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("whole step"))
    assert lines[at] == (
        "whole step       8 s until the last microbatch ends, then 4.5 s more: reduction 1.5 s, optimizer 1.5 s, "
        "gathering 1 s,"
    )
    assert lines[at + 1].strip() == "nothing 500 ms"
    assert "beside microbatches: 33.3 % of reduction, 0 % of optimizer, 0 % of gathering" in lines[at + 2]
    assert "variants         gpu1: layer.*.mlp as full" in lines
    chart = {line.split(" |")[0].rstrip(): line for line in lines if " |" in line}
    assert "UU" in chart["gpu0"] and "RR" in chart["gpu0 comm"] and "GG" in chart["gpu1 comm"]
    assert any("R reduction, U optimizer, G gathering" in line for line in lines)
    plain = report_text(pipeline(), 120)
    for words in ("whole step", "variants", "reduction", "In brackets"):
        assert words not in plain


def test_variants_of_baselines() -> None:
    baselines = (
        BaselineFigures("gpipe", 16.0, 0.5, 0.25, 8.0, 1, True, variant="full"),
        BaselineFigures("1f1b", 15.0, 0.5, 0.25, 8.0, 1, True, devices=1, variant="base"),
    )
    lines = report_text(replace(pipeline(), baselines=baselines), 120).splitlines()
    at = [line.split()[0] for line in lines if line]
    k = at.index("gpipe")
    assert at[k : k + 5] == ["gpipe", "(full)", "1f1b", "(base)", "(1"]
    assert any(line.startswith("In brackets: the variant") for line in lines)


def test_variants_in_few_words() -> None:
    """By device, kind of operator and variant; devices that chose alike in one line."""
    names = [f"layer.{k}.{part}" for k in range(4) for part in ("attn", "mlp")] + ["head"]
    variants = {"layer.0.attn": "full", "layer.1.attn": "selective", "layer.0.mlp": "full", "layer.1.mlp": "full"}
    placement = [PlacedOperator(n, 0, f"gpu{k // 4}", variants.get(n, "base")) for k, n in enumerate(names)]
    devices = tuple(replace(pipeline().devices[0], name=f"gpu{d}") for d in range(3))
    plan = replace(pipeline(), placement=tuple(placement), devices=devices)
    assert variant_lines(plan) == [
        "gpu0: 1 of 2 layer.*.attn, all 2 layer.*.mlp as full; 1 of 2 layer.*.attn as selective"
    ]
    everywhere = replace(plan, placement=tuple(replace(p, variant="full") for p in placement))
    assert variant_lines(everywhere) == [
        "gpu0-1: all 2 layer.*.attn, all 2 layer.*.mlp as full",
        "gpu2: head as full",
    ]
    assert [kind_of(n) for n in ("enc.3.layer.11.attn", "s12", "head", "v2.attn")] == [
        "enc.*.layer.*.attn",
        "s*",
        "head",
        "v2.attn",
    ]


def test_what_variants_free_and_cost() -> None:
    """One device, two microbatches in flight of 4 bytes and of 1: 6 bytes freed; a second more of work for each."""
    first, second = chain(2, activation=4.0, parameters=2.0)
    problem = posed(first, recomputed(second), devices=1, microbatches=2)
    placement = Placement.single((0, 0))
    table = greedy(problem, replace(placement, variant_of=((0, 1),)), 3)
    plan = plan_of(problem, table)
    (chosen,) = chosen_variants(plan, problem)
    at = plan.devices[0].peak_memory_at
    ends = table.ends(problem)
    flying = sum(table.start[1, 0, m] <= at < ends[1, 1, m] for m in range(2))
    assert chosen.freed == 3.0 * flying + 1.0  # and the half of its parameters
    assert chosen.added == 2 * 1.0  # I takes 3 s in place of I and W of 1 s each
    lines = variant_lines(plan, problem)
    assert lines[0].endswith(f"; frees {int(chosen.freed)} B at the peak, adds 2 s")
    assert lines[1].startswith("in all adds 2 s, ") and "at base would hold at least" in lines[1]
    assert "adds 2 s" in report_text(plan, 120, problem=problem)


def test_compared() -> None:
    """Rows of the step and of variants where one of the plans has any; the same in JSON."""
    plans = [whole_step(), pipeline()]
    text, document = compare_text(plans, ["a", "b"]), compare_document(plans, ["a", "b"])
    rows = {line[:24].strip(): line[24:].split() for line in text.splitlines()}
    assert rows["last microbatch ends"] == ["8", "s", "-"] and rows["after it"] == ["4.5", "s", "-"]
    assert rows["optimizer"] == ["1.5", "s", "-"] and "exchange of gradients" not in rows
    assert rows["variants"] == ["1", "full", "-"]
    first, second = document["plans"]
    assert first["step"] == {
        "until_last_microbatch": 8.0,
        "after": 4.5,
        "exchange": 0.0,
        "reduce": 1.5,
        "update": 1.5,
        "gather": 1.0,
    }
    assert first["variants"] == {"full": 1} and "step" not in second and "variants" not in second
    assert "variants" not in compare_text([pipeline(), pipeline()], ["a", "b"])


def drawn(plan: Plan) -> tuple[list[str], list[str]]:
    root = ET.fromstring(gantt_svg(plan))
    space = "{http://www.w3.org/2000/svg}"
    texts = ["".join(each.itertext()) for each in root.iter(f"{space}text")]
    return texts, [each.get("fill", "") for each in root.iter(f"{space}path")]


def test_picture() -> None:
    """Step tasks with their letters in colours of their own, exchanges, and all of them in the legend."""
    _, plan = two_copies()
    texts, colors = drawn(plan)
    assert texts.count("U") == 4
    assert {"reduction", "optimizer", "gathering", "gradients sent to another copy"} <= set(texts)
    assert {*COLORS["R"], *COLORS["U"], *COLORS["G"], EXCHANGE} <= set(colors)
    assert not {"reduction", "U"} & set(drawn(pipeline())[0])
