"""The inputs in configs/ read as they are and say what their comments say."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from planner.files import read_cluster, read_graph
from planner.problem import Mode, Pass, Problem, Stream

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"

# operators, microbatches, devices
SIZES = {
    "dualpipe-8x20": (8, 20, 8),
    "dualpipe-4x8": (4, 8, 4),
    "deepseek-v3-h800": (32 * 4, 20, 8),
    "multimodal": (91, 16, 8),
    "mixed-cluster": (1 + 32 * 2 + 1, 16, 8),
    "deepseek-v3-units": (32 * 4, 20, 8),
    "deepseek-v3-61-layers": (1 + 3 * 2 + 58 * 4 + 1, 32, 16),
    "deepseek-v3-61-layers-whole": (1 + 3 * 2 + 58 * 4 + 1, 32, 16),
    "deepseek-v3-h800-whole": (32 * 4, 20, 8),
    "t5-11b-v100x4": (821, 16, 4),
    "t5-11b-v100x8": (821, 16, 8),
    "msr-bert24": (64, 1, 7),
    "msr-resnet50": (354, 1, 7),
    "pipedream-vgg16": (41, 16, 4),
    "pipedream-gnmt": (48, 16, 4),
    "piper-bert32": (1 + 32 + 1, 32, 8),
    "llama-3.1-70b-tp8-pp8-8192": (2 + 80 * 4, 32, 8),
    "llama-3.1-70b-tp8-pp8-32768": (2 + 80 * 4, 16, 8),
    "multimodal-choose": (91, 16, 8),
    "piper-bert32-choose": (1 + 32 + 1, 32, 8),
    "sailor-llama3-8b": (35, 16, 8),
    "sailor-opt350": (26, 16, 8),
    "large-64x4": (64 * 4, 64, 32),
    "jobshop-ft06": (36, 1, 6),
    "jobshop-sfjs05": (6, 1, 2),
    "jobshop-mfjs01": (15, 1, 6),
}


def problem_of(name: str, copies: int = 1) -> Problem:
    graph = read_graph(CONFIGS / name / "graph.yaml")
    return Problem(graph, read_cluster(CONFIGS / name / "cluster.yaml"), graph.microbatches, copies=copies)


def test_every_folder_is_listed_here() -> None:
    assert {path.parent.name for path in CONFIGS.glob("*/graph.yaml")} == set(SIZES)


def test_files_are_what_the_generator_writes() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "make_configs.py"), "--check"]
    run = subprocess.run(script, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    problem = problem_of(name)
    assert (problem.n_operators, problem.microbatches, problem.n_devices) == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_comment_tells_how_to_run_it(name: str) -> None:
    lines = (CONFIGS / name / "graph.yaml").read_text(encoding="utf-8").splitlines()
    files = f"configs/{name}/graph.yaml configs/{name}/cluster.yaml"
    assert len([line for line in lines if line.startswith(f"# run: planner solve {files}")]) == 1


@pytest.mark.parametrize("name", SIZES)
def test_one_operator_fits_on_every_device_that_may_run_it(name: str) -> None:
    problem = problem_of(name)
    alone = problem.parameters + problem.activation
    assert (alone[:, None] <= np.where(problem.runs_on, problem.cap, np.inf)).all()


@pytest.mark.parametrize(("name", "stages"), [("dualpipe-8x20", 8), ("dualpipe-4x8", 4)])
def test_unit_pipelines_are_chains_of_uniform_stages_with_dualpipes_memory(name: str, stages: int) -> None:
    problem = problem_of(name, copies=2)
    assert problem.inputs == ((), *((s,) for s in range(stages - 1)))
    assert (problem.duration == 1).all() and problem.has_pass.all()
    assert (problem.held == problem.activation).all()
    assert (problem.cap == 2 + (stages + 1)).all()
    assert problem.transfer(0, 0, 1) == 0


def test_deepseek_layer_times_are_the_measured_means() -> None:
    """Microseconds of DeepSeek's trace: means over its four layers."""
    problem = problem_of("deepseek-v3-h800")
    means = {
        "attention": (4369.75, 9340.75, 2388.5),
        "dispatch": (6690.25, 7486.75, 0),
        "experts": (4603.75, 5306, 5062.75),
        "combine": (8684, 5769.25, 0),
    }
    for i, operator in enumerate(problem.operators):
        label = operator.name.split(".")[-1]
        assert problem.duration[i, :, 0] * 1e6 == pytest.approx(means[label])
        assert (Pass.W in operator.times) == (label in ("attention", "experts"))
        assert (operator.stream is Stream.COMM) == (label in ("dispatch", "combine"))
    compute = problem.duration[~problem.on_comm, :, 0].sum() * 20 / 8
    communication = problem.duration[problem.on_comm, :, 0].sum() * 20 / 8
    assert compute == pytest.approx(2.48572)
    assert communication / compute == pytest.approx(0.921, abs=5e-4)


def test_deepseek_layers_are_a_chain_of_four_operators() -> None:
    problem = problem_of("deepseek-v3-h800")
    names = [operator.name for operator in problem.operators]
    assert names[:5] == [f"layer.0.{n}" for n in ("attention", "dispatch", "experts", "combine")] + [
        "layer.1.attention"
    ]
    assert problem.inputs == ((), *((i,) for i in range(len(names) - 1)))


def test_deepseek_hidden_state_takes_1_2_ms_between_stages() -> None:
    problem = problem_of("deepseek-v3-h800")
    combine = problem.graph.index["layer.3.combine"]
    assert problem.output[combine] == 4096 * 7168 * 2
    assert problem.transfer(combine, 0, 1) == pytest.approx(58_720_256 / 50e9 + 10e-6)
    assert len(problem.device_classes) == 1


