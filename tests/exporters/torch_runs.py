"""Exported schedules run by torch itself, on gloo processes. Needs the extra `torch`: `.ci/run` actions it by name.

`scripts/train_exported.py` trains on as many processes as the CSV has rows and compares loss, gradients and the
executed order with one process that holds the whole model; it ends with 1 where they differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from export_samples import cells
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import _PipelineScheduleRuntime

from planner.commands.app import main

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_exported.py"
EQUAL, UNEQUAL = [(1, 1, 1)], [(1, 1.2, 0.8), (2, 2.5, 1.5), (0.7, 0.9, 0.5)]

CASES = {
    "linear-2": (2, 2, 4, EQUAL, ["--layout", "linear"]),
    "linear-4": (4, 4, 8, EQUAL, ["--layout", "linear"]),
    "interleaved-2": (4, 2, 4, EQUAL, ["--layout", "interleaved"]),
    "interleaved-4": (8, 4, 8, EQUAL, ["--layout", "interleaved"]),
    "vshape-2": (4, 2, 6, EQUAL, ["--layout", "vshape"]),
    "vshape-4": (8, 4, 8, EQUAL, ["--layout", "vshape"]),
    "unequal-2": (7, 2, 6, UNEQUAL, []),
    "unequal-4": (9, 4, 8, UNEQUAL, []),
    "unequal-vshape-4": (11, 4, 6, UNEQUAL, ["--layout", "vshape"]),
}
"""Operators, devices, microbatches, times of the passes in turns, flags of the solver."""


def write_inputs(operators: int, devices: int, microbatches: int, times: list[tuple[float, ...]]) -> None:
    names = ("forward", "input_grad", "weight_grad")
    lines = []
    for k in range(operators):
        passes = ", ".join(f"{name}: {s}" for name, s in zip(names, times[k % len(times)], strict=True))
        reads = f", inputs: [block{k - 1}]" if k else ""
        lines.append(f"  - {{name: block{k}, time: {{{passes}}}, parameters: 1, activation: 1, output: 1{reads}}}")
    text = "\n".join(lines)
    head = f"schema: planner/graph@1\nname: chain\nmicrobatches: {microbatches}\noperators:\n"
    Path("graph.yaml").write_text(head + text + "\n", encoding="utf-8")
    Path("cluster.yaml").write_text(
        "schema: planner/cluster@1\nname: small\ndevice_types: {cpu: {}}\n"
        f"devices: [{{name: cpu, type: cpu, count: {devices}}}]\nnetwork: {{within_node: {{latency: 0.1}}}}\n",
        encoding="utf-8",
    )


def planned(case: tuple[int, int, int, list[tuple[float, ...]], list[str]], plan: str = "plan.json") -> None:
    """graph.yaml, cluster.yaml and the plan in the working directory."""
    *sizes, times, flags = case
    write_inputs(*sizes, times)
    limits = ["--time-limit", "4", "--baselines", "none", "--quiet", "-o", plan]
    assert main(["solve", "graph.yaml", "cluster.yaml", *flags, *limits]) == 0


def exported(*flags: str, plan: str = "plan.json", to: str = "order.csv") -> list[str]:
    assert main(["export", plan, "--to", "torch-csv", "-o", to, *flags]) == 0
    return Path(to).read_text().splitlines()


def train(processes: int, *files: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [*launcher, str(SCRIPT), *(files or ("plan.json", "order.csv"))],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def assert_equal_to_one_process(run: subprocess.CompletedProcess[str], files: Sequence[str]) -> None:
    assert run.returncode == 0, run.stderr[-3000:]
    reports: dict[str, list[dict[str, Any]]] = {}
    for line in run.stdout.splitlines():
        if line.startswith("{"):
            report = json.loads(line)
            reports.setdefault(report["csv"], []).append(report)
    assert set(reports) == set(files)
    for steps in reports.values():
        assert [step["step"] for step in steps] == [0, 1, 2]
        for step in steps:
            assert step["order_is_that_of_the_csv"] and step["recomputed_as_the_partition_says"]
            assert step["loss"] == pytest.approx(step["loss_of_one_process"], rel=1e-12)
            assert step["largest_gradient"] > 1e-3
            assert step["largest_gradient_error"] <= 1e-12 * step["largest_gradient"]
        assert len({step["loss"] for step in steps}) == 3


FILES = ["--graph", "graph.yaml", "--cluster", "cluster.yaml"]


@pytest.mark.parametrize("processes", [2, 4])
def test_plans_train_as_one_process_does(processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plan exported twice: with its files and from the plan alone."""
    monkeypatch.chdir(tmp_path)
    assert torch.__version__.startswith("2.13.")
    names = [name for name, case in CASES.items() if case[1] == processes]
    files: list[str] = []
    for name in names:
        planned(CASES[name], f"{name}.json")
        for to, flags in ((f"{name}.csv", FILES), (f"{name}-alone.csv", [])):
            assert len(exported("--repair", *flags, plan=f"{name}.json", to=to)) == processes
            files += [f"{name}.json", to]
    assert_equal_to_one_process(train(processes, *files), files[1::2])


