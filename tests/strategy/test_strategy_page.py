"""The page of a space of strategies as text: complete, safe against names, and its data those of the document.

In a browser: browser_strategy.py beside this file.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import re
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from random_plans import plan_of
from read_page import Page, data_of
from solver_problems import config
from space_samples import CAP, document

from planner.baselines import baseline_timetable
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.strategies.page import strategy_html
from planner.strategies.page.columns import DEGREES, STATES
from planner.strategies.page.tables import answer

EVIL = "</script><script>alert(1)</script><!--<img src=x onerror='alert(2)'>\u2028\"&'"
CLOSED = {
    "p",
    "b",
    "section",
    "header",
    "table",
    "tr",
    "td",
    "th",
    "div",
    "details",
    "button",
    "canvas",
    "ul",
    "li",
    "span",
}


def winner() -> tuple[Problem, Plan]:
    problem = config("dualpipe-4x8")
    return problem, plan_of(problem, baseline_timetable("1f1b", problem))


def points(page: Page) -> list[dict[str, Any]]:
    """What the script reads, as points again."""
    data = data_of(page)["strategy"]
    made = []
    for k, state in enumerate(data["state"]):
        point = {axis["name"]: axis["values"][axis["column"][k]] for axis in data["axes"]}
        point |= {"state": data["states"][state], "reason": data["reasons"][data["reason"][k]]}
        made.append(point | {"seconds": data["seconds"][k], "bound": data["bound"][k], "bytes": data["bytes"][k]})
    return made


def test_the_data_are_those_of_the_document() -> None:
    """Degrees, state and reason of every point as they are; times and sizes to six digits; the winner is found."""
    given = document()
    problem, plan = winner()
    page = Page(strategy_html(given, plan, problem))
    for read, point in zip(points(page), given["points"], strict=True):
        assert {name: read[name] for name in DEGREES} == {
            name: "-" if point[name] is None else point[name] for name in DEGREES
        }
        assert (read["state"], read["reason"]) == (point["state"], point["reason"])
        size = point["least_bytes"] if point["peak_bytes"] is None else point["peak_bytes"]
        for one, other in (
            (read["seconds"], point["seconds"]),
            (read["bound"], point["lower_bound"]),
            (read["bytes"], size),
        ):
            assert one is other is None or one == pytest.approx(other, rel=1e-5)
    data = data_of(page)["strategy"]
    assert [given["points"][k]["seconds"] for k in data["top"]] == [each["seconds"] for each in given["strategies"]]
    assert tuple(data["states"]) == STATES and data["best"] == pytest.approx(given["best_seconds"], rel=1e-5)
    assert len(data_of(page)["plans"]) == 1


def test_the_cap_is_that_of_the_document_or_of_the_winners_devices() -> None:
    problem, plan = winner()
    assert data_of(Page(strategy_html(document(memory_cap=CAP), plan, problem)))["strategy"]["cap"] == CAP
    assert data_of(Page(strategy_html(document(), plan, problem)))["strategy"]["cap"] == plan.devices[0].memory
    assert data_of(Page(strategy_html(document(), None, None)))["strategy"]["cap"] is None


def test_what_is_open_is_closed() -> None:
    """Every element that HTML does not close by itself, and every id once."""
    problem, plan = winner()
    for text in (strategy_html(document(), plan, problem), strategy_html(document(most=40), None, None)):
        markup = text[: text.index("<script")]
        for tag in sorted(CLOSED):
            assert len(re.findall(rf"<{tag}[\s>]", markup)) == markup.count(f"</{tag}>"), tag
        names = [value for name, value in Page(text).attributes if name == "id"]
        assert len(names) == len(set(names))


def test_names_are_text_wherever_they_stand() -> None:
    """Two scripts, ours, whatever the document's names and reasons are."""
    evil = copy.deepcopy(document(most=200))
    evil |= dict.fromkeys(("model", "cluster", "runtime", "schedules", "precision"), EVIL) | {"assumptions": [EVIL]}
    for each in (*evil["points"], *evil["strategies"]):
        each["schedule"], each["recompute"] = EVIL, EVIL
        each["reason"] = EVIL
    for each in evil["neighbours"]:
        each["change"] = each["reason"] = EVIL
    text, plain = strategy_html(evil, None, None), strategy_html(document(most=200), None, None)
    page = Page(text)
    assert [tag for tag in page.tags if tag in ("script", "iframe", "link", "img", "object", "base")] == ["script"] * 2
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.scripts[1] == Page(plain).scripts[1] and "\u2028" not in text
    assert {point["reason"] for point in points(page)} == {EVIL}
    assert any("<script>alert(1)" in each for each in page.texts)