def test_deepseek_parameters_follow_the_public_dimensions() -> None:
    """Weights of a layer on one of 64 ranks; FP8 + FP32 gradient + optimizer state (8 bytes, ZeRO-1)."""
    attention = 7168 * 1536 + 1536 * 24576 + 7168 * 576 + 512 * 32768 + 16384 * 7168
    kept_in_bf16 = 256 * 7168 + 2 * 7168 + 1536 + 512
    expert = 3 * 7168 * 2048
    problem = problem_of("deepseek-v3-h800")
    of = dict(zip((o.name for o in problem.operators), problem.parameters, strict=True))
    assert of["layer.0.attention"] == attention * (1 + 4 + 8 / 64) + kept_in_bf16 * (2 + 4 + 8 / 64)
    assert of["layer.31.experts"] == 4 * expert * (1 + 4 + 8) + expert * (1 + 4 + 8 / 64)
    assert of["layer.0.dispatch"] == of["layer.0.combine"] == 0


def test_deepseek_dualpipe_fits_and_memory_binds() -> None:
    """Two copies of 4 layers and 9 x 4 activations fit; in one copy, all of 20 microbatches do not."""
    problem = problem_of("deepseek-v3-h800", copies=2)
    parameters, activation = problem.parameters[:4].sum(), problem.activation[:4].sum()
    cap = problem.cap[0]
    assert cap == 84_943_110_144 - 4 * 2**30
    dualpipe = 2 * 4 * parameters + 9 * 4 * activation
    assert dualpipe == 73_357_049_856
    assert 5 * activation < cap - dualpipe < 6 * activation
    assert 4 * parameters + 52 * activation < cap < 4 * parameters + 53 * activation < 4 * 20 * activation


def test_multimodal_has_two_encoders_that_join_and_two_heads() -> None:
    problem = problem_of("multimodal")
    names = [operator.name for operator in problem.operators]
    first = problem.graph.index["trunk.0.layer"]
    assert {names[i] for i in problem.inputs[first]} == {"embed", "merger", "projector"}
    assert {names[i] for i in range(len(names)) if not problem.consumers[i]} == {"text_head", "image_head"}
    assert {names[i] for i in range(len(names)) if not problem.inputs[i]} == {
        "patches",
        "spectrogram",
        "embed",
    }
    count = Counter(name.split(".")[0] for name in names)
    assert (count["vision"], count["audio"], count["trunk"]) == (32, 24, 28)


def test_multimodal_encoders_recompute() -> None:
    """They keep their input only, and their one backward pass makes the weights' gradients: no W."""
    problem = problem_of("multimodal")
    for i, operator in enumerate(problem.operators):
        recomputes = operator.name.startswith(("vision.", "audio."))
        assert problem.has_pass[i, 2] != recomputes
        if recomputes:
            assert problem.activation[i] == problem.output[i]
            assert problem.duration[i, 1, 0] > 3 * problem.duration[i, 0, 0]


def test_multimodal_memory_binds() -> None:
    """A device's share of equally many operators would not fit; all microbatches at once fit nowhere."""
    problem = problem_of("multimodal")
    layer = problem.graph.index["trunk.0.layer"]
    assert 11 * (problem.parameters[layer] + 3 * problem.activation[layer]) > problem.cap.max()
    assert problem.microbatches * problem.activation.sum() + problem.parameters.sum() > problem.cap.sum()
    # ... while eight devices do hold the parameters and a pipeline's worth of microbatches:
    assert problem.parameters.sum() + 8 * problem.activation.sum() < problem.cap.sum()


def test_mixed_cluster_has_two_speeds_and_the_slow_kind_has_little_memory() -> None:
    problem = problem_of("mixed-cluster")
    assert [len(members) for members in problem.device_classes] == [4, 4]
    layer = [problem.graph.index[f"layer.0.{part}"] for part in ("attention", "mlp")]
    slow, fast = (problem.duration[layer, :, d].sum() for d in (0, 4))
    assert slow / fast == pytest.approx(989 * 0.4 / (312 * 0.5), rel=1e-3)
    embed = problem.graph.index["embed"]
    parameters, activation = problem.parameters[layer].sum(), problem.activation[layer].sum()

    def first_stage(layers: int) -> float:
        """Bytes on the first of eight stages in 1F1B's order, the embedding included."""
        return float(problem.parameters[embed] + layers * (parameters + 8 * activation))

    assert first_stage(2) < problem.cap[0] < first_stage(3) < first_stage(4)


def test_mixed_cluster_weights_are_those_of_llama() -> None:
    """8.03e9 weights (norms aside) of 18 bytes."""
    assert problem_of("mixed-cluster").parameters.sum() / 18 == pytest.approx(8.03e9, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "jobs", "least_work"),
    [("jobshop-ft06", 6, 197), ("jobshop-sfjs05", 3, 213), ("jobshop-mfjs01", 5, 1610)],
)
def test_job_shops_are_chains_in_inference_mode(name: str, jobs: int, least_work: int) -> None:
    problem = problem_of(name)
    assert problem.graph.mode is Mode.INFERENCE and not problem.training
    assert sum(not inputs for inputs in problem.inputs) == jobs
    for before, after in pairwise(range(problem.n_operators)):
        assert problem.inputs[after] in ((before,), ())
    assert problem.duration[:, 0].min(axis=1).sum() == least_work
    assert np.isinf(problem.cap).all()
