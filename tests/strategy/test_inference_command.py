"""``planner strategy --mode inference``: what it prints and leaves, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.commands.app import main
from planner.files.shipped import model_file
from planner.strategies.inference.answer import document_of

ASKED = ["--mode", "inference", "--prompt", "1024", "--output-length", "64", "--time-limit", "20"]


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """Llama 3 8B with eight layers."""
    config = json.loads(model_file(Path("llama-3-8b")).read_text(encoding="utf-8"))
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(config | {"num_hidden_layers": 8}), encoding="utf-8")
    return str(path)


def document(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["strategy", *arguments, "--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_folder_has_both_graphs_and_a_verified_plan(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    found = document([tiny, "h100:1x4", *ASKED, "--fix", "pp=2", "--top", "2", "-o", str(out)], capsys)
    assert json.loads((out / "strategy.json").read_text(encoding="utf-8")) == found
    assert "The winner's decode steps" in (out / "strategy.html").read_text(encoding="utf-8")
    training = {"format", "model", "cluster", "gpus", "mode", "precision", "memory_cap", "space", "best_seconds"}
    training |= {"lower_bound", "gap", "interrupted", "strategies", "neighbours", "invalid", "points", "assumptions"}
    assert training <= set(found)
    assert found["mode"] == "inference"
    assert found["lower_bound"] <= found["best_seconds"] == found["strategies"][0]["seconds"]
    space = found["space"]
    assert space["strategies"] == space["solved"] + space["out_of_memory"] + space["too_slow"] + space["invalid"]
    assert len(found["points"]) == space["strategies"] - space["invalid"]
    for place in (1, 2):
        folder, row = out / str(place), found["strategies"][place - 1]
        inputs = ["--graph", str(folder / "graph.yaml"), "--cluster", str(folder / "cluster.yaml")]
        assert main(["verify", str(folder / "plan.json"), *inputs]) == 0
        plan = planner.read_plan(folder / "plan.json")
        assert plan.objective == "period"
        assert plan.microbatches == row["pp"] == len(plan.devices) == 2
        period = plan.figure("period")
        assert period is not None
        assert period.value is not None
        assert period.value <= row["decode_period"] * (1 + 1e-6)
        prefill = planner.read_problem(folder / "prefill.yaml", folder / "cluster.yaml")
        busiest = sum(prefill.duration[:, :, 0].sum(axis=1)) / row["prompts_together"]
        assert row["prefill_period"] < busiest <= 2 * row["prefill_period"] * (1 + 1e-6)
    assert found["plan"]["period"] == pytest.approx(planner.read_plan(out / "1" / "plan.json").figure("period").value)  # type: ignore[union-attr]


def test_the_page_alone(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--html`` leaves the page, with a plan of the winner's decode steps, and nothing else."""
    page = tmp_path / "page.html"
    arguments = ["strategy", tiny, "h100:1x2", *ASKED, "--fix", "mbs=8", "--html", str(page)]
    assert main(arguments) == 0
    assert f"page written to {page}" in capsys.readouterr().err
    assert "The winner's decode steps" in page.read_text(encoding="utf-8")
    assert {each.name for each in tmp_path.iterdir()} == {"tiny.json", "page.html"}


def test_from_python(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer of the command line, and its plan; nothing is printed; arguments that do not suit are named."""
    fixed = ["--fix", "pp=2,mbs=8,mbs=16"]
    told = document([tiny, "h100:1x4", *ASKED, *fixed, "--max-token-latency", "20 ms"], capsys)
    given: dict[str, Any] = {"prompt": 1024, "output_length": 64, "fix": {"pp": 2, "mbs": (8, 16)}}
    answer = planner.inference_strategy(tiny, "h100:1x4", **given, max_token_latency="20 ms", plans=1)
    assert capsys.readouterr() == ("", "")
    assert json.loads(json.dumps(document_of(answer))) | {"plan": None} == told
    assert answer.chosen[0].seconds == told["best_seconds"] and answer.found.lower_bound == told["lower_bound"]
    assert answer.winner is not None and answer.winner.objective == "period" and set(answer.plans) == {0}
    for wrong, message in (
        ({"max_token_latency": 0}, "max_token_latency must be above 0"),
        ({"prompt": 0}, "prompt must be at least 1"),
        ({"plans": -1}, "plans must be at least 0"),
        ({"precision": "fp7"}, "precision must be one of"),
        ({"fix": {"zero": 1}}, "no degree 'zero'"),
        ({"max_memory": "much"}, "max_memory"),
    ):
        with pytest.raises(ValueError, match=message):
            planner.inference_strategy(tiny, "h100:1x4", **given | wrong)


def test_the_same_question_has_the_same_answer(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [tiny, "h100:1x2", *ASKED]
    assert document(arguments, capsys) == document(arguments, capsys)


def test_the_report_and_one_line_of_it(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategy", tiny, "h100:1x4", *ASKED, "--max-token-latency", "20 ms"]) == 0
    text = capsys.readouterr().out
    assert "tiny on h100:1x4, prompts of 1,024 tokens, answers of 64, then one every at most 20 ms" in text
    assert "latency against throughput, from the fastest to the cheapest" in text
    assert "what one degree more or less would bring" in text
    assert main(["strategy", tiny, "h100:1x4", *ASKED, "--fix", "tp=2,pp=2,mbs=8", "--quiet"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("TP 2, PP 2, microbatches of 8: ")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--global-batch", "8"], 2, "--global-batch is for training"),
        (["--sequence", "8"], 2, "--sequence is for training"),
        (["--runtime", "torch"], 2, "--runtime is for training"),
        (["--processes", "2"], 2, "--processes is for training"),
        (["--dask", "tcp://127.0.0.1:1"], 2, "--dask is for training"),
        (["--html", "no/such/folder/page.html"], 2, "no/such/folder"),
        (["--fix", "zero=1"], 2, "--fix zero: inference has the degrees tp, ep, pp, dp, mbs"),
        (["--max-token-latency", "0"], 2, "--max-token-latency must be above 0"),
        (["--max-token-latency", "soon"], 2, "--max-token-latency"),
        (["--gpus", "9"], 2, "gpus 9 are more than the 4 of the cluster"),
        (["--fix", "tp=3"], 3, "no strategy is valid"),
        (["--fix", "mbs=1", "--max-memory", "1 GiB"], 3, "3 do not fit in memory, 0 are too slow"),
        (["--fix", "tp=4", "--max-token-latency", "10 us"], 3, "no strategy serves this, which is proven for each"),
        (["--max-prefill-latency", "10 us"], 3, "no strategy serves this, which is proven for each"),
    ],
)
def test_how_it_ends(flags: list[str], code: int, message: str, tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "mbs=1" in flags:
        flags = [*flags, "--fix", "tp=1"]
    assert main(["strategy", tiny, "h100:1x4", *ASKED, *flags]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "training needs --global-batch and --sequence"),
        (["--global-batch", "8"], "training needs --global-batch and --sequence"),
        (["--global-batch", "8", "--sequence", "512", "--prompt", "8"], "--prompt is for --mode inference"),
        (["--mode", "inference", "--prompt", "8"], "--mode inference needs --prompt and --output-length"),
        (["--mode", "inference", "--output-length", "8"], "--mode inference needs --prompt and --output-length"),
    ],
)
def test_what_each_mode_needs(flags: list[str], message: str, tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategy", tiny, "h100:1x4", *flags]) == 2
    assert message in capsys.readouterr().err
