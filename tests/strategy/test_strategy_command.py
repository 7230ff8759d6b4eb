"""``planner strategy``: what it prints and leaves, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.commands.app import main
from planner.files import read_cluster
from planner.files.cluster_text import cluster_yaml
from planner.files.shipped import model_file

TINY = ["--global-batch", "8", "--sequence", "1024", "--time-limit", "8", "--processes", "1"]


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """Llama 3 8B with three layers."""
    config = json.loads(model_file(Path("llama-3-8b")).read_text(encoding="utf-8"))
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(config | {"num_hidden_layers": 3}), encoding="utf-8")
    return str(path)


def test_the_folder_has_all_that_launches_the_best(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    assert main(["strategy", tiny, "h100:1x4", *TINY, "--top", "2", "-o", str(out), "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert json.loads((out / "strategy.json").read_text(encoding="utf-8")) == document
    assert document["lower_bound"] <= document["best_seconds"] == document["strategies"][0]["seconds"]
    assert document["gap"] == pytest.approx(1 - document["lower_bound"] / document["best_seconds"])
    keys = {"rank", "tp", "cp", "ep", "pp", "dp", "seconds", "lower_bound", "tokens_per_second_per_gpu", "mfu"}
    assert keys | {"peak_bytes", "bubble_ratio"} <= set(document["strategies"][0])
    assert {"strategies", "invalid", "out_of_memory", "pruned_by_bound", "solved"} <= set(document["space"])
    for place in (1, 2):
        folder = out / str(place)
        inputs = ["--graph", str(folder / "graph.yaml"), "--cluster", str(folder / "cluster.yaml")]
        assert main(["verify", str(folder / "plan.json"), *inputs]) == 0
        plan = planner.read_plan(folder / "plan.json")
        assert plan.makespan == pytest.approx(document["strategies"][place - 1]["seconds"])
        row = document["strategies"][place - 1]
        arguments = (folder / "megatron.args").read_text(encoding="utf-8")
        assert f"--tensor-model-parallel-size {row['tp']}" in arguments
        assert f"--pipeline-model-parallel-size {row['pp']}" in arguments
        assert "--global-batch-size 8" in arguments
        assert f"--micro-batch-size {row['mbs']}" in arguments
    assert "<html" in (out / "strategy.html").read_text(encoding="utf-8")


def test_the_report_and_one_line_of_it(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategy", tiny, "h100:1x4", *TINY, "--fix", "tp=2,mbs=1"]) == 0
    text = capsys.readouterr().out
    assert "tiny on h100:1x4, 8 sequences of 1,024 tokens a step, as megatron runs it" in text
    assert "what one degree more or less would cost" in text
    assert main(["strategy", tiny, "h100:1x4", *TINY, "--fix", "tp=2,mbs=1", "--quiet"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("TP 2")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--fix", "tp=x"], 2, "--fix takes degrees and whole numbers, such as tp=8,pp=4"),
        (["--fix", "sp=2"], 2, "--fix takes degrees and whole numbers, such as tp=8,pp=4"),
        (["--gpus", "9"], 2, "gpus 9 are more than the 4 of the cluster"),
        (["--runtime", "nobody"], 2, "nobody"),
        (["--schedules", "all"], 2, "all"),
        (["--processes", "2", "--dask", "tcp://127.0.0.1:1"], 2, "exclude each other"),
        (["--time-limit", "0"], 2, "--time-limit must be above 0"),
        (["--fix", "pp=4"], 3, "no strategy is valid: the most frequent reason: more stages than the 3 layers"),
        (["--max-memory", "1 GiB"], 3, "no strategy fits in memory, which is proven for each"),
    ],
)
def test_how_it_ends(flags: list[str], code: int, message: str, tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = TINY[:-2] if "--processes" in flags else TINY
    assert main(["strategy", tiny, "h100:1x4", *given, *flags]) == code
    assert message in capsys.readouterr().err


def test_a_cluster_as_text_is_the_same_cluster(tmp_path: Path) -> None:
    for name in ("h100:2x4", "a100:1x8"):
        cluster = read_cluster(Path(name))
        path = tmp_path / "cluster.yaml"
        path.write_text(cluster_yaml(cluster, "a comment"), encoding="utf-8")
        again = read_cluster(path)
        for field in ("name", "within_node", "between_nodes", "links", "types"):
            assert getattr(again, field) == getattr(cluster, field)
        assert [(d.name, d.type, d.node, d.memory) for d in again.devices] == [
            (d.name, d.type, d.node, d.memory) for d in cluster.devices
        ]


def test_from_python(tiny: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        answer = planner.strategy(
            tiny, "h100:1x2", global_batch=4, sequence=1024, fix={"mbs": 1}, time_limit=10, executor=pool
        )
    assert answer.winner is not None
    assert answer.winner.makespan == pytest.approx(answer.found.best)
    with pytest.raises(ValueError, match="there is no degree 'sp' to fix"):
        planner.strategy(tiny, "h100:1x2", global_batch=4, sequence=1024, fix={"sp": 1})
    with pytest.raises(ValueError, match="runtime must be one of"):
        planner.strategy(tiny, "h100:1x2", global_batch=4, sequence=1024, runtime="nobody")
