"""The text report and the comparison: figures, chart, widths, colour."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from samples import GIB, long_plan, pipeline, task

from planner.plan.plan import BaselineFigures, Figure, PlacedOperator, PlanWindow
from planner.report.compare import compare_document, compare_text, different_problems
from planner.report.line import report_line
from planner.report.text import report_text


def test_summary_and_tables() -> None:
    """Every figure of the plan is there, in units that people read."""
    text = report_text(pipeline(), 100)
    for words in (
        "plan of tiny on pair",
        "8 s for 3 microbatches",
        "0.375 microbatches/s",
        "4 s, gap 50 %",
        "25.00 % of 2 devices x makespan",
        "12.50 %",
        "3 GiB",
        "75.0 %",
        "found by hand",
        "over cap",
        "DualPipe needs an even number of microbatches",
    ):
        assert words in text
    gpipe = next(line for line in text.splitlines() if line.startswith("gpipe"))
    assert gpipe.split() == [
        "gpipe",
        "16",
        "s",
        "0.500",
        "50.00",
        "%",
        "0.500",
        "25.00",
        "%",
        "8",
        "GiB",
        "1",
        "over",
        "cap",
    ]


def test_window_and_memory_bound() -> None:
    """A line each where the plan has them."""
    plan = replace(pipeline(), window=PlanWindow(0.5, 0.25, 1), figures=(Figure("memory", 4 * GIB, 3 * GIB),))
    lines = report_text(plan, 100).splitlines()
    assert "steady state     repeats from 500 ms every 250 ms, 1 microbatch (for more: planner stretch)" in lines
    assert "least memory     4 GiB on the fullest device, lower bound 3 GiB, gap 25 %" in lines
    plain = report_text(pipeline(), 100).splitlines()
    assert not any(line.startswith(("steady state", "least memory")) for line in plain)


def test_chart_in_whole_steps() -> None:
    """One letter a step, the microbatch under it."""
    lines = report_text(pipeline(step=0.25), 100).splitlines()
    at = lines.index("gpu0 |FFF··III|")
    assert lines[at + 1] == "      012  012"
    assert lines[at + 2] == "gpu1 |·FFFIII·|"
    assert "a column is 250 ms" in "\n".join(lines)


def test_chart_steps_shorter_than_every_task() -> None:
    """Lengths of 2 and 3 have a step of 1 in common."""
    tasks = (task("a", "F", 0, "gpu0", 0, 2), task("a", "I", 0, "gpu0", 2, 3), task("b", "F", 0, "gpu1", 2, 2))
    assert "gpu0 |FFIII···|" in report_text(pipeline(tasks=tasks), 100)


def test_chart_second_copy_is_lower_case() -> None:
    tasks = (task("a", "F", 0, "gpu0", 0, 4), task("a", "F", 1, "gpu1", 0, 4, copy=1))
    text = report_text(pipeline(tasks=tasks), 100)
    assert "FFFF····" not in text  # the step is 4: a single letter
    assert "gpu1 |f·|" in text
    assert "lower case: copy 1" in text


def test_job_shop_shows_operators() -> None:
    """With one microbatch the number under a letter is that of the operator on its device."""
    tasks = (task("layer.0.mlp", "F", 0, "gpu0", 0, 4), task("b", "F", 0, "gpu0", 4, 4))
    places = (PlacedOperator("layer.0.mlp", 0, "gpu0"), PlacedOperator("b", 0, "gpu0"))
    lines = report_text(pipeline(1, tasks=tasks, placement=places, makespan=8.0), 100).splitlines()
    assert lines[lines.index("gpu0 |FF|") + 1] == "      01"


def test_communication_stream_has_its_own_row() -> None:
    tasks = (task("a", "F", 0, "gpu0", 0, 4), task("c", "F", 0, "gpu0", 4, 4, stream="comm"))
    text = report_text(pipeline(tasks=tasks), 100)
    assert "gpu0 comm |·F|" in text
    assert "gpu1 comm" not in text


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_is_wider_than_asked(width: int) -> None:
    for plan in (pipeline(), long_plan(900)):
        assert max(map(len, report_text(plan, width).splitlines())) <= width
        assert max(map(len, compare_text([plan] * 3, ["a" * 90, "b", "c"], width).splitlines())) <= width


def test_colour_only_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller decides, not the environment of the process."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in report_text(pipeline(), 100)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" in report_text(pipeline(), 100, color=True)


def test_names_cannot_disturb_the_terminal() -> None:
    evil = pipeline(names=("gpu\x1b[31m", "[red]b"), notes=("[bold]note\x07",))
    text = report_text(evil, 100)
    assert "\x1b" not in text and "\x07" not in text
    assert "[red]b" in text and "[bold]note?" in text


def test_long_plans_are_sampled_and_fast() -> None:
    begun = time.perf_counter()
    text = report_text(long_plan(9000), 100)
    assert time.perf_counter() - begun < 5
    assert "Too long for whole steps" in text


def test_baselines_on_fewer_devices_say_so() -> None:
    """A baseline that leaves devices idle compares less well; one on all of them, or on unknown ones, says nothing."""
    rows = tuple(BaselineFigures(f"b{n}", 16.0, 0.5, 0.25, 1.0, 1, True, devices=n) for n in (1, 2, None))
    text = report_text(pipeline(baselines=rows), 100)
    lines = [line.split("  ")[0] for line in text.splitlines()]
    at = lines.index("b1")
    assert lines[at : at + 4] == ["b1", "(1 of 2 devices)", "b2", "bNone"]


def test_baseline_and_empty_plan() -> None:
    """No bound, no baselines, no tasks: still a report."""
    plan = pipeline(origin="baseline:1f1b", lower_bound=None, placement_lower_bound=None, gap=None, baselines=())
    text = report_text(plan, 100)
    assert "baseline 1f1b of tiny on pair" in text and "none computed" in text and "plan/it" not in text
    empty = pipeline(tasks=(), transfers=(), placement=(), makespan=0.0, gap=0.0, lower_bound=0.0, devices=())
    assert "0 s" in report_text(empty, 100)
    assert "makespan 8 s, feasible, bound 4 s, gap 50 %, bubble 25.00 %" in report_line(pipeline())


def test_over_the_cap_is_said() -> None:
    devices = tuple(replace(d, memory=GIB) for d in pipeline().devices)
    assert "exceeds the cap on gpu0, gpu1" in report_text(pipeline(devices=devices), 100)


def test_compare() -> None:
    """Figures side by side, and quotients to the first plan."""
    slow = pipeline(step=2.0, status="optimal")
    lines = compare_text([pipeline(), slow], ["a.json", "b.json"], 100).splitlines()
    rows = {line[:21].strip(): line[21:].split() for line in lines if line}
    assert rows["makespan"] == ["8", "s", "16", "s"]
    assert rows["status"] == ["feasible", "optimal"]
    assert rows["parameter sets"] == ["1", "1"]
    document = compare_document([pipeline(), slow], ["a.json", "b.json"])
    assert document["same_problem"] and [p["makespan"] for p in document["plans"]] == [8.0, 16.0]


def test_compare_of_other_objectives() -> None:
    """Period, memory and devices with their bounds, where a plan has them; no rows of dashes where none has."""
    plan = replace(pipeline(), figures=(Figure("period", 2.0, 1.5), Figure("devices", 2, 1)))
    rows = {line[:21].strip(): line[21:].split() for line in compare_text([plan, pipeline()], ["a", "b"]).splitlines()}
    assert rows["period"] == ["2", "s", "-"] and rows["fewest devices"] == ["2", "-"]
    assert "least memory" not in rows
    assert "period" not in compare_text([pipeline()] * 2, ["a", "b"])
    document = compare_document([plan, pipeline()], ["a", "b"])
    assert [p["period_gap"] for p in document["plans"]] == [0.25, None]


def test_different_problems() -> None:
    other = pipeline(4, graph=replace(pipeline().graph, sha256="c" * 64))
    assert different_problems([pipeline(), pipeline(origin="baseline:1f1b")]) == []
    assert len(different_problems([pipeline(), other])) == 2
    assert "Different problems" in compare_text([pipeline(), other], ["a", "b"], 100)


def test_compared_plans_that_differ_look_different() -> None:
    """By as many digits as that takes; in the summary they have the usual ones."""
    slower = replace(pipeline(), makespan=pipeline().makespan * (1 + 1e-7))
    rows = {
        line[:21].strip(): line[21:].split() for line in compare_text([pipeline(), slower], ["a", "b"]).splitlines()
    }
    assert rows["makespan"] == ["8", "s", "8.000001", "s"]