def test_only_its_own_script_may_run() -> None:
    problem, plan = winner()
    text = strategy_html(document(most=100), plan, problem)
    page = Page(text)
    (policy,) = (value for name, value in page.attributes if name == "content" and value and "script-src" in value)
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not re.findall(r"(?:src|href)\s*=\s*['\"]?\s*(?:https?:)?//", text)


def test_figures_stand_in_the_tables() -> None:
    """The answer, the best strategies in their order, what each neighbour costs, and the counts of the space."""
    given = document()
    words = " ".join(" ".join(Page(strategy_html(given, None, None)).texts).split())
    best = given["strategies"][0]
    for figure in (
        f"PP {best['pp']}",
        f"{best['seconds']:.2f} s a step",
        f"proven within {100 * given['gap']:.2f} %",
        "zero 1 -> 3",
        "+2.0 %",
        f"at least {1.2 * best['seconds']:.2f} s",
        "invalid: 80 layers do not divide",
        f"out of memory {given['space']['out_of_memory']:,}",
        "Ranks of a stage run in lockstep",
        "6.0 % less: what a better schedule is worth",
    ):
        assert figure in words, figure
    order = ["zero 1 -> 3", "tp 4 -> 8", "pp 4 -> 8", "recompute none -> full", "mbs 1 -> 2"]
    assert [words.index(each) for each in order] == sorted(words.index(each) for each in order)
    same = given | {"unrestricted": {"seconds": best["seconds"], "lower_bound": None}}
    assert "none faster was found" in strategy_html(same, None, None)
    shown = [f"{each['seconds']:.2f} s" for each in given["strategies"]]
    places = [words.index(each) for each in dict.fromkeys(shown)]
    assert places == sorted(places)


def test_what_has_no_answer_says_so() -> None:
    """Nothing fits; nothing decided; no bound; one strategy of one GPU; no neighbours."""
    none = document(most=60)
    lost = [point | {"state": "invalid", "seconds": None} for point in none["points"]]
    none |= {"strategies": [], "neighbours": [], "best_seconds": None, "lower_bound": None, "gap": None, "points": lost}
    none["space"] = {"strategies": 60, "invalid": 60, "out_of_memory": 0, "pruned_by_bound": 0, "solved": 0}
    assert "each is invalid or proven out of memory" in strategy_html(none, None, None)
    none["space"] |= {"invalid": 50}
    assert "10 of them are not decided" in answer(none)
    found = document(most=60) | {"lower_bound": None, "gap": None, "neighbours": []}
    assert "the best found of 60 strategies" in answer(found)
    alone = {
        "gpus": 1,
        "tp": 1,
        "cp": 1,
        "ep": 1,
        "pp": 1,
        "dp": 1,
        "vpp": None,
        "mbs": 1,
        "zero": 0,
        "recompute": "none",
    }
    alone |= {"schedule": None, "rank": 1, "seconds": 1.0}
    assert "<b>one GPU, micro-batch 1, ZeRO 0</b>" in answer(found | {"strategies": [alone]})
    assert "Nothing lies beside it." in strategy_html(found, None, None)


def test_a_bound_without_end_is_not_known() -> None:
    given = document(most=60)
    given["points"][0] |= {"state": "open", "seconds": None, "lower_bound": float("inf")}
    assert points(Page(strategy_html(given, None, None)))[0]["bound"] is None


def test_twenty_thousand_points_are_less_than_a_megabyte() -> None:
    given = document()
    given["points"] = [point for _ in range(4) for point in given["points"]][:20_000]
    assert len(given["points"]) == 20_000 and len(strategy_html(given, None, None)) < 1_000_000


def test_assets_are_packaged() -> None:
    root = Path(__file__).resolve().parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    for asset in files("planner.strategies.page").iterdir():
        if asset.is_file() and not asset.name.endswith(".py"):
            assert any(fnmatch(asset.name, pattern) for pattern in patterns["planner.strategies.page"]), asset.name
