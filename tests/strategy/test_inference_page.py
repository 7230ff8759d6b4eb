"""The page of ``planner strategy --mode inference`` as text: latency and throughput of every strategy, and its words.

In a browser: browser_strategy.py beside this file.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from read_page import Page, data_of
from strategy.questions import serving

from planner.strategies.inference.answer import document_of
from planner.strategies.inference.best import Answer, best_serving
from planner.strategies.page import strategy_html

EVIL = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>"


@cache
def answer() -> Answer:
    """Of four layers on four GPUs, with a limit that some strategies break and memory that some exceed."""
    return best_serving(serving(4, max_token=0.004, memory=20 * 2.0**30), plans=1)


def document() -> dict[str, Any]:
    return copy.deepcopy(document_of(answer()))


def words(page: Page) -> str:
    return " ".join(" ".join(page.texts).split())


def test_the_data_are_those_of_the_document() -> None:
    """Latencies, state and memory of each point that serves, no figures of others; frontier and table find points."""
    given = document()
    data = data_of(Page(strategy_html(given, None, None)))["strategy"]
    states = {point["state"] for point in given["points"]}
    assert states == {"solved", "too slow", "out of memory"}
    assert [data["states"][k] for k in data["state"]] == [point["state"] for point in given["points"]]
    for column, name in (("latency", "token_latency"), ("prefill", "prefill_latency"), ("bytes", "peak_bytes")):
        for one, point in zip(data[column], given["points"], strict=True):
            assert one is point[name] is None or one == pytest.approx(point[name], rel=1e-5)
            assert (one is None) == (point["state"] != "solved")
    for column, rows in (("top", given["strategies"]), ("frontier", given["frontier"])):
        found = [given["points"][k] for k in data[column]]
        assert [point["seconds"] for point in found] == [row["seconds"] for row in rows]
        assert [(point["tp"], point["mbs"]) for point in found] == [(row["tp"], row["mbs"]) for row in rows]
    assert data["limit"] == 0.004
    assert data["best"] == pytest.approx(given["best_seconds"], rel=1e-5)
    assert {axis["name"] for axis in data["axes"]} == {"gpus", "tp", "ep", "pp", "dp", "mbs"}


def test_the_page_of_training_has_no_latency() -> None:
    from space_samples import document as training

    assert "latency" not in data_of(Page(strategy_html(training(most=60), None, None)))["strategy"]


def test_figures_stand_in_the_tables() -> None:
    """The question with its limit, the answer with what no strategy exceeds, counts of the space, reasons, the plan."""
    given = document()
    page = Page(strategy_html(given, answer().winner, None))
    best, space = given["strategies"][0], given["space"]
    for figure in (
        "prompts of 1,024 tokens · answers of 128 · then one every at most 4 ms",
        f"serves small on h100:1x4 at {best['tokens_per_second_per_gpu']:,.0f} tokens/s a GPU",
        f"None of the {space['strategies']} strategies exceeds {1 / given['lower_bound']:,.0f} tokens/s a GPU",
        f"too slow {space['too_slow']}",
        f"out of memory {space['out_of_memory']}",
        "a token takes longer than --max-token-latency, whatever the cut",
        "Throughput against latency",
        "The winner's decode steps",
        "At full load a microbatch follows every",
        "every cut into contiguous stages",
    ):
        assert figure in words(page), figure
    assert len(data_of(page)["plans"]) == 1
    assert "decode steps" not in words(Page(strategy_html(given, None, None)))


def test_what_has_no_answer_says_so() -> None:
    """Nothing serves; nothing has been looked at; a bound of 0 proves nothing."""
    none = document_of(best_serving(serving(4, max_token=1e-6)))
    assert "each is invalid, or proven out of memory or too slow" in words(Page(strategy_html(none, None, None)))
    none["space"]["too_slow"] -= 3
    assert "3 are not decided" in words(Page(strategy_html(none, None, None)))
    cut_off = document() | {"lower_bound": 0.0, "gap": 1.0}
    assert "the best found of" in words(Page(strategy_html(cut_off, None, None)))


def test_names_are_text_wherever_they_stand() -> None:
    evil = document() | {"model": EVIL, "cluster": EVIL, "precision": EVIL, "assumptions": [EVIL]}
    for point in evil["points"]:
        point["reason"] = EVIL
    for each in evil["neighbours"]:
        each["change"] = each["reason"] = EVIL
    page = Page(strategy_html(evil, None, None))
    assert [tag for tag in page.tags if tag in ("script", "iframe", "link", "img", "object", "base")] == ["script"] * 2
    assert page.scripts[1] == Page(strategy_html(document(), None, None)).scripts[1]
