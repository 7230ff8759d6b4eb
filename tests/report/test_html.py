"""The page as text: complete, safe against names, honest about what it does not know. A browser: browser_report.py."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from random_plans import plan_of, random_plan
from read_page import Page, data_of
from samples import long_plan, pipeline
from solver_problems import CONFIGS, chain, config, posed

from planner.baselines import baseline_timetable
from planner.commands.app import main
from planner.plan.plan import Figure, Plan, plan_to_json
from planner.report.html import Shown, report_html
from planner.report.html.data import PlanDrawing

EVIL = "</script><script>alert(1)</script><!--<img src=x onerror='alert(2)'>\u2028\"&'"


def test_columns_hold_the_plan() -> None:
    """Every task and transfer once, row by row in order of time; links and waits point where they should."""
    ran = 0
    for seed in range(900, 920):
        made = random_plan(seed)
        if made is None:
            continue
        problem, plan = made
        (drawn,) = data_of(Page(report_html(Shown(plan, "it", problem))))["plans"]
        tasks, devices = drawn["tasks"], drawn["devices"]
        rows: list[tuple[Any, ...]] = []
        for row, (low, high) in enumerate(pairwise(drawn["rowPtr"])):
            assert tasks["start"][low:high] == sorted(tasks["start"][low:high])
            for k in range(low, high):
                name, passes = drawn["operators"][tasks["operator"][k]], "FIW"[tasks["pass"][k]]
                stream = "comm" if row % 2 else "compute"
                times = (pytest.approx(tasks["start"][k]), pytest.approx(tasks["end"][k]))
                rows.append((name, passes, tasks["microbatch"][k], tasks["copy"][k], devices[row // 2], stream, *times))
        expected = [(t.operator, t.pass_, t.microbatch, t.copy, t.device, t.stream, t.start, t.end) for t in plan.tasks]
        assert sorted(expected, key=lambda r: r[:6]) == sorted(rows, key=lambda r: r[:6])
        transfers = drawn["transfers"]
        assert len(transfers["start"]) == len(plan.transfers) == len(transfers["maker"])
        for t, maker in enumerate(transfers["maker"]):
            assert tasks["microbatch"][maker] == transfers["microbatch"][t]
            assert tasks["end"][maker] <= transfers["start"][t] + 1e-8 * plan.makespan
        assert len(drawn["waits"]["node"]) == len(plan.tasks) + len(plan.transfers)
        assert [m["cap"] for m in drawn["memory"]] == [d.memory for d in plan.devices]
        ran += 1
    assert ran > 8


def test_names_are_text_wherever_they_stand() -> None:
    """Two scripts, ours, however devices, operators, options, notes and titles are called."""
    plan = pipeline(names=(EVIL, "gpu1"))
    tasks = tuple(t._replace(operator=EVIL) for t in plan.tasks)
    transfers = tuple(t._replace(operator=EVIL) for t in plan.transfers)
    placement = tuple(replace(p, operator=EVIL) for p in plan.placement)
    graph = replace(plan.graph, name=EVIL)
    plan = replace(
        plan,
        tasks=tasks,
        transfers=transfers,
        placement=placement,
        graph=graph,
        notes=(EVIL,),
        options={"layout": EVIL, EVIL: 1},
        origin=EVIL,
        status=EVIL,
        planner_version=EVIL,
        baselines=tuple(replace(b, name=EVIL, reason=EVIL if b.reason else None) for b in plan.baselines),
    )
    text = report_html(Shown(plan, EVIL), [Shown(plan, EVIL)])
    plain = Page(report_html(Shown(pipeline(), "x"), [Shown(pipeline(), "x")]))
    page = Page(text)
    assert page.tags.count("script") == 2 and "img" not in page.tags
    assert [tag for tag in page.tags if tag in ("script", "iframe", "link", "img", "object", "base")] == ["script"] * 2
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.scripts[1] == plain.scripts[1]
    assert "<" not in page.scripts[0] and "\u2028" not in text
    assert EVIL in data_of(page)["plans"][0]["devices"]
    assert any("<script>alert(1)" in each for each in page.texts)


def test_only_its_own_script_may_run() -> None:
    """The policy names the hash of the very script; nothing is fetched from anywhere."""
    text = report_html(Shown(pipeline(), "x"))
    page = Page(text)
    (policy,) = (value for name, value in page.attributes if name == "content" and value and "script-src" in value)
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not re.findall(r"(?:src|href)\s*=\s*['\"]?\s*(?:https?:)?//", text)
    assert "@import" not in text and "url(" not in text


def test_what_is_not_known_is_said() -> None:
    """Without graph and cluster: no memory over time, causes read off the plan; with them neither remark."""
    problem = config("dualpipe-4x8", copies=2)
    plan = plan_of(problem, baseline_timetable("dualpipe", problem))
    alone, known = report_html(Shown(plan, "x")), report_html(Shown(plan, "x", problem))
    for remark in ("--graph GRAPH --cluster CLUSTER", "read off the times in the plan alone"):
        assert remark in alone and remark not in known
    assert "memory-0" not in alone and "memory-0" in known
    assert data_of(Page(alone))["plans"][0]["memory"] is None


def test_figures_of_the_tables() -> None:
    """Makespan, bound, gap and bubble; each device; baselines with their reasons; flags and notes."""
    page = Page(report_html(Shown(pipeline(), "this plan")))
    words = " | ".join(page.texts)
    for figure in ("8 s", "4 s", "gap 50 %", "25.00 %", "gpu0", "gpipe", "16 s", "0.500", "over cap", "found by hand"):
        assert figure in words, figure
    assert "DualPipe needs an even number of microbatches" in words
    assert "--copies" in words and "a" * 64 in words


def test_figures_of_other_objectives() -> None:
    """Bound and gap of what was asked for, not of the makespan alone; nothing of it where it was not asked for."""
    plan = replace(
        pipeline(objective="period"),
        figures=(Figure("memory", 2048.0, 1024.0), Figure("period", 2.0, 1.5), Figure("devices", 2, 1)),
        options={"max_period": None, "baselines": ["gpipe", "1f1b"], "layout": "auto", "copies": 2},
    )
    words = " | ".join(Page(report_html(Shown(plan, "x"))).texts)
    for figure in (
        "least memory | 2 KiB | on the fullest device; lower bound 1 KiB, gap 50 %",
        "period | 2 s | a microbatch of the busiest stream; lower bound 1.5 s, gap 25 %",
        "fewest devices | 2 | that run a task; lower bound 1, gap 50 %",
    ):
        assert figure in words, figure
    for flag in ("--max-period | not given", "--baselines | gpipe,1f1b", "--layout | auto", "--copies | 2"):
        assert flag in words, flag
    assert "that run a task;" not in " ".join(Page(report_html(Shown(pipeline(), "x"))).texts)


def test_what_makes_up_the_peaks() -> None:
    """The bytes of the causes at the peak add up to the plan's peak, at the instant that the plan names."""
    problem = config("deepseek-v3-h800", microbatches=4)
    plan = plan_of(problem, baseline_timetable("interleaved-1f1b", problem))
    for device, held in zip(plan.devices, PlanDrawing(plan, "x", problem).memory or (), strict=True):
        at, stages = held.at_peak()
        assert held.parameters + sum(stages) == pytest.approx(device.peak_memory, rel=1e-12)
        assert at == pytest.approx(device.peak_memory_at, rel=1e-12)
        assert len(stages) == 2 and min(stages) > 0
    words = " ".join(Page(report_html(Shown(plan, "x", problem))).texts)
    assert "parameters 12.99 GiB" in words and "layer.0-1 " in words


