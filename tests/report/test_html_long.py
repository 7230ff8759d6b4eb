"""Steps of many microbatches: small files, where they open, what is left out; and tables of many devices."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from random_plans import plan_of
from read_page import Page, data_of
from samples import pipeline
from solver_problems import chain, config, posed, unit_cluster

from planner.baselines import baseline_timetable
from planner.events.nodes import Nodes
from planner.plan.plan import Plan, PlanWindow
from planner.problem import NetworkLevel, Problem
from planner.report.html import Shown, page, report_html
from planner.report.html.data import PlanDrawing
from planner.report.html.phases import phases_of

LARGEST = 3_000_000
"""Bytes of a page of 128 microbatches."""


def stages(count: int, microbatches: int, baseline: str = "1f1b", prefix: str = "g") -> tuple[Problem, Plan]:
    cluster = unit_cluster(count, 60.0, NetworkLevel(None, 0.25))
    devices = tuple(replace(device, name=f"{prefix}{k}") for k, device in enumerate(cluster.devices))
    operators = chain(count, parameters=2.0, activation=1.0)
    problem = posed(*operators, devices=replace(cluster, devices=devices), microbatches=microbatches)
    return problem, replace(plan_of(problem, baseline_timetable(baseline, problem)), origin=f"baseline:{baseline}")


def test_pages_of_128_microbatches_are_small() -> None:
    """A pipeline of 16 stages, known and with memory; and 40,000 tasks of which no two have one length."""
    problem, plan = stages(16, 128)
    assert len(report_html(Shown(plan, "x", problem))) < 300_000
    rng = random.Random(1)
    uneven = []
    for k in range(320):
        for start in range(128):
            uneven.append(
                plan.tasks[0]._replace(
                    operator=f"o{k}",
                    device=f"g{k % 16}",
                    microbatch=start,
                    pass_="FIW"[k % 3],
                    start=start + k / 320 + rng.random() / 1000,
                    end=start + (k + rng.random()) / 320 + 0.001,
                )
            )
    ragged = replace(plan, tasks=tuple(uneven), makespan=129.1, transfers=())
    assert len(uneven) == 40_960
    assert len(report_html(Shown(ragged, "x"))) < LARGEST


def test_it_opens_on_warm_up_and_one_window() -> None:
    """Until the last device's first backward pass, then as many microbatches as devices, or the plan's own window."""
    _, plan = stages(4, 128)
    nodes = Nodes.of(plan, None)
    phases = phases_of(replace(plan, window=None), nodes)
    assert phases is not None and phases.microbatches == 4
    first = {d: min(t.start for t in plan.tasks if t.device == d and t.pass_ != "F") for d in ("g0", "g1", "g2", "g3")}
    assert phases.warm_up == pytest.approx(max(first.values()))
    assert phases.period == pytest.approx(3.0, rel=0.2)
    assert phases.until == pytest.approx(phases.warm_up + 4 * phases.period)
    own = phases_of(replace(plan, window=PlanWindow(50.0, 18.0, 6)), nodes)
    assert own is not None and (own.microbatches, own.until) == (6, pytest.approx(phases.warm_up + 18.0))


def test_steps_without_a_steady_part() -> None:
    """GPipe runs all forward passes first: no warm-up is claimed. Few microbatches: no phases at all."""
    _, plan = stages(4, 128, "gpipe")
    phases = phases_of(plan, Nodes.of(plan, None))
    assert phases is not None and phases.warm_up is None and phases.until < plan.makespan / 2
    few = pipeline(3)
    assert phases_of(few, Nodes.of(few, None)) is None
    empty = pipeline(20, tasks=(), transfers=())
    assert phases_of(empty, Nodes.of(empty, None)) is None


def test_the_middle_of_a_very_long_step_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start and end are whole, references stay right, memory goes on at its true level; tables count everything."""
    problem, plan = stages(4, 300)
    monkeypatch.setattr(page, "TASKS_AT_MOST", 900)
    text = report_html(Shown(plan, "x", problem))
    read = Page(text)
    (drawn,) = data_of(read)["plans"]
    gone, tasks = drawn["leftOut"], drawn["tasks"]
    assert len(tasks["start"]) + gone["tasks"] == len(plan.tasks) == 3600 and len(tasks["start"]) < 1000
    outside = [t for t in plan.tasks if t.start < gone["start"] or t.end > gone["end"]]
    assert sorted(tasks["start"]) == pytest.approx([t.start for t in outside])
    assert drawn["phases"]["until"] <= gone["start"] < gone["end"] < plan.makespan
    shown = len(tasks["start"]) + len(drawn["transfers"]["start"])
    for column in (drawn["waits"]["node"], drawn["path"], drawn["transfers"]["maker"], drawn["transfers"]["reader"]):
        assert all(-1 <= node < shown for node in column)
    assert drawn["transfers"]["readerPtr"][-1] == len(drawn["transfers"]["reader"])
    whole = PlanDrawing(plan, "x", problem).memory or []
    for device, held in zip(drawn["memory"], whole, strict=True):
        for instant in (gone["start"] - 1, gone["end"] + 1, plan.makespan):
            assert _level(device, instant) == pytest.approx(held.change[held.times <= instant].sum(), abs=1e-9)
        assert device["peak"] == pytest.approx(held.parameters + np.cumsum(held.change).max())
    words = " ".join(read.texts)
    assert f"leave out {gone['tasks']:,} of them" in words and "Figures and tables count all." in words
    monkeypatch.undo()
    assert "leave out" not in report_html(Shown(plan, "x", problem))


