"""Plans of baselines on graphs with variants and step tasks, from the command line and from Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import planner
from planner.commands.app import main
from planner.commands.flags import variant_names
from planner.files.flag_values import UsageFault

GRAPH = """\
schema: planner/graph@1
name: steps
microbatches: 8
clip_gradients: true
operators:
  - block: layer
    repeat: 4
    operators:
      - name: attn
        time: {forward: 1, input_grad: 1, weight_grad: 1}
        activation: 10
        step: {reduce: 1, update: 1, gather: 1, gradient: 4}
        variants: [{name: recompute, time: {input_grad: 3, weight_grad: null}, activation: 2}]
      - {name: norm, time: {forward: 1}, activation: 1}
"""

CLUSTER = """\
schema: planner/cluster@1
name: small
device_types: {unit: {memory: 40}}
devices: [{name: gpu, type: unit, count: 4}]
network: {within_node: {bandwidth: 8, latency: 0.25}}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "graph.yaml").write_text(GRAPH)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    return tmp_path


def baseline(*arguments: str) -> int:
    name, *more = arguments
    return main(["baseline", name, "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet", *more])


def variants(path: Path) -> set[str]:
    return {row.get("variant", "base") for row in json.loads(path.read_text())["placement"]}


def test_the_best_choice_that_fits_is_the_default(files: Path) -> None:
    """1F1B holds 44 bytes on the first device at base, and 12 recomputed."""
    assert baseline("1f1b") == 0
    assert variants(files / "plan.json") == {"base", "recompute"}
    assert baseline("1f1b", "--memory-cap", "44") == 0
    assert variants(files / "plan.json") == {"base"}


def test_a_choice_that_is_asked_for_is_recorded(files: Path) -> None:
    assert baseline("1f1b", "--variant", "base") == 0
    plan = json.loads((files / "plan.json").read_text())
    assert plan["options"]["variant"] == "base"
    assert variants(files / "plan.json") == {"base"}


def test_an_unknown_variant(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert baseline("1f1b", "--variant", "recompte") == 2
    assert "did you mean 'recompute'?" in capsys.readouterr().err
    assert not (files / "plan.json").exists()


@pytest.mark.parametrize("name", ["1f1b", "dualpipe", "zbv"])
def test_plans_of_whole_steps_are_valid(files: Path, name: str) -> None:
    assert baseline(name, "--memory-cap", "1 kB") == 0
    assert main(["verify", "plan.json", "--graph", "graph.yaml", "--cluster", "cluster.yaml"]) == 0
    plan = json.loads((files / "plan.json").read_text())
    last = [task for task in plan["tasks"] if task["pass"] == "G"]
    assert len(last) == 4 * plan["options"]["copies"]
    assert plan["makespan"] == max(task["end"] for task in last)
    exchanged = [moved for moved in plan["transfers"] if moved["pass"] == "R"]
    assert len(exchanged) == (8 if plan["options"]["copies"] == 2 else 0)


def test_from_python(files: Path) -> None:
    problem = planner.read_problem("graph.yaml", "cluster.yaml", memory_cap=1000)
    plan = planner.baseline("1f1b", problem, variant="recompute")
    assert {placed.variant for placed in plan.placement if "attn" in placed.operator} == {"recompute"}
    assert planner.verify(plan, problem) == []
    with pytest.raises(ValueError, match="did you mean"):
        planner.baseline("1f1b", problem, variant="recompte")


def test_names_of_variants_on_the_command_line() -> None:
    assert variant_names("--variants", "all") is None
    assert variant_names("--variants", "base") == ("base",)
    assert variant_names("--variants", "recompute, base") == ("recompute", "base")
    with pytest.raises(UsageFault, match="--variants"):
        variant_names("--variants", "a,,b")
