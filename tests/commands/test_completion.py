"""Completion on Tab: the script that a shell gets, and what the program answers when the script asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from planner.baselines import BASELINES
from planner.commands import completion
from planner.commands.app import COMMANDS, main


def answers(words: str) -> set[str]:
    """What a bash would offer after these words, of which the last is not finished."""
    given = {"_PLANNER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [sys.executable, "-m", "planner"]
    run = subprocess.run(command, env={**os.environ, **given}, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return set(run.stdout.split())


def test_commands_and_options_and_names() -> None:
    assert answers("planner ") == set(COMMANDS)
    assert answers("planner solve --mem") == {"--memory-cap"}
    assert answers("planner solve --layout b") == {"bidirectional"}
    assert answers("planner import ") >= {"hf", "onnx", "torch"}
    assert answers("planner baseline ") == set(BASELINES)
    assert answers("planner configs dualpipe") == {"dualpipe-4x8", "dualpipe-8x20"}
    assert answers("planner import hf llama-3.1") == {"llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"}
    assert answers("planner predict conf") == set()
    assert answers("planner solve gr") == set()  # the shell completes files then


def test_bash_completes_with_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real bash, with a ``planner`` on its path."""
    assert main(["--show-completion", "bash"]) == 0
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    program = tmp_path / "planner"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m planner "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    ask = "COMP_WORDS=(planner str); COMP_CWORD=1; _planner_completion planner; echo ${COMPREPLY[*]}"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = subprocess.run(
        ["bash", "--norc", "-c", f"source {script}; {ask}"], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["strategy", "stretch"]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_it_is_installed_where_the_shell_looks(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["--install-completion", shell]) == 0
    path = next(word for word in capsys.readouterr().out.split() if word.startswith(str(tmp_path))).rstrip(":")
    assert completion.ASKED in Path(path).read_text(encoding="utf-8")


@pytest.mark.parametrize(("login", "code"), [("/usr/bin/fish", 0), ("", 2), ("/bin/tcsh", 2)])
def test_without_a_name_it_is_the_shell_that_called(
    login: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the login shell; a shell that is not known is an error with the names of those that are."""
    import shellingham

    def unknown() -> tuple[str, str]:
        raise shellingham.ShellDetectionFailure

    monkeypatch.setattr(shellingham, "detect_shell", lambda: ("zsh", "/bin/zsh"))
    assert main(["--show-completion"]) == 0
    assert capsys.readouterr().out.startswith("#compdef planner")
    monkeypatch.setattr(shellingham, "detect_shell", unknown)
    monkeypatch.setenv("SHELL", login)
    assert main(["--show-completion"]) == code
    captured = capsys.readouterr()
    assert captured.err.count("\n") == (1 if code else 0)
    assert ("bash, zsh, fish" in captured.err) == bool(code)


def test_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert main(["--install-completion", "bash"]) == 2
    assert capsys.readouterr().err.startswith("planner: completion cannot be installed: ")