def test_baselines_train_as_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(8, 4, 8, UNEQUAL)
    files: list[str] = []
    for name in ("gpipe", "1f1b", "interleaved-1f1b", "zb1p", "zbv", "v-half", "dualpipev"):
        assert main(["baseline", name, "graph.yaml", "cluster.yaml", "-o", f"{name}.json", "--quiet"]) == 0
        exported(*FILES, plan=f"{name}.json", to=f"{name}.csv")
        files += [f"{name}.json", f"{name}.csv"]
    assert_equal_to_one_process(train(4, *files), files[1::2])


RECOMPUTING = """
schema: planner/graph@1
name: recomputing
microbatches: 6
operators:
  - {name: a, time: {forward: 1}, parameters: 1, activation: 2, devices: [cpu0]}
  - name: b
    time: {forward: 1}
    parameters: 1
    activation: 4
    inputs: [a]
    devices: [cpu0]
    variants: [{name: recompute, time: {input_grad: 3, weight_grad: null}, activation: 1}]
  - name: c
    time: {forward: 1}
    parameters: 1
    activation: 4
    inputs: [b]
    devices: [cpu1]
    variants: [{name: recompute, time: {input_grad: 2}, activation: 1}]
  - {name: d, time: {forward: 1}, parameters: 1, activation: 2, inputs: [c], devices: [cpu1]}
"""


def test_recomputed_operators_train_as_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With full backwards and with backwards in two halves."""
    monkeypatch.chdir(tmp_path)
    write_inputs(4, 2, 6, EQUAL)
    Path("graph.yaml").write_text(RECOMPUTING, encoding="utf-8")
    files: list[str] = []
    for name in ("1f1b", "zb1p"):
        for variant in ("base", "recompute"):
            plan = f"{name}-{variant}"
            made = ["baseline", name, "graph.yaml", "cluster.yaml", "--variant", variant, "-o", f"{plan}.json"]
            assert main([*made, "--quiet"]) == 0
            exported(*FILES, plan=f"{plan}.json", to=f"{plan}.csv")
            files += [f"{plan}.json", f"{plan}.csv"]
    cells_of = {name: Path(name).read_text() for name in files[1::2]}
    assert "B" in cells_of["1f1b-recompute.csv"] and "W" in cells_of["zb1p-recompute.csv"]
    stages = json.loads(Path("zb1p-recompute.csv.partition.json").read_text())["stages"]
    assert [stage["variants"] for stage in stages] == [{"a": "base", "b": "recompute"}, {"c": "recompute", "d": "base"}]
    assert "variants" not in json.loads(Path("1f1b-base.csv.partition.json").read_text())["stages"][0]
    assert_equal_to_one_process(train(2, *files), files[1::2])


def test_merged_stages_train_as_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that overlaps microbatches operator by operator: as few stages, as some, and as its order takes."""
    monkeypatch.chdir(tmp_path)
    write_inputs(12, 2, 4, UNEQUAL)
    lines = Path("graph.yaml").read_text().splitlines()
    odd = {f"name: block{k}," for k in range(1, 12, 2)}
    mixed = [
        line.replace("parameters: 1", "stream: comm") if odd & {line[5:].split(" time")[0]} else line for line in lines
    ]
    Path("graph.yaml").write_text("\n".join(mixed) + "\n", encoding="utf-8")
    limits = ["--time-limit", "4", "--layout", "linear", "--baselines", "none", "--quiet", "-o", "plan.json"]
    assert main(["solve", "graph.yaml", "cluster.yaml", *limits]) == 0
    files: list[str] = []
    counts = []
    for to, flags in (("few.csv", []), ("some.csv", ["--stages", "5"]), ("exact.csv", ["--stages", "exact"])):
        exported("--repair", *FILES, *flags, to=to)
        counts.append(len(json.loads(Path(f"{to}.partition.json").read_text())["stages"]))
        files += ["plan.json", to]
    assert counts[0] == 2 and counts[1] <= 5 < counts[2]
    assert_equal_to_one_process(train(2, *files), files[1::2])


