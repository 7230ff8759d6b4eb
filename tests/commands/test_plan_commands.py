"""The commands that make, check and compare plans without a search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.commands.app import main
from planner.files.plan_file import read_plan
from planner.plan.plan import plan_to_json


def test_baseline_verify_show_compare(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What baseline writes verifies, shows and compares."""
    for name in ("1f1b", "gpipe"):
        assert main(["baseline", name, *files, "-o", f"{name}.json", "--quiet"]) == 0
    capsys.readouterr()
    inputs = ["--graph", "graph.yaml", "--cluster", "cluster.yaml"]
    assert main(["verify", "1f1b.json", *inputs]) == 0
    assert capsys.readouterr().out.startswith("OK: 1f1b.json")
    assert main(["verify", "1f1b.json", *inputs, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["violations"] == []
    assert main(["show", "1f1b.json", "--svg", "plan.svg"]) == 0
    assert "baseline 1f1b of two on pair" in capsys.readouterr().out
    assert Path("plan.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert main(["show", "1f1b.json", "--format", "json"]) == 0
    assert capsys.readouterr().out == Path("1f1b.json").read_text(encoding="utf-8")
    assert main(["compare", "1f1b.json", "gpipe.json"]) == 0
    assert "makespan" in capsys.readouterr().out
    assert main(["compare", "1f1b.json", "gpipe.json", "--format", "json"]) == 0
    assert [p["origin"] for p in json.loads(capsys.readouterr().out)["plans"]] == ["baseline:1f1b", "baseline:gpipe"]


def test_baseline_that_brings_copies_verifies(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """DualPipe's two copies are among its options, so that no flag is needed."""
    assert main(["baseline", "dualpipe", *files, "-o", "plan.json", "--microbatches", "8"]) == 0
    assert read_plan("plan.json").options["copies"] == 2
    assert main(["verify", "plan.json", "--graph", "graph.yaml", "--cluster", "cluster.yaml"]) == 0
    assert main(["verify", "plan.json", "--graph", "graph.yaml", "--cluster", "cluster.yaml", "--copies", "1"]) == 6


def test_baseline_that_does_not_fit_or_apply(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in ([], ["--quiet"]):
        assert main(["baseline", "gpipe", *files, "--memory-cap", "3 GiB", "-o", "plan.json", *quiet]) == 0
        err = capsys.readouterr().err
        assert "gpipe does not fit in memory: gpu0 needs 5 GiB, its cap is 3 GiB (over the cap on 2 devices)" in err
        assert f"it fits with --memory-cap {5 * 2**30}" in err
    assert main(["baseline", "gpipe", *files, "--memory-cap", str(5 * 2**30), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["verify", "plan.json", "--graph", "graph.yaml", "--cluster", "cluster.yaml"]) == 6
    assert "rule 5 (memory)" in capsys.readouterr().out
    assert main(["baseline", "dualpipe", *files, "--microbatches", "3"]) == 3
    captured = capsys.readouterr()
    assert captured.out == "" and "does not apply" in captured.err
    assert main(["baseline", "1f1b", *files, "--chunks", "2"]) == 2
    assert main(["baseline", "2f2b", *files]) == 2
    assert "1f1b" in capsys.readouterr().err


def test_verify_lists_violations(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "1f1b", *files, "-o", "plan.json", "--quiet"]) == 0
    capsys.readouterr()
    plan = read_plan("plan.json")
    broken = replace(plan, makespan=plan.makespan / 2, tasks=plan.tasks[1:])
    Path("plan.json").write_text(plan_to_json(broken), encoding="utf-8")
    inputs = ["--graph", "graph.yaml", "--cluster", "cluster.yaml"]
    assert main(["verify", "plan.json", *inputs]) == 6
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2 and all(line.startswith("rule ") for line in lines[:-1])
    assert main(["verify", "plan.json", *inputs, "--format", "json"]) == 6
    found = json.loads(capsys.readouterr().out)["violations"]
    assert [f"rule {v['rule']} ({v['name']}): {v['message']}" for v in found] == lines[:-1]


@pytest.mark.parametrize("options", [{"copies": "two"}, {"copies": 0}, {"memory_cap": "much"}, {"microbatches": 1.5}])
def test_verify_refuses_malformed_options(
    options: Mapping[str, Any], files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["baseline", "1f1b", *files, "-o", "plan.json", "--quiet"]) == 0
    Path("plan.json").write_text(plan_to_json(replace(read_plan("plan.json"), options=options)), encoding="utf-8")
    assert main(["verify", "plan.json", "--graph", "graph.yaml", "--cluster", "cluster.yaml"]) == 2
    assert f"options.{next(iter(options))}" in capsys.readouterr().err


def test_compare_refuses_different_problems(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "1f1b", *files, "-o", "a.json", "--quiet"]) == 0
    assert main(["baseline", "1f1b", *files, "-o", "b.json", "--quiet", "--microbatches", "8"]) == 0
    capsys.readouterr()
    assert main(["compare", "a.json", "b.json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "4 microbatches against 8" in captured.err
    assert main(["compare", "a.json", "b.json", "--force"]) == 0
    assert "Different problems" in capsys.readouterr().out


ORIGIN = (
    "origin: {{model: toy, sequence: 1000, micro_batch: 2, tensor: {tensor}, data: {data}, flops_per_token: 5e6}}\n"
)


def test_compare_two_strategies_of_one_model_and_batch(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without --force; 4 microbatches x 2 sequences x 2 replicas are 8 x 2 x 1. Another batch is refused by name."""
    text = Path(files[0]).read_text(encoding="utf-8")
    for name, tensor, data, microbatches in (("a", 1, 2, "4"), ("b", 4, 1, "8"), ("c", 1, 2, "8")):
        origin = ORIGIN.format(tensor=tensor, data=data)
        Path(f"{name}.yaml").write_text(text.replace("operators:", f"{origin}operators:", 1), encoding="utf-8")
        made = ["baseline", "1f1b", f"{name}.yaml", files[1], "-o", f"{name}.json", "--microbatches", microbatches]
        assert main([*made, "--quiet"]) == 0
        assert main(["verify", f"{name}.json", "--graph", f"{name}.yaml", "--cluster", files[1]]) == 0
    capsys.readouterr()
    assert main(["compare", "a.json", "b.json", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    a, b = document["plans"]
    devices = len(read_plan("a.json").devices)
    assert document["same_model_and_batch"] and not document["same_problem"]
    assert (a["tokens"], a["gpus"], b["tokens"], b["gpus"]) == (16000, 2 * devices, 16000, 4 * devices)
    assert b["tokens_per_second_per_gpu"] == pytest.approx(16000 / b["makespan"] / (4 * devices))
    assert b["per_gpu_over_first"] == pytest.approx(a["makespan"] / (2 * b["makespan"]))
    assert main(["compare", "a.json", "c.json"]) == 2
    assert "global batch 16 sequences against 32 sequences" in capsys.readouterr().err


def test_compare_fails_if_slower(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Against a plan that is 10 % longer; every format is printed all the same, and the last of three plans counts."""
    assert main(["baseline", "1f1b", *files, "-o", "a.json", "--quiet"]) == 0
    plan = read_plan("a.json")
    Path("b.json").write_text(plan_to_json(replace(plan, makespan=plan.makespan * 1.1)), encoding="utf-8")
    capsys.readouterr()
    for allowed, code in (("2%", 5), ("0.02", 5), ("9.9 %", 5), ("10%", 0), ("1", 0)):
        assert main(["compare", "a.json", "b.json", "--fail-if-slower", allowed]) == code, allowed
        captured = capsys.readouterr()
        assert "makespan" in captured.out
        assert captured.err.startswith("planner: b.json against a.json: 10 % slower (makespan ") == (code == 5)
    assert main(["compare", "b.json", "a.json", "a.json", "--fail-if-slower", "0"]) == 0
    capsys.readouterr()
    assert main(["compare", "a.json", "a.json", "b.json", "--fail-if-slower", "0", "--format", "json"]) == 5
    assert [row["too_slow"] for row in json.loads(capsys.readouterr().out)["plans"]] == [False, False, True]
    assert main(["compare", "a.json", "b.json", "--fail-if-slower", "0", "--format", "markdown"]) == 5
    assert capsys.readouterr().out.startswith("**Against `a.json`, `b.json` is 10 % slower (makespan ")
    for wrong in ("two", "-1%", "200%"):
        assert main(["compare", "a.json", "b.json", "--fail-if-slower", wrong]) == 2
        assert "--fail-if-slower" in capsys.readouterr().err


def test_compare_says_which_plan_no_longer_fits_its_inputs(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A comment is a change of the file; it is a note, and the exit code stays."""
    graph, cluster = files
    assert main(["baseline", "1f1b", *files, "-o", "old.json", "--quiet"]) == 0
    Path(graph).write_text(Path(graph).read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert main(["baseline", "1f1b", *files, "-o", "new.json", "--quiet"]) == 0
    capsys.readouterr()
    command = ["compare", "old.json", "new.json", "--force", "--fail-if-slower", "0", "--cluster", cluster]
    assert main([*command, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []
    for form in ("text", "markdown"):
        assert main([*command, "--graph", graph, "--format", form]) == 0
        out = capsys.readouterr().out
        assert "old.json no longer fits graph.yaml: it was made from another graph" in out
        assert "new.json no longer fits" not in out
    assert main([*command, "--graph", graph, "--format", "json"]) == 0
    assert [row["stale"] for row in json.loads(capsys.readouterr().out)["plans"]] == [True, False]
    assert main([*command, "--graph", graph, "--svg", graph]) == 2
    assert "is the graph itself" in capsys.readouterr().err
    assert main([*command, "--graph", "missing.yaml"]) == 2
