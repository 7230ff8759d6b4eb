"""The commands of docs/ci.md, run as they stand by a small runner of its workflow: ``if``, ``env``, ``bash -e``."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner.commands.app import main
from planner.files.plan_file import read_plan

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
SLOWER = ("time: {forward: 1 ms, input_grad: 1 ms, weight_grad: 1 ms}", "time: {forward: 2 ms, input_grad: 1 ms}")


def block(tag: str) -> str:
    (found,) = re.findall(rf"^```\w+ ci:{tag}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


STEPS: list[dict[str, Any]] = yaml.safe_load(block("workflow"))["jobs"]["plan"]["steps"]


@dataclass
class Job:
    """A checkout of a pull request, and what GitHub would know of it."""

    folder: Path
    tools: Path
    labels: tuple[str, ...] = ()
    fork: bool = False

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_", "GH_"))}
        return kept | {
            "PATH": f"{self.tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "GITHUB_STEP_SUMMARY": str(self.tools / "summary.md"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_{what}": "tests" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }

    def bash(self, script: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """As GitHub runs a step: bash -e on a file."""
        file = self.tools / "step.sh"
        file.write_text(script, encoding="utf-8")
        return subprocess.run(
            ["bash", "-e", str(file)],
            cwd=self.folder,
            env={**self.environment, **(env or {})},
            text=True,
            capture_output=True,
            check=False,
        )

    def value(self, text: str, outcomes: dict[str, str]) -> Any:
        """The value of ``${{ ... }}``, for the expressions of the page and no others."""
        known: dict[str, Any] = {
            "contains(github.event.pull_request.labels.*.name, 'slower')": "slower" in self.labels,
            "github.event.pull_request.head.repo.full_name": "fork/x" if self.fork else "owner/x",
            "github.event.pull_request.number": "7",
            "github.repository": "owner/x",
            "github.token": "secret",
            "!cancelled()": True,
            **{f"steps.{name}.outcome": outcome for name, outcome in outcomes.items()},
        }
        expression = re.fullmatch(r"\$\{\{ (.*) \}\}", text)
        assert expression is not None, text
        values: list[Any] = []
        for part in expression[1].split(" && "):
            left, how, right = re.fullmatch(r"(.*?)(?: (==|!=) (.*))?", part).groups()  # type: ignore[union-attr]
            value = known[left]
            if how is not None:
                value = (value == (right.strip("'") if right.startswith("'") else known[right])) == (how == "==")
            values.append(value)
        return values[0] if len(values) == 1 else all(values)

    def run(self) -> tuple[dict[str, int], bool]:
        """Exit codes of the steps that ran, by name, and whether the job passed."""
        codes: dict[str, int] = {}
        outcomes: dict[str, str] = {}
        passed = True
        for step in STEPS:
            if "run" not in step:
                continue
            wanted = self.value(step["if"], outcomes) if "if" in step else passed
            outcome = "skipped"
            if wanted:
                env = {name: self.value(text, outcomes) for name, text in step.get("env", {}).items()}
                done = self.bash(step["run"], env)
                codes[step["name"]] = done.returncode
                log = self.read("log.txt") + done.stdout + done.stderr
                (self.tools / "log.txt").write_text(log, encoding="utf-8")
                outcome = "failure" if done.returncode else "success"
                going_on = "continue-on-error" in step and self.value(step["continue-on-error"], outcomes)
                passed = passed and (outcome == "success" or bool(going_on))
            if "id" in step:
                outcomes[step["id"]] = outcome
        return codes, passed

    def read(self, name: str) -> str:
        file = self.tools / name
        return file.read_text(encoding="utf-8") if file.exists() else ""


def tool(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
    file.chmod(0o755)


def job_in(folder: Path) -> Job:
    """A job with planner and gh (which keeps what it posts) on PATH."""
    made = Job(folder / "repository", folder / "tools")
    made.folder.mkdir()
    made.tools.mkdir()
    python, kept = shlex.quote(sys.executable), shlex.quote(str(made.tools))
    tool(made.tools, "python", f'exec {python} "$@"')
    tool(made.tools, "planner", f'exec {python} -m planner "$@"')
    tool(made.tools, "gh", f'echo "$GH_TOKEN $GH_REPO $*" >> {kept}/gh.txt; cp "${{@: -1}}" {kept}/comment.md')
    return made


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose main branch holds what the page says."""
    made = job_in(tmp_path_factory.mktemp("committed"))
    assert main(["init", str(made.folder / "plans")]) == 0
    (made.folder / "requirements-planner.txt").write_text("parallelism-planner\n", encoding="utf-8")
    begun = made.bash(f"git init -q -b main\n{block('commit')}git commit -qm plan\n")
    assert begun.returncode == 0, begun.stderr
    return made.folder


