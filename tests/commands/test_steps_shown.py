"""Plans of whole steps with variants in the commands that show, compare and replay them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from planner.commands.app import main

GRAPH = """\
schema: planner/graph@1
name: steps
microbatches: 4
clip_gradients: true
operators:
  - block: layer
    repeat: 4
    operators:
      - name: attn
        time: {forward: 3 ms, input_grad: 4 ms, weight_grad: 2 ms}
        activation: 400 MiB
        output: 50 MiB
        variants: [{name: recompute, time: {input_grad: 9 ms, weight_grad: null}, activation: 56 MiB}]
        step: {reduce: 3 ms, update: 1 ms, gather: 2 ms, gradient: 400 MiB}
"""
CLUSTER = """\
schema: planner/cluster@1
name: pair
device_types: {g: {memory: 2 GiB}}
devices: [{name: gpu, type: g, count: 2}]
network: {within_node: {bandwidth: 100 GB/s}}
"""
INPUTS = ("--graph", "graph.yaml", "--cluster", "cluster.yaml")


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """DualPipe with recomputation, and 1F1B as the graph stands."""
    monkeypatch.chdir(tmp_path)
    Path("graph.yaml").write_text(GRAPH, encoding="utf-8")
    Path("cluster.yaml").write_text(CLUSTER, encoding="utf-8")
    for name, variant in (("dualpipe", "recompute"), ("1f1b", "base")):
        arguments = ["baseline", name, "graph.yaml", "cluster.yaml", "--variant", variant, "-o", f"{name}.json"]
        assert main([*arguments, "--quiet"]) == 0
    capsys.readouterr()
    return ["dualpipe.json", "1f1b.json"]


def printed(arguments: Sequence[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert main(list(arguments)) == code
    return capsys.readouterr().out


def test_report(plans: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """From the file alone what was chosen, with graph and cluster what it frees and costs."""
    alone = printed(["show", plans[0]], capsys)
    assert "gpu0-1: all 4 layer.*.attn as recompute\n" in alone and "exchange of gradients" in alone
    known = printed(["show", plans[0], *INPUTS], capsys)
    assert "as recompute; frees" in known and "in all adds 48 ms" in known  # 4 layers x 4 microbatches x 3 ms
    printed(["show", plans[1], *INPUTS], capsys, 2)  # nothing there that they would add to
    assert "whole step" in printed(["show", plans[1]], capsys)


def test_pictures_and_trace(plans: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["show", plans[0], "--html", "r.html", "--svg", "r.svg", *INPUTS, "--baselines", "1f1b,gpipe"]
    assert "adds 48 ms" in printed(arguments, capsys)
    page, picture = (Path(name).read_text(encoding="utf-8") for name in ("r.html", "r.svg"))
    assert "waiting for gradients of another copy" in page and "gradients sent to another copy" in picture
    printed(["export", plans[0], "--to", "trace", "-o", "trace.json", *INPUTS], capsys)
    events = json.loads(Path("trace.json").read_text(encoding="utf-8"))["traceEvents"]
    assert {e["cat"] for e in events if e["ph"] == "X"} == {"F", "I", "R", "U", "G", "transfer", "exchange"}


def test_compared_and_replayed(plans: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(["compare", *plans, "--format", "json"], capsys))["plans"]
    assert [each.get("variants") for each in found] == [{"recompute": 8}, None]
    assert found[0]["step"]["exchange"] > 0 and found[1]["step"]["exchange"] == 0
    for inputs in ((), INPUTS):
        text = printed(["simulate", *plans, *inputs, "--runs", "20", "--jitter", "0", "--format", "json"], capsys)
        for each in json.loads(text)["plans"]:
            assert each["mean"] == pytest.approx(each["planned"]) and each["worst"] == pytest.approx(each["planned"])
