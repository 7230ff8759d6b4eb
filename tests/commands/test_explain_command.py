"""``planner explain``: the example of its page, its formats, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.commands.app import main
from planner.files.plan_file import read_plan
from planner.plan.plan import plan_to_json

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")


@pytest.fixture
def plan(files: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The arguments for 1F1B on the small files."""
    assert main(["baseline", "1f1b", *files, "-o", "plan.json", "--quiet"]) == 0
    capsys.readouterr()
    return ["explain", "plan.json", "--graph", files[0], "--cluster", files[1]]


def test_the_example_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two commands print the text of the page."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    example = PAGE.split("## An example")[1]
    for line in re.findall(r"^    \.venv/bin/planner (.*)$", example, re.MULTILINE):
        capsys.readouterr()
        assert main(shlex.split(line)) == 0
    assert capsys.readouterr().out == re.findall(r"```\n(.*?)```", example, re.DOTALL)[0]


def test_json_and_markdown(plan: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*plan, "--format", "json", "--effort", "20"]) == 0
    printed = capsys.readouterr()
    document: Any = json.loads(printed.out)
    assert printed.err == "", "no progress where stderr is no terminal"
    assert document["schema"] == "planner/explanation@1" and document["effort"] == 20
    makespan = read_plan("plan.json").makespan
    assert sum(document["critical_path"]["parts"].values()) == pytest.approx(makespan)
    assert document["planned_again"]["makespan"] <= makespan
    assert all(one["makespan"] <= makespan for one in document["faster"])
    assert [change["change"] for change in document["changes"]] == [
        *("more_memory", "cap_lifted", "transfers_free", "twice_the_microbatches", "one_more_chunk"),
        *("slowest_operator_split", "balance_perfect"),
    ]
    assert all((change["makespan"] is None) != (change["reason"] is None) for change in document["changes"])
    twice = next(change for change in document["changes"] if change["change"] == "twice_the_microbatches")
    assert twice["flags"] == ["--microbatches", str(twice["microbatches"])]
    assert main([*plan, "--format", "markdown", "--effort", "0"]) == 0
    markdown = capsys.readouterr().out
    assert markdown.startswith("# two on pair") and "| device | idle |" in markdown


def test_what_it_refuses(plan: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*plan, "--time-limit", "0"]) == 2
    assert "--time-limit must be above 0" in capsys.readouterr().err
    made = read_plan("plan.json")
    Path("plan.json").write_text(plan_to_json(replace(made, options={**made.options, "layout": "round"})), "utf-8")
    assert main(plan) == 2
    assert "'round' is no layout" in capsys.readouterr().err
    Path("plan.json").write_text(plan_to_json(replace(made, tasks=made.tasks[1:])), "utf-8")
    assert main(plan) == 2
    assert "is no valid plan" in capsys.readouterr().err


def test_a_section_of_the_page(plan: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The page of the report with what explain says, names escaped; without --html the report has no such section."""
    assert main([*plan, "--effort", "0", "--html", "page.html"]) == 0
    assert "report written to page.html" in capsys.readouterr().err
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.count("<h2>Critical path</h2>") == page.count("<h2>What would help</h2>") == 1
    assert "<th scope='row'>device gpu0</th>" in page
    assert main([*plan, "--html", "plan.json"]) == 2
    assert main(["show", "plan.json", "--html", "plain.html"]) == 0
    assert "What would help" not in Path("plain.html").read_text(encoding="utf-8")
