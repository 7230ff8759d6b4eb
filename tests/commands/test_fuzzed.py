"""A thousand mutated command lines and files (scripts/fuzz.py runs more): a valid result or one clear error each."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from fuzzing.cases import TEMPLATES, case_of
from fuzzing.check import checked
from planner.commands.app import COMMANDS, main

SEED, PARTS, EACH = 17, 8, 125


def test_every_command_is_among_them() -> None:
    assert TEMPLATES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("part", range(PARTS))
def test_no_case_fails(part: int, tmp_path: Path) -> None:
    """No traceback, a documented exit code, a file named where one is at fault, whole outputs, plans that verify."""
    home, failed = Path.cwd(), []
    try:
        for number in range(part * EACH, (part + 1) * EACH):
            case = case_of(SEED, number)
            folder = tmp_path / str(number)
            folder.mkdir()
            _, wrong = checked(case, folder)
            failed += [f"python scripts/fuzz.py --seed {SEED} --case {number}: {case}: {each}" for each in wrong]
    finally:
        os.chdir(home)
    assert not failed, "\n".join(failed)


def baseline_files(folder: Path) -> list[str]:
    """A plan with its graph and cluster."""
    assert main(["init", str(folder), "--quiet"]) == 0
    files = [str(folder / name) for name in ("graph.yaml", "cluster.yaml")]
    assert main(["baseline", "1f1b", *files, "-o", str(folder / "plan.json"), "--quiet"]) == 0
    return [str(folder / "plan.json"), *files]


def test_show_writes_no_picture_beside_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: the SVG was there when the renderer of the PNG turned out to be missing."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    plan, *_ = baseline_files(tmp_path)
    assert main(["show", plan, "--svg", str(tmp_path / "a.svg"), "--png", str(tmp_path / "a.png")]) == 2
    assert not (tmp_path / "a.svg").exists()


def test_a_plan_from_stdin_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found: show read the file again, which stdin is not."""
    plan, *_ = baseline_files(tmp_path)
    capsys.readouterr()
    with open(plan, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert main(["show", "-", "--format", "json"]) == 0
    assert capsys.readouterr().out == Path(plan).read_text(encoding="utf-8")


def test_a_plan_with_a_byte_order_mark_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found: the mark was printed, and is no JSON."""
    plan, *_ = baseline_files(tmp_path)
    capsys.readouterr()
    text = Path(plan).read_text(encoding="utf-8")
    Path(plan).write_text(text, encoding="utf-8-sig")
    assert main(["show", plan, "--format", "json"]) == 0
    assert capsys.readouterr().out == text


def test_stdin_that_is_closed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Found: an internal error."""
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["show", "-"]) == 2
    assert capsys.readouterr().err == "planner: -: cannot be read: stdin is closed\n"


@pytest.mark.parametrize("field", ["copy", "microbatch"])
def test_numbers_beyond_a_machine_word(field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found: an internal error of simulate."""
    plan, *_ = baseline_files(tmp_path)
    document = json.loads(Path(plan).read_text(encoding="utf-8"))
    document["tasks"][3][field] = 2**64
    Path(plan).write_text(json.dumps(document), encoding="utf-8")
    capsys.readouterr()
    assert main(["simulate", plan, "--runs", "3"]) == 2
    assert f"tasks[3].{field}" in capsys.readouterr().err