SKIP = """
schema: planner/graph@1
name: skip
microbatches: 3
operators:
  - {name: a, time: {forward: 1}, parameters: 1, devices: [cpu0]}
  - {name: b, time: {forward: 1}, parameters: 1, inputs: [a], devices: [cpu1]}
  - {name: c, time: {forward: 1}, parameters: 1, inputs: [b], devices: [cpu0]}
  - {name: d, time: {forward: 1}, parameters: 1, inputs: [a, c], devices: [cpu1]}
"""


class Reading(torch.nn.Module):
    """An operator that hands on, behind its own output, what comes after the inputs that it reads."""

    def __init__(self, name: str, reads: list[int], keeps: list[int]) -> None:
        super().__init__()
        torch.manual_seed(ord(name))
        self.linear, self.reads, self.keeps = torch.nn.Linear(4, 4), reads, keeps

    def forward(self, *given: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        own = self.linear(torch.stack([given[k] for k in self.reads]).prod(dim=0)).tanh()
        return (own, *(given[k] for k in self.keeps)) if self.keeps else own


def model_with_a_skip(hands_on: list[list[str]]) -> list[Reading]:
    """a, b, c, d of SKIP, one a stage; each stage gets the one before and then what that hands on."""
    keeps = [[] if not names else [min(k - 1, 1)] for k, names in enumerate(hands_on)]  # stage 1 is given a itself
    return [Reading(name, [0, 1] if name == "d" else [0], keeps[k]) for k, name in enumerate("abcd")]


def train_with_a_skip(rank: int, folder: str) -> None:
    """One rank: a step of the exported schedule, its gradients against those of one process."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_default_dtype(torch.float64)
    partition = json.loads(Path(folder, "order.csv.partition.json").read_text())
    modules = model_with_a_skip([stage["hands_on"] for stage in partition["stages"]])
    mine = partition["ranks"][rank]["stages"]
    stages = [PipelineStage(modules[s], s, 4, torch.device("cpu")) for s in mine]
    loss_of = torch.nn.functional.mse_loss
    schedule = _PipelineScheduleRuntime(stages, n_microbatches=3, loss_fn=loss_of)
    schedule._load_csv(str(Path(folder, "order.csv")), format="compute_only")
    torch.manual_seed(0)
    x, y = torch.randn(6, 4), torch.randn(6, 4)
    schedule.step(*((x,) if 0 in mine else ()), target=y if 3 in mine else None)
    a, b, c, d = model_with_a_skip([[]] * 4)
    first = a(x)
    loss_of(d(c(b(first)), first), y).backward()
    for s in mine:
        for ours, alone in zip(modules[s].parameters(), (a, b, c, d)[s].parameters(), strict=True):
            assert alone.grad is not None and ours.grad is not None
            torch.testing.assert_close(ours.grad, alone.grad, rtol=1e-12, atol=1e-14)
    torch.distributed.destroy_process_group()


def test_an_output_that_is_handed_on_trains_as_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(4, 2, 3, EQUAL)
    Path("graph.yaml").write_text(SKIP, encoding="utf-8")
    limits = ["--time-limit", "4", "--baselines", "none", "--quiet", "-o", "plan.json"]
    assert main(["solve", "graph.yaml", "cluster.yaml", *limits]) == 0
    assert main(["export", "plan.json", "--to", "torch-csv", *FILES, "-o", "order.csv"]) == 2
    exported("--repair", *FILES)
    stages = json.loads(Path("order.csv.partition.json").read_text())["stages"]
    assert [stage["hands_on"] for stage in stages] == [[], ["a"], ["a"], []]
    torch.multiprocessing.spawn(train_with_a_skip, (str(tmp_path),), nprocs=2)


def test_forwards_of_the_last_stage_out_of_order_do_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused without --repair is really more than torch can run, and the comparison does not pass it."""
    monkeypatch.chdir(tmp_path)
    planned(CASES["linear-2"])
    swap = {0: 1, 1: 0}
    rows = [
        ",".join(f"{c.stage}{c.kind}{swap.get(c.microbatch, c.microbatch)}" for c in row)
        for row in cells("\n".join(exported()) + "\n")
    ]
    Path("order.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    run = train(2)
    assert run.returncode != 0
    assert "Loss for microbatch 1 is not available" in run.stderr


def test_the_script_wants_as_many_processes_as_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    planned(CASES["linear-2"])
    exported()
    run = train(1)
    assert run.returncode != 0
    assert "is for 2 processes: torchrun --standalone --nproc-per-node 2" in run.stderr