def test_graphs_without_memory() -> None:
    """Empty charts tell nothing: a sentence stands in their place."""
    problem = posed(*chain(4), devices=2, microbatches=3)
    text = report_html(Shown(plan_of(problem, baseline_timetable("1f1b", problem)), "x", problem))
    assert "No operator of this graph holds memory." in text
    assert "memory-0" not in text and "--graph GRAPH --cluster CLUSTER" not in text


def test_large_and_empty_plans() -> None:
    """Fifty thousand tasks in some seconds and a few bytes each; no task at all is no error."""
    text = report_html(Shown(long_plan(50_000), "large"))
    assert len(text) < 300_000
    empty = pipeline(tasks=(), transfers=(), makespan=0.0, lower_bound=None, gap=None)
    assert data_of(Page(report_html(Shown(empty, "empty"))))["plans"][0]["path"] == []


def test_everything_of_the_page_is_installed() -> None:
    """All files beside the modules are package data: an installed planner has them, too."""
    import tomllib

    root = Path(__file__).resolve().parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]["planner.report.html"]
    for asset in files("planner.report.html").iterdir():
        if asset.is_file() and not asset.name.endswith((".py", ".pyc")):
            assert any(Path(asset.name).match(pattern) for pattern in patterns), asset.name


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan in ``plan.json``, DualPipe on the same problem in ``dual.json``."""
    monkeypatch.chdir(tmp_path)
    problem = config("dualpipe-4x8", copies=2)
    made = plan_of(problem, baseline_timetable("zb1p", problem))
    Path("plan.json").write_text(plan_to_json(made), encoding="utf-8")
    dual = replace(plan_of(problem, baseline_timetable("dualpipe", problem)), origin="baseline:dualpipe")
    Path("dual.json").write_text(plan_to_json(dual), encoding="utf-8")
    return made


INPUTS = [f"--{name}={CONFIGS / 'dualpipe-4x8' / name}.yaml" for name in ("graph", "cluster")]


def test_show_writes_the_page(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "plan.json", "--html", "r.html", *INPUTS, "--baseline-plan", "dual.json"]) == 0
    captured = capsys.readouterr()
    assert "makespan" in captured.out and captured.err == "planner: report written to r.html\n"
    drawn = data_of(Page(Path("r.html").read_text(encoding="utf-8")))["plans"]
    assert [each["title"] for each in drawn] == ["this plan", "dualpipe"]
    assert all(each["memory"] for each in drawn)
    assert main(["show", "plan.json", "--svg", "both.svg", "--baseline-plan", "dual.json"]) == 0
    assert "dualpipe" in Path("both.svg").read_text(encoding="utf-8")


def test_show_replays_baselines(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole schedules under the plan, as ``planner baseline`` makes them; one that is given is not drawn twice."""
    flags = ["--html", "r.html", "--svg", "r.svg", *INPUTS, "--baselines", "dualpipe,1f1b,zbv"]
    assert main(["show", "plan.json", *flags, "--baseline-plan", "dual.json"]) == 0
    drawn = data_of(Page(Path("r.html").read_text(encoding="utf-8")))["plans"]
    assert [each["title"] for each in drawn] == ["this plan", "dualpipe", "1f1b", "zbv"]
    assert main(["show", "plan.json", *flags]) == 0
    again = data_of(Page(Path("r.html").read_text(encoding="utf-8")))["plans"]
    assert [each["title"] for each in again] == ["this plan", "1f1b", "zbv", "dualpipe"]
    assert again[3] | {"bound": 0.0} == drawn[1]
    assert "zbv" in Path("r.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--html", "plan.json"],
        ["--html", "r.html", *INPUTS, "--baselines", "2f2b"],
        ["--html", "r.html", "--baselines", "1f1b"],
        ["--baselines", "1f1b"],
        ["--html", "-"],
        ["--html", "missing/r.html"],
        ["--html", "a", "--svg", "./a"],
        ["--html", "r.html", INPUTS[0]],
        ["--html", "r.html", "--baseline-plan", "none.json"],
        ["--html", "r.html", "--baseline-plan", "other.json"],
        ["--html", "r.html", *INPUTS, "--baseline-plan", "broken.json"],
        ["--baseline-plan", "dual.json"],
        INPUTS,
    ],
)
def test_show_refuses(arguments: list[str], plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, one line, and no file left."""
    text = Path("dual.json").read_text(encoding="utf-8")
    Path("other.json").write_text(plan_to_json(replace(plan, microbatches=3)), encoding="utf-8")
    Path("broken.json").write_text(text.replace('"start": 1.0', '"start": 0.5', 1), encoding="utf-8")
    before = sorted(Path().iterdir())
    assert main(["show", "plan.json", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("planner: ") and captured.err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_png_without_its_package(
    plan: Plan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what to install; the renderer itself is tried in browser_report.py."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert main(["show", "plan.json", "--png", "plan.png"]) == 2
    captured = capsys.readouterr()
    assert "parallelism-planner[png]" in captured.err and captured.err.count("\n") == 1
    assert not Path("plan.png").exists()
