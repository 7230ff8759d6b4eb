"""Which plans are slower and which no longer fit their inputs: measures, limits, Markdown as GitHub reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from markdown_it import MarkdownIt
from samples import pipeline
from test_strategies import HALF, WHOLE, strategy

from planner.plan.plan import Plan, Source
from planner.report.compare import compare_document, compare_text, different_problems
from planner.report.compare_markdown import compare_markdown
from planner.report.verdict import Measure, Verdict, verdict


def held(plans: Sequence[Plan], allowed: float | None = None, names: Sequence[str] = "abcdef", **given: Any) -> Verdict:
    return verdict(plans, names[: len(plans)], different_problems(plans), allowed, **given)


def lasting(makespan: float) -> Plan:
    return replace(pipeline(), makespan=makespan)


@pytest.mark.parametrize(
    ("makespan", "allowed", "too_slow"),
    [(8.0, 0.0, False), (8.16, 0.02, False), (8.1601, 0.02, True), (8.0001, 0.0, True), (4.0, 0.0, False)],
)
def test_slower_by_more_than_is_allowed(makespan: float, allowed: float, too_slow: bool) -> None:
    """2 % of 8 s are 0.16 s; just that much is allowed."""
    found = held([lasting(8.0), lasting(makespan)], allowed)
    assert found.measure is Measure.MAKESPAN
    assert found.slower_by == (0.0, pytest.approx(makespan / 8 - 1))
    assert found.too_slow == ((1,) if too_slow else ())
    assert len(found.complaints()) == too_slow


def test_every_later_plan_is_held_against_the_first() -> None:
    found = held([lasting(8.0), lasting(10.0), lasting(9.0), lasting(7.0)], 0.15)
    assert found.too_slow == (1,)
    assert found.complaints() == [
        "b against a: 25 % slower (makespan 10 s against 8 s); --fail-if-slower allows 15 %",
    ]
    assert held([lasting(8.0), lasting(10.0)]).too_slow == ()


def test_a_share_near_the_limit_is_told_apart_from_it() -> None:
    (line,) = held([lasting(8.0), lasting(8.160001)], 0.02).complaints()
    assert line == "b against a: 2.00001 % slower (makespan 8.16 s against 8 s); --fail-if-slower allows 2 %"


def test_strategies_are_measured_in_tokens_a_second_and_gpu() -> None:
    """HALF has 3000, WHOLE 4500, in the same makespan: a third less."""
    found = held([WHOLE, HALF], 0.3)
    assert found.measure is Measure.TOKENS
    assert found.slower_by == (0.0, pytest.approx(1 / 3))
    assert found.complaints() == [
        "b against a: 33.33 % slower (3000 tokens/s/GPU against 4500); --fail-if-slower allows 30 %",
    ]
    assert held([HALF, WHOLE], 0.0).too_slow == ()
    other = strategy(16, 4500.0, sequence=2000)
    assert held([HALF, other], 0.0).measure is Measure.MAKESPAN  # --force: not the same work
    assert held([HALF, replace(HALF, makespan=9.0)], 0.0).too_slow == (1,)  # one problem: its makespan


def test_a_first_plan_of_no_length() -> None:
    found = held([lasting(0.0), lasting(1.0)], 1.0)
    assert found.slower_by[1] == math.inf and found.too_slow == (1,)
    assert "infinitely slower" in found.words(1)
    assert compare_document([lasting(0.0), lasting(1.0)], "ab", found)["plans"][1]["slower_by"] is None
    assert held([lasting(0.0), lasting(0.0)], 0.0).too_slow == ()


def test_stale_plans_say_so_in_every_format() -> None:
    plan = pipeline()
    other = replace(plan, graph=replace(plan.graph, sha256="c" * 64))
    graph, cluster = ("g.yaml", plan.graph), ("c.yaml", Source("pair", "d" * 64))
    found = held([plan, other], graph=graph)
    assert found.stale == ((), found.notes)
    assert found.notes == (
        f"b no longer fits g.yaml: it was made from another graph (SHA-256 {'c' * 12}…, "
        f"the file's {plan.graph.sha256[:12]}…)",
    )
    assert "b no longer fits g.yaml" in compare_text([plan, other], "ab", 100, held=found)
    assert "- b no longer fits g.yaml" in compare_markdown([plan, other], "ab", found)
    document = compare_document([plan, other], "ab", found)
    assert [row["stale"] for row in document["plans"]] == [False, True]
    assert document["notes"] == list(found.notes)
    assert [len(lines) for lines in held([plan, other], graph=graph, cluster=cluster).stale] == [1, 2]
    fresh = held([plan, plan], graph=graph)
    assert compare_document([plan, plan], "ab", fresh)["notes"] == []
    assert "stale" not in compare_document([plan, plan], "ab")["plans"][0]
    nameless = replace(plan, cluster=Source("pair", ""))
    assert "SHA-256 unknown" in held([nameless, nameless], cluster=cluster).notes[0]


def test_as_json() -> None:
    document = compare_document([lasting(8.0), lasting(9.0)], "ab", held([lasting(8.0), lasting(9.0)], 0.02))
    assert (document["measure"], document["fail_if_slower"]) == ("makespan", 0.02)
    assert [(row["slower_by"], row["too_slow"]) for row in document["plans"]] == [(0.0, False), (0.125, True)]
    assert compare_document([HALF, WHOLE], "ab")["plans"][1]["slower_by"] == -0.5
    assert "too_slow" not in compare_document([HALF, WHOLE], "ab")["plans"][1]


def tables(text: str) -> list[list[list[str]]]:
    """The tables as a renderer sees them: rows of cells, without markup."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level > 3:
            found[-1][-1].append("".join(part.content for part in token.children or () if part.type != "html_inline"))
    return found