@pytest.fixture
def job(repository: Path, tmp_path: Path) -> Job:
    made = job_in(tmp_path)
    shutil.copytree(repository, made.folder, dirs_exist_ok=True)
    return made


def pull_request(job: Job, change: tuple[str, str] | None = None, commit_the_plan: bool = False) -> None:
    """Checks out the merge of a branch with a change; main has moved on since."""
    graph = job.folder / "plans" / "graph.yaml"
    assert job.bash("git checkout -qb change\necho notes > notes.txt\n").returncode == 0
    if change is not None:
        old = graph.read_text(encoding="utf-8")
        assert change[0] in old
        graph.write_text(old.replace(*change), encoding="utf-8")
    merged = job.bash(
        f"{block('commit') if commit_the_plan else ''}git add -A\ngit commit -qm change\n"
        "git checkout -q main\necho > other.txt\ngit add -A\ngit commit -qm other\n"
        "git merge -q --no-ff -m merge change\n"
    )
    assert merged.returncode == 0, merged.stderr


def known_of(comment: str) -> list[str]:
    """The lines of a comment without what another plan of the same makespan has otherwise, and without hashes."""
    lines = re.sub(r"\b[0-9a-f]{12}…", "HASH", comment).strip().splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("| change "))
    return lines[: at + 1] + [line.split("|")[1] for line in lines[at + 1 :]]


def test_every_command_is_run() -> None:
    """Steps without ``run`` are those of GitHub that need no test here; expressions stand outside of commands."""
    assert [step["uses"].split("@")[0] for step in STEPS if "run" not in step] == [
        "actions/checkout",
        "actions/setup-python",
        "actions/upload-artifact",
    ]
    assert STEPS[0]["with"] == {"fetch-depth": 2}
    assert not any("${{" in step.get("run", "") for step in STEPS)


def test_an_unchanged_plan_passes(job: Job) -> None:
    pull_request(job)
    codes, passed = job.run()
    assert codes == dict.fromkeys([step["name"] for step in STEPS if "run" in step], 0), job.read("log.txt")
    assert passed
    comment = job.read("comment.md")
    assert comment.startswith("**Against `committed.json`, `new.json` is as fast (makespan ")
    assert "Fast enough: at most 2 % slower is allowed" in comment and "no longer fits" not in comment
    assert job.read("summary.md") == comment
    assert job.read("gh.txt") == (
        "secret owner/x pr comment 7 --edit-last --create-if-none --body-file comparison.md\n"
    )


@pytest.mark.parametrize("commit_the_plan", [False, True])
def test_a_slower_plan_fails_and_is_posted(job: Job, commit_the_plan: bool) -> None:
    """Committing the slower plan with the change does not hide it."""
    pull_request(job, SLOWER, commit_the_plan)
    codes, passed = job.run()
    failed = {name: code for name, code in codes.items() if code}
    assert (failed, passed) == ({"Compare with the committed plan": 5}, False), job.read("log.txt")
    assert "planner: new.json against committed.json: " in job.read("log.txt")
    before, after = read_plan(job.folder / "committed.json"), read_plan(job.folder / "new.json")
    assert after.makespan > 1.02 * before.makespan
    comment = job.read("comment.md")
    assert known_of(comment.split("<details>")[0]) == known_of(block("comment"))
    assert job.read("summary.md") == comment


def test_a_wanted_slowdown_passes_with_the_label_and_a_fork_gets_a_summary_only(job: Job) -> None:
    pull_request(job, SLOWER)
    job.labels, job.fork = ("docs", "slower"), True
    codes, passed = job.run()
    assert codes["Compare with the committed plan"] == 5 and passed
    assert "Too slow" in job.read("summary.md")
    assert "Comment" not in codes and not job.read("comment.md")


def test_a_change_that_cannot_be_planned_ends_before_the_comparison(job: Job) -> None:
    pull_request(job, ("parameters: 2.4 GB", "parameters: 2400 GB"))
    codes, passed = job.run()
    assert codes == {"Install": 0, "Plan the change": 3} and not passed
