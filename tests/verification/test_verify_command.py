"""``planner verify`` on files: whole steps, and the variants that the plan's options or a flag allow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from step_cases import clipped

from planner.commands.app import main
from planner.files import read_cluster, read_graph
from planner.plan.plan import Source

GRAPH = """
schema: planner/graph@1
name: tiny
microbatches: 3
clip_gradients: true
operators:
  - name: a
    time: {forward: 1, input_grad: 2, weight_grad: 1}
    parameters: 100
    activation: 10
    held_for_weight_grad: 4
    output: 3
    step: {reduce: 1, update: 500 ms, gather: {unit: 0.25}, gradient: 1}
    variants:
      - {name: lazy, time: {input_grad: 3.5, weight_grad: null}, activation: 2}
      - name: fat
        time: {forward: 0.5, input_grad: 1, weight_grad: {gpu0: 0.5, gpu1: 0.75}}
        parameters: 130
        held_for_weight_grad: 1
  - name: b
    inputs: [a]
    stream: comm
    time: {forward: 2, input_grad: 2}
    activation: 3
    step: {update: 1, gradient: 3 B}
  - name: c
    inputs: [b]
    time: {forward: 1, input_grad: 1, weight_grad: 1}
    activation: 5
    step: {gather: 0.5}
"""
CLUSTER = """
schema: planner/cluster@1
name: small
device_types: {unit: {memory: 1000}}
devices: [{name: gpu, type: unit, count: 3}]
network: {within_node: {latency: 0.5, bandwidth: 2}}
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A plan, and the graph and cluster that it is of."""
    (tmp_path / "graph.yaml").write_text(GRAPH, encoding="utf-8")
    (tmp_path / "cluster.yaml").write_text(CLUSTER, encoding="utf-8")
    write(tmp_path / "plan.json")
    return [str(tmp_path / "plan.json"), *named(tmp_path)]


def named(folder: Path) -> list[str]:
    return ["--graph", str(folder / "graph.yaml"), "--cluster", str(folder / "cluster.yaml")]


def write(path: Path, **options: Any) -> None:
    graph, cluster = read_graph(path.parent / "graph.yaml"), read_cluster(path.parent / "cluster.yaml")
    _, plan = clipped()
    sources = {"graph": Source("tiny", graph.sha256), "cluster": Source("small", cluster.sha256)}
    replace(plan, options={"copies": 2, **options}, **sources).write(path)


def test_a_whole_step(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What the file says is what was planned: variants by copy, step tasks and exchanges."""
    assert main(["verify", *files]) == 0
    assert "32 tasks, 10 transfers, 3 devices, makespan 39.25 s" in capsys.readouterr().out


@pytest.mark.parametrize("allowed", ["all", "base,fat,lazy", ["lazy", "fat"], None, "lazy, fat"])
def test_options_that_allow_it(files: list[str], allowed: object) -> None:
    write(Path(files[0]), variants=allowed)
    assert main(["verify", *files]) == 0


@pytest.mark.parametrize("allowed", ["base", ["lazy"], "base,fat"])
def test_options_that_do_not(files: list[str], allowed: object, capsys: pytest.CaptureFixture[str]) -> None:
    """The flag, where it is given, counts instead of the option."""
    write(Path(files[0]), variants=allowed)
    assert main(["verify", *files, "--format", "json"]) == 6
    found = json.loads(capsys.readouterr().out)["violations"]
    assert {v["name"] for v in found} == {"placement"}
    assert main(["verify", *files, "--variants", "all"]) == 0


@pytest.mark.parametrize("option", [3, [], [2], "", "base,", {"base": 1}])
def test_options_that_say_nothing(files: list[str], option: object, capsys: pytest.CaptureFixture[str]) -> None:
    write(Path(files[0]), variants=option)
    assert main(["verify", *files]) == 2
    assert "options.variants: must be all, or names of variants" in capsys.readouterr().err


def test_flags(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *files, "--variants", "lazy"]) == 6
    assert "copy 1: variant 'fat' is not allowed, only 'lazy'" in capsys.readouterr().out
    assert main(["verify", *files, "--variants", "fat,lazy"]) == 0
    assert main(["verify", *files, "--variants", "lasy"]) == 2
    assert "no operator of graph 'tiny' has a variant 'lasy'" in capsys.readouterr().err