def test_markdown_has_a_headline_a_short_table_and_all_figures() -> None:
    plans = [lasting(8.0), lasting(9.0)]
    text = compare_markdown(plans, ["a.json", "b.json"], held(plans, 0.02, ["a.json", "b.json"]))
    assert text.splitlines()[0] == (
        "**Against `a.json`, `b.json` is 12.5 % slower (makespan 9 s against 8 s). "
        "Too slow: at most 2 % slower is allowed.**"
    )
    short, full = tables(text)
    assert short[:3] == [["", "a.json", "b.json"], ["makespan", "8 s", "9 s"], ["change", "", "12.5 % slower"]]
    rows = [line[:21].strip() for line in compare_text(plans, "ab").splitlines()[4:]]
    assert [row[0].strip("\u2003") for row in full[1:]] == rows[: rows.index("")]
    assert text.index("<summary>") < text.index("parameter sets") < text.index("</details>")
    assert "Fast enough: at most 20 %" in compare_markdown(plans, "ab", held(plans, 0.2))
    assert "allowed" not in compare_markdown(plans, "ab", held(plans))


def test_markdown_of_strategies() -> None:
    text = compare_markdown([WHOLE, HALF], "ab", held([WHOLE, HALF]))
    assert text.startswith(
        "**Against `a`, `b` is 33.33 % slower (3000 tokens/s/GPU against 4500).**\n\nPlans of llama, training"
    )
    (short, _) = tables(text)
    rows = {row[0]: row[1:] for row in short[1:]}
    assert rows["tokens/s/GPU"] == ["4,500", "3,000"]
    assert rows["change"] == ["", "33.33 % slower"]
    assert "Different problems" not in text


def test_names_do_not_break_the_table_or_mention_anybody() -> None:
    """Names of files and what files say, as a renderer shows them."""
    bad = "x|y`*z*_a_<b>[c](http://d.e)@team\n#1&amp;"
    plan = replace(pipeline(), origin=bad, graph=replace(pipeline().graph, name=bad))
    names = ["a|`` b.json", "@team <img>.json"]
    text = compare_markdown([plan, plan], names, held([plan, plan], 0.02, names))
    short, full = tables(text)
    assert short[0] == ["", *names]
    assert all(len(row) == 3 for table in (short, full) for row in table)
    assert full[1] == ["origin", *[bad.replace("\n", "?")] * 2]
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    outside = re.sub(r"<code>.*?</code>", "", rendered)
    assert not re.search(r"@team|://\w|<em>|<a |<img|<b>|#1", outside)
