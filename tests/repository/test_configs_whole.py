"""Configs with variants and whole steps: at base they are the configs that they extend; the rest adds up by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from planner.files import read_cluster, read_graph
from planner.problem import Operator, Pass, Problem

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TOKENS, HIDDEN = 4096, 7168
ATTENTION = 7168 * 1536 + 1536 * 24576 + 7168 * 576 + 512 * 32768 + 16384 * 7168
KEPT = 256 * 7168 + 2 * 7168 + 1536 + 512  # router and norms, BF16
EXPERT, DENSE, TABLE = 3 * 7168 * 2048, 3 * 7168 * 18432, 129280 * 7168


def problem_of(name: str, *variants: str) -> Problem:
    graph = read_graph(CONFIGS / name / "graph.yaml")
    cluster = read_cluster(CONFIGS / name / "cluster.yaml")
    return Problem(graph, cluster, graph.microbatches, variants=variants or ("base",))


def operator_of(name: str, operator: str) -> Operator:
    graph = read_graph(CONFIGS / name / "graph.yaml")
    return graph.operators[graph.index[operator]]


@pytest.mark.parametrize(
    ("name", "base"),
    [("deepseek-v3-61-layers-whole", "deepseek-v3-61-layers"), ("deepseek-v3-h800-whole", "deepseek-v3-h800")],
)
def test_at_base_it_is_the_config_that_it_extends(name: str, base: str) -> None:
    ours, theirs = problem_of(name), problem_of(base)
    assert [o.name for o in ours.operators] == [o.name for o in theirs.operators]
    assert ours.duration == pytest.approx(theirs.duration) and (ours.has_pass == theirs.has_pass).all()
    for size in ("parameters", "activation", "held", "output", "cap"):
        assert (getattr(ours, size) == getattr(theirs, size)).all()
    assert (ours.inputs, ours.microbatches) == (theirs.inputs, theirs.microbatches)
    assert ours.transfer(0, 0, 1) == theirs.transfer(0, 0, 1)


@pytest.mark.parametrize(
    ("operator", "recompute", "fused"),
    [
        ("layer.0.attention", TOKENS * HIDDEN * 2, TOKENS * 59_008),
        ("layer.57.experts", TOKENS * 9 * (7168 + 4 * 7168 // 128), TOKENS * 104_544),
        ("dense.2.attention", TOKENS * HIDDEN * 2, TOKENS * 59_008),
        ("dense.0.mlp", TOKENS * (7168 + 224), TOKENS * (7168 + 224 + 2 * 18432 + 2 * 576)),
        ("layer.3.dispatch", None, None),
        ("embed", None, None),
        ("head", None, None),
    ],
)
def test_deepseeks_variants_hold_inputs_or_what_forward_stores(
    operator: str, recompute: int | None, fused: int | None
) -> None:
    found = operator_of("deepseek-v3-61-layers-whole", operator)
    if recompute is None:
        assert found.versions == ("base",)
        return
    again, one = found.variants
    forward, backward = found.times[Pass.F], found.times[Pass.I] + found.times[Pass.W]
    assert (again.name, again.activation, again.times[Pass.I]) == (
        "recompute",
        recompute,
        pytest.approx(forward + backward),
    )
    assert (one.name, one.activation, one.times[Pass.I]) == ("fused", fused, pytest.approx(backward))
    assert Pass.W not in again.times and Pass.W not in one.times
    assert recompute < fused < found.activation


@pytest.mark.parametrize(
    ("operator", "everywhere", "bytes_of_weights", "alone"),
    [
        ("layer.0.attention", ATTENTION + KEPT, ATTENTION + 2 * KEPT, 0),
        ("layer.9.experts", EXPERT, EXPERT, 4 * EXPERT),
        ("dense.1.attention", ATTENTION + KEPT - 256 * 7168, ATTENTION + 2 * (KEPT - 256 * 7168), 0),
        ("dense.0.mlp", DENSE, DENSE, 0),
        ("embed", TABLE, 2 * TABLE, 0),
        ("head", TABLE, 2 * TABLE, 0),
    ],
)
def test_deepseeks_step_tasks_follow_from_its_weights(
    operator: str, everywhere: int, bytes_of_weights: int, alone: int
) -> None:
    """64 ranks share what all of them hold; routed experts are reduced and gathered by nobody, and updated whole."""
    found = operator_of("deepseek-v3-61-layers-whole", operator)
    touched = 4 + 2 * (4 + 2 + 2)
    updated = (touched * everywhere + bytes_of_weights) / 64 + (touched + 1) * alone
    assert found.step[Pass.R] == pytest.approx(63 / 64 * 4 * everywhere / 50e9)
    assert found.step[Pass.U] == pytest.approx(updated / 3.35e12)
    assert found.step[Pass.G] == pytest.approx(63 / 64 * bytes_of_weights / 50e9)
    assert found.gradient == 4 * (everywhere + alone)


def test_deepseek_clips_and_its_communication_has_no_step() -> None:
    for name in ("deepseek-v3-61-layers-whole", "deepseek-v3-h800-whole"):
        problem = problem_of(name)
        assert problem.graph.clip_gradients
        assert (problem.has_step.any(axis=1) == (np.asarray(problem.parameters) > 0)).all()
    for part in ("attention", "dispatch", "experts", "combine"):
        one, other = (operator_of(f"deepseek-v3-{name}-whole", f"layer.31.{part}") for name in ("h800", "61-layers"))
        assert (one.step, one.gradient, one.versions) == (other.step, other.gradient, other.versions)


@pytest.mark.parametrize(("tokens", "microbatches"), [(8192, 32), (32768, 16)])
def test_llama_is_what_the_importer_writes(tokens: int, microbatches: int, tmp_path: Path) -> None:
    """The command in the head comment gives the same graph, by name and comment too."""
    name = f"llama-3.1-70b-tp8-pp8-{tokens}"
    text = (CONFIGS / name / "graph.yaml").read_text(encoding="utf-8")
    flags = (
        f"--sequence {tokens} --microbatches {microbatches} --tensor-parallel 8 --data-parallel 8 --recompute choose"
    )
    ports = "--interconnect 50GB/s --tensor-interconnect 450GB/s"
    model = CONFIGS / "models" / "llama-3.1-70b.json"
    out = tmp_path / "graph.yaml"
    command = ["import", "hf", str(model), *flags.split(), *ports.split(), "--name", name, "-o", str(out)]
    subprocess.run([sys.executable, "-m", "planner", *command], check=True, capture_output=True)
    written = [line for line in out.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in text.splitlines() if not line.startswith("#")] == written
    assert f"--sequence {tokens} --microbatches {microbatches}" in " ".join(text.replace("\n# ", " ").split())


def test_llama_fits_as_it_is_with_8192_tokens_and_not_with_32768() -> None:
    """Ten layers of the 80 on a device, and what 1F1B keeps on the first: 8 microbatches; the cap is 76 GiB."""
    needed = {}
    for tokens in (8192, 32768):
        problem = problem_of(f"llama-3.1-70b-tp8-pp8-{tokens}")
        assert problem.operators[1].versions == ("base", "selective", "full") and (problem.cap == 76 * 2**30).all()
        needed[tokens] = (problem.parameters.sum() + 8 * problem.activation.sum()) / 8
    assert needed[8192] < 76 * 2**30 < needed[32768]


def test_multimodal_choose_stores_or_recomputes() -> None:
    """At base it is configs/multimodal; recomputing keeps the input, storing keeps as many elements as GEMMs read."""
    ours, theirs = problem_of("multimodal-choose"), problem_of("multimodal")
    assert ours.duration == pytest.approx(theirs.duration)
    assert (ours.activation == theirs.activation).all() and (ours.parameters == theirs.parameters).all()
    for operator in ours.operators:
        group = operator.name.split(".")[0]
        expected = {"trunk": "recompute", "text_head": "recompute", "image_head": "recompute"}
        expected |= {"vision": "store", "audio": "store"}
        assert operator.versions[1:] == ((expected[group],) if group in expected else ())
    other = problem_of("multimodal-choose", "recompute", "store")
    trunk, vision = (ours.graph.index[f"{name}.3.layer"] for name in ("trunk", "vision"))
    assert other.activation[trunk] == 2 * 5120 * 3584 and other.activation[vision] == 16 * ours.activation[vision]
    f, i, w = ours.duration[trunk, :, 0]
    assert other.duration[trunk, :, 0] == pytest.approx([f, f + i + w, 0])
    assert other.has_pass[vision].all() and other.duration[vision, 0, 0] == ours.duration[vision, 0, 0]
    saved = ours.duration[vision, :, 0].sum() - other.duration[vision, :, 0].sum()
    assert saved == pytest.approx(other.duration[vision, 0, 0])


def test_pipers_alternatives_add_up() -> None:
    """Totals of the source's rows: 0.972864 s vanilla, 1.304647 s with all of it recomputed."""
    ours, theirs = problem_of("piper-bert32-choose"), problem_of("piper-bert32")
    assert (ours.duration == theirs.duration).all() and (ours.activation == theirs.activation).all()
    again = problem_of("piper-bert32-choose", "recompute")
    assert again.duration[:, :, 0].sum() == pytest.approx(1.304647)
    assert (again.parameters.sum(), again.activation.sum()) == (29_633_120_768, 1_574_977_536)
    assert (again.duration[:, 0] == ours.duration[:, 0]).all()
    assert [o.versions for o in ours.operators] == [("base", "recompute")] * 33 + [("base",)]
