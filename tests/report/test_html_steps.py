"""The page of a whole step: what comes once a step, exchanges of gradients, variants, and their causes of idle time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from random_plans import plan_of
from random_steps import greedy, random_whole_step, two_copies, with_step
from read_page import Page, data_of
from samples import pipeline, whole_step
from solver_problems import chain, posed

from planner.plan.plan import BaselineFigures, Plan
from planner.problem import Placement
from planner.report.causes import Cause
from planner.report.html import Shown, report_html
from planner.report.html.data import ALWAYS, CAUSES
from planner.report.html.tables import IDLE_CLASSES

LETTERS = "FIWRUG"


def page_of(plan: Plan, problem: Any = None) -> tuple[Page, dict[str, Any]]:
    page = Page(report_html(Shown(plan, "it", problem)))
    document = data_of(page)
    return page, document["plans"][0] | {"causes": document["causes"]}


def test_columns_hold_the_step() -> None:
    """Step tasks in their rows, exchanges among the transfers in order of time, each with what it carries to whom."""
    sent = 0
    for seed in range(30):
        made = random_whole_step(seed)
        if made is None:
            continue
        problem, plan = made
        for given in (problem, None):
            _, drawn = page_of(plan, given)
            tasks, transfers, names = drawn["tasks"], drawn["transfers"], drawn["operators"]
            rows = Counter(
                (names[i], LETTERS[p], m, k)
                for i, p, m, k in zip(*(tasks[c] for c in ("operator", "pass", "microbatch", "copy")), strict=True)
            )
            assert rows == Counter(t[:4] for t in plan.tasks) + Counter((*t[:2], -1, t.copy) for t in plan.step_tasks)
            assert transfers["start"] == sorted(transfers["start"]) or not plan.exchanges
            for t, microbatch in enumerate(transfers["microbatch"]):
                if microbatch >= 0:
                    continue
                readers = transfers["reader"][transfers["readerPtr"][t] : transfers["readerPtr"][t + 1]]
                maker = transfers["maker"][t]
                if maker >= 0:  # else a copy that no microbatch uses
                    assert tasks["operator"][maker] == transfers["operator"][t] and tasks["pass"][maker] in (1, 2)
                assert all(tasks["operator"][k] == transfers["operator"][t] for k in readers)
                assert all(tasks["microbatch"][k] == -1 for k in readers)
                sent += 1
            assert len(drawn["waits"]["node"]) == len(tasks["start"]) + len(transfers["start"])
    assert sent > 10


def test_variants_of_tasks_and_devices() -> None:
    """Copy, operator and variant for the tooltips; a column of the table, with figures where they are known."""
    problem, plan = two_copies()
    for given, words in ((problem, "frees 4 B at the peak, adds 2 s"), (None, "")):
        page, drawn = page_of(plan, given)
        assert drawn["variants"] == [[1, drawn["operators"].index("s0"), "recompute"]]
        texts = page.texts
        assert "variants" in texts and "1 of 2 s* as recompute" in texts and (not words or words in texts)
    page, drawn = page_of(pipeline())
    assert "variants" not in drawn and "variants" not in page.texts


def test_legend_tiles_and_baselines() -> None:
    baselines = (BaselineFigures("dualpipe", 70.0, 0.3, 0.2, 30.0, 2, True, variant="recompute"),)
    page, drawn = page_of(replace(two_copies()[1], baselines=baselines))
    for words in ("reduction", "optimizer", "gathering", "gradients sent to another copy", "after the last microbatch"):
        assert words in page.texts, words
    assert "recompute" in page.texts
    assert drawn["causes"] == [cause.value for cause in CAUSES] and len(IDLE_CLASSES) == len(CAUSES)
    plain, drawn = page_of(pipeline())
    assert not {"reduction", "optimizer", "gathering", "after the last microbatch"} & set(plain.texts)
    assert drawn["causes"] == [cause.value for cause in CAUSES[:ALWAYS]]
    step, _ = page_of(whole_step())
    assert "reduction 1.5 s, optimizer 1.5 s, gathering 1 s" in step.texts
    assert "gradients sent to another copy" not in step.texts


def test_causes_in_the_table() -> None:
    """A column for each cause that occurs, under its name; the shares of a device add up to the makespan."""
    problem, plan = two_copies()
    page, drawn = page_of(plan, problem)
    for cause in (Cause.REDUCE, Cause.EXCHANGE, Cause.GATHER):
        assert cause.value in page.texts, cause
    idle = drawn["idle"]
    for d, device in enumerate(plan.devices):
        own = [end - start for k, start, end in zip(idle["device"], idle["start"], idle["end"], strict=True) if k == d]
        assert sum(own) == pytest.approx(device.bubble)
    styles = {value for name, value in page.attributes if name == "class"}
    assert {"reduce", "exchange", "gather", "R", "U", "G", "sent"} <= styles


def test_long_whole_steps_open_on_their_start() -> None:
    """What comes once a step belongs to no microbatch, and to neither warm-up nor steady window."""
    plain = posed(*chain(2), devices=2, microbatches=16)
    problem = with_step(plain, 0, whole=True)
    placement = Placement.single((0, 1))
    phases = [page_of(plan_of(p, greedy(p, placement, 5)))[1]["phases"] for p in (plain, problem)]
    assert phases[0] is not None and phases[0] | {"warmUp": 0} == phases[1] | {"warmUp": 0}
