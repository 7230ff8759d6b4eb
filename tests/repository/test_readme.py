"""README.md is short, and what it and docs/ tell a reader to run or open exists; the tutorial's example is valid."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer.main

from planner.commands.app import app
from planner.files import read_cluster, read_graph

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CODE = re.compile(r"```(?:sh|bash|console)\n(.*?)```|^ {4}((?:\.venv/bin/\w+|make) .*)$", re.DOTALL | re.MULTILINE)


def command_lines() -> list[tuple[str, str]]:
    """(page, line) of every command in a block of shell or an indented line; comments cut off."""
    found = []
    for page in PAGES:
        for match in CODE.finditer(page.read_text(encoding="utf-8")):
            for line in (match.group(1) or match.group(2)).replace("\\\n", " ").splitlines():
                bare = line.removeprefix("$ ").split(" #")[0].strip()
                if bare.split(" ")[0].rsplit("/", 1)[-1] in ("planner", "make", "python"):
                    found.append((page.name, bare))
    return found


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_command_lines_name_what_exists(page: str, line: str) -> None:
    program, *words = shlex.split(line)
    if program == "make":
        for target in words:
            if "=" not in target:
                assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), f"{page}: no target {target}"
    elif program.endswith("python"):
        assert (ROOT / words[0]).is_file(), f"{page}: no script {words[0]}"
    else:
        command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
        command.make_context(words[0], words[1:])  # raises where arguments or flags do not parse


def test_the_readme_is_for_two_minutes() -> None:
    lines = README.splitlines()
    assert len(lines) <= 120
    assert lines.index("## Install") < 10, "it begins with the installation"
    lines = [line for page, line in command_lines() if page == "README.md"]
    assert lines[:2] == ["make demo", "make test"]
    assert [line.split()[1] for line in lines[2:]] == ["strategy"]
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert ast.parse(example).body


def test_the_readme_claims_what_the_cases_show() -> None:
    """The figures of the strategy that it leads with are those of docs/strategy-cases.json."""
    row = json.loads((ROOT / "docs" / "strategy-cases.json").read_text(encoding="utf-8"))["rows"]["Llama-3.1-70B"]
    best = row["strategies"][0]
    for text in (
        f"{row['best_seconds']:.1f} s a step",
        f"{best['mfu']:.0%} MFU".replace("%", " %"),
        f"{row['space']['strategies']} strategies",
        f"{row['gap']:.1%}".replace("%", " %"),
        *(f"{name.upper()} {best[name]}" for name in ("tp", "cp", "pp", "dp") if best[name] > 1),
    ):
        assert text in README, text


def test_the_worked_examples_are_those_of_the_cases() -> None:
    """Step times that docs/strategy.md names are rows of docs/strategy-cases.json."""
    rows = json.loads((ROOT / "docs" / "strategy-cases.json").read_text(encoding="utf-8"))["rows"]
    page = (ROOT / "docs" / "strategy.md").read_text(encoding="utf-8")
    examples = page[page.index("## Three worked examples") : page.index("## Inference")]
    known = {f"{row['best_seconds']:.2f}" for row in rows.values()}
    known |= {f"{n['seconds'] or n['lower_bound'] or 0:.2f}" for row in rows.values() for n in row["neighbours"]}
    named = set(re.findall(r"(\d+\.\d\d) s", examples))
    assert len(named) >= 7
    assert named <= known


def test_the_page_of_commands_has_every_command_and_every_flag_of_solve() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    shown = {shlex.split(line)[1] for name, line in command_lines() if name == "commands.md" and "planner" in line}
    assert shown == set(commands)
    flags = [flag for each in commands["solve"].params for flag in each.opts if flag.startswith("--")]
    assert [flag for flag in flags if flag != "--help" and f"`{flag}" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        linked = page if not file else page.parent / file
        assert linked.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in anchors, target
    for path in re.findall(r"\b(?:configs|scripts|planner|tests|docs)/[\w./-]*\w", text):
        assert (ROOT / path).exists() or "@" in text[text.index(path) :][: len(path) + 2], path


def test_the_example_is_a_valid_input(tmp_path: Path) -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    graph, cluster = re.findall(r"```yaml\n(.*?)```", tutorial, re.DOTALL)
    (tmp_path / "graph.yaml").write_text(graph, encoding="utf-8")
    (tmp_path / "cluster.yaml").write_text(cluster, encoding="utf-8")
    assert read_graph(tmp_path / "graph.yaml").operators
    assert read_cluster(tmp_path / "cluster.yaml").devices


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.svg")), ids=lambda path: path.name)
def test_pictures_are_whole_and_small(path: Path) -> None:
    assert ElementTree.fromstring(path.read_bytes()).tag.endswith("svg")
    assert path.stat().st_size < 1_500_000


def test_the_picture_of_idle_time_names_it(tmp_path: Path) -> None:
    """scripts/picture.py on the plan of docs/formats.md: 3 of 5.002 s are work on either device."""
    formats = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (plan,) = re.findall(r"```json\n(.*?)```", formats, re.DOTALL)
    (tmp_path / "plan.json").write_text(plan.replace('"..."', f'"{"a" * 64}"'), encoding="utf-8")
    command = [sys.executable, "scripts/picture.py", str(tmp_path / "plan.json"), "-o", str(tmp_path / "idle.svg")]
    subprocess.run([*command, "--titles", "<mine>"], cwd=ROOT, check=True)
    svg = (tmp_path / "idle.svg").read_text(encoding="utf-8")
    assert [t.text for t in ElementTree.fromstring(svg).iter() if (t.text or "").startswith("idle ")][:2] == [
        "idle 40%"
    ] * 2
    assert "&lt;mine&gt;" in svg