def _level(device: dict[str, Any], instant: float) -> float:
    return float(sum(c for t, c in zip(device["time"], device["change"], strict=True) if t <= instant + 1e-7))


def test_what_is_left_out_shrinks_with_every_plan_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is that of the page; what it opens on is never left out."""
    problem, plan = stages(4, 300)
    monkeypatch.setattr(page, "TASKS_AT_MOST", 3600)
    drawn = data_of(Page(report_html(Shown(plan, "x", problem), [Shown(plan, "y", problem)])))["plans"]
    assert [each["leftOut"]["tasks"] > 1500 for each in drawn] == [True, True]
    monkeypatch.setattr(page, "TASKS_AT_MOST", 10)
    (drawn,) = data_of(Page(report_html(Shown(plan, "x", problem))))["plans"]
    assert drawn["leftOut"]["start"] == pytest.approx(drawn["phases"]["until"])


def test_fewer_tasks_where_they_take_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of tasks is halved until the data are small enough, or few tasks are left."""
    _, plan = stages(8, 150)
    monkeypatch.setattr(page, "BYTES_AT_MOST", len(report_html(Shown(plan, "x"))) - 50_000)
    monkeypatch.setattr(page, "FEWEST_TASKS", 100)
    assert data_of(Page(report_html(Shown(plan, "x"))))["plans"][0]["leftOut"] is None
    monkeypatch.setattr(page, "BYTES_AT_MOST", 20_000)
    (drawn,) = data_of(Page(report_html(Shown(plan, "x"))))["plans"]
    assert drawn["leftOut"]["tasks"] >= len(plan.tasks) // 2
    monkeypatch.setattr(page, "BYTES_AT_MOST", 10)
    (drawn,) = data_of(Page(report_html(Shown(plan, "x"))))["plans"]
    assert drawn["leftOut"]["start"] == pytest.approx(drawn["phases"]["until"])


def test_tables_of_many_devices() -> None:
    """Long names keep the end in which they differ; every table scrolls in a box of its own."""
    problem, plan = stages(64, 4, prefix="rack-07.cluster-europe-west4.compute.example.internal.node/gpu-")
    text = report_html(Shown(plan, "x", problem))
    assert "node/gpu-63</th>" in text and "…" in text
    assert text.count("<table") == text.count("<div class='wide'")
    assert text.count("<table class='devices'>") == text.count("<table class='peaks'>") == 1


def test_legend_of_communication_rows() -> None:
    """It stands where a device has such a row."""
    problem = config("deepseek-v3-h800", microbatches=4)
    comm = report_html(Shown(plan_of(problem, baseline_timetable("1f1b", problem)), "x"))
    assert "thin row: communication" in comm
    assert "thin row: communication" not in report_html(Shown(pipeline(), "x"))
