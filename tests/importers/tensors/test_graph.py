"""Nodes to operators: merging, levels, memory; FLOP of single operations; without onnx or torch."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from planner.commands.app import main
from planner.files.flag_values import UsageFault
from planner.importers import extras
from planner.importers.document import Document, OperatorDraft, checked, to_yaml
from planner.importers.tensors import costs
from planner.importers.tensors.command import sizes
from planner.importers.tensors.graph import Grouping, TensorNode, Weight, drafts_of, groups_of, moved_bytes
from planner.importers.transformer.setting import Optimizer
from planner.problem import Pass, Work

MB = 1e6


def node(name: str, reads: str = "", flops: float = 0.0, weights: int = 0, view: bool = False) -> TensorNode:
    """Writes one tensor of its own name, 1 MB; its module is what stands before the last dot."""
    held = {f"{name}.weight": Weight(weights, 2, 2 * weights)} if weights else {}
    return TensorNode(
        name,
        tuple(reads.split()),
        {name: MB},
        view=view,
        weights=held,
        flops=flops,
        moved=3 * MB,
        path=tuple(name.split("."))[:-1],
    )


LAYER = [
    node("mask", "ids"),
    node("a.norm", "ids"),
    node("a.q", "a.norm", flops=10, weights=8),
    node("a.split", "a.q", view=True),
    node("b.k", "a.norm", flops=10, weights=8),
    node("a.core", "a.split b.k mask", flops=4),
    node("a.soft", "a.core"),
    node("a.out", "a.soft", flops=10, weights=8),
    node("a.add", "a.out a.norm"),
]


def made(nodes: list[TensorNode], grouping: Grouping | None = None, training: bool = True) -> dict[str, OperatorDraft]:
    groups = groups_of(nodes, grouping or Grouping())
    return {draft.name: draft for draft in drafts_of(groups, training, Optimizer.SGD)}


def test_light_nodes_join_the_latest_of_their_inputs() -> None:
    """The mask has one reader and joins it; the first norm has three and stays; additions join the last branch."""
    drafts = made(LAYER)
    assert {name: draft.inputs for name, draft in drafts.items()} == {
        "a.norm": (),
        "a.q": ("a.norm",),
        "b.k": ("a.norm",),
        "a.core": ("a.q", "b.k"),
        "a.out": ("a.core", "a.norm"),
    }
    core = drafts["a.core"].times[Pass.F]
    assert core == Work(4, 9 * MB)  # with mask and soft


def test_without_merging_every_node_is_an_operator() -> None:
    assert list(made(LAYER, Grouping(merge=False))) == [each.name for each in LAYER]


def test_levels_are_modules_but_close_no_cycle() -> None:
    """Module a reads b, which reads a: what comes after b is a second operator of a."""
    drafts = made(LAYER, Grouping(level=1))
    assert {name: draft.inputs for name, draft in drafts.items()} == {
        "a": (),
        "b": ("a",),
        "a_2": ("a", "b"),
    }


def test_memory_is_every_tensor_made_and_output_every_tensor_read_elsewhere() -> None:
    drafts = made(LAYER)
    assert drafts["a.q"].activation == MB  # the view of it takes none
    assert drafts["a.q"].output == MB  # it is the view that is read elsewhere
    assert drafts["a.core"].activation == 3 * MB
    assert drafts["a.out"].output == 0
    assert drafts["a.out"].parameters == 8 * (2 + 2)
    inference = made(LAYER, training=False)
    assert inference["a.core"].activation == inference["a.core"].output == MB
    assert inference["a.out"].parameters == 8 * 2
    assert inference["a.out"].times.keys() == {Pass.F}


def test_backward_is_twice_forward() -> None:
    """Half for the weights where there are any; nothing for what reads the model's inputs only."""
    drafts = made([node("first", "ids", 10, 8), node("second", "first", 6, 8), node("third", "second", 4)])
    assert {
        name: {p: cost.flops for p, cost in d.times.items() if isinstance(cost, Work)} for name, d in drafts.items()
    } == {
        "first": {Pass.F: 10, Pass.I: 0, Pass.W: 10},
        "second": {Pass.F: 6, Pass.I: 6, Pass.W: 6},
        "third": {Pass.F: 4, Pass.I: 8},
    }


def test_frozen_weights_have_no_gradient() -> None:
    fixed = TensorNode("x", ("y",), {"x": 1.0}, weights={"w": Weight(8, 1, 6, trained=False)}, flops=2)
    draft = made([node("y", "ids"), fixed])["x"]
    assert draft.parameters == 8
    assert draft.times.keys() == {Pass.F, Pass.I}


@pytest.mark.parametrize("seed", range(60))
def test_no_grouping_closes_a_cycle(seed: int) -> None:
    """Random graphs with random modules: every edge leads forward, no node is lost, and the file is read."""
    draw = random.Random(seed)
    nodes: list[TensorNode] = []
    for i in range(draw.randint(1, 40)):
        reads = draw.sample([each.name for each in nodes], k=min(len(nodes), draw.randint(0, 3)))
        module = ".".join(draw.choices("abc", k=draw.randint(0, 3)))
        name = f"{module}.{i}" if module else str(i)
        nodes.append(node(name, " ".join(reads), flops=draw.choice([0, 0, 5]), weights=draw.choice([0, 4])))
    for grouping in (Grouping(), Grouping(merge=False), Grouping(level=1), Grouping(level=2)):
        groups = groups_of(nodes, grouping)
        assert sorted(each.name for group in groups for each in group.nodes) == sorted(each.name for each in nodes)
        assert all(a.position < b.position for a, b in pairwise(groups))
        assert all(position < group.position for group in groups for position in group.inputs)
        drafts = drafts_of(groups, True, Optimizer.ADAM)
        checked(to_yaml(Document("g", drafts)))
        flops = sum(cost.flops for draft in drafts if isinstance(cost := draft.times[Pass.F], Work))
        assert flops == sum(each.flops for each in nodes)


def test_moved_bytes() -> None:
    weights, writes = {"w": Weight(100, 2, 20)}, {"y": 10.0}
    assert moved_bytes([6.0], weights, writes, view=False, lookup=False) == 216
    assert moved_bytes([6.0], weights, writes, view=False, lookup=True) == 20
    assert moved_bytes([6.0], weights, writes, view=True, lookup=False) == 0


def test_flops_of_operations() -> None:
    assert costs.matmul((5, 7, 3), (5, 7, 4)) == 2 * 5 * 7 * 4 * 3
    assert costs.convolution((8, 3, 5, 5), (2, 8, 10, 10)) == 2 * (2 * 8 * 100) * (3 * 25)
    assert costs.transposed_convolution((3, 8, 2, 2), (1, 3, 4, 4)) == 2 * 48 * 32
    assert costs.attention((2, 4, 16, 8), (2, 4, 32, 8), (2, 4, 32, 6), causal=False) == 2 * 128 * 32 * 14
    assert costs.attention((2, 4, 16, 8), (2, 4, 16, 8), (2, 4, 16, 8), causal=True) == 128 * 16 * 16
    assert costs.recurrent([(4, 32, 10), (4, 32, 8), (8,)], steps=6, batch=2) == 2 * 12 * (1280 + 1024)


@pytest.mark.parametrize(
    ("equation", "operands", "output", "flops"),
    [
        ("ij,jk->ik", [(2, 3), (3, 5)], (2, 5), 2 * 30),
        ("ij,jk", [(2, 3), (3, 5)], (2, 5), 2 * 30),
        ("bhid,bhjd->bhij", [(2, 4, 6, 8), (2, 4, 7, 8)], (2, 4, 6, 7), 2 * 2 * 4 * 6 * 7 * 8),
        ("...ij,...jk->...ik", [(9, 2, 3), (9, 3, 5)], (9, 2, 5), 2 * 9 * 30),
        ("ij,ij->", [(2, 3), (2, 3)], (), 2 * 6),
        ("ij->ji", [(2, 3)], (3, 2), 0),
    ],
)
def test_flops_of_einstein_sums(
    equation: str, operands: list[tuple[int, ...]], output: tuple[int, ...], flops: float
) -> None:
    assert costs.einsum(equation, operands, output) == flops


@pytest.mark.parametrize("package", ["onnx", "torch"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert main(["import", package, str(tmp_path / "model")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(
        f"planner: planner import {package} needs the package {package}: pip install 'parallelism-planner[{package}]' "
    )


@pytest.mark.parametrize("given", ["batch", "batch=", "batch=0", "batch=x", "=3", "batch=-1"])
def test_dimensions_have_a_name_and_a_size(given: str) -> None:
    with pytest.raises(UsageFault, match="--dim takes NAME=N"):
        sizes([given])


def test_dimensions_are_given_once() -> None:
    assert sizes(["a=3", "b=c=4"]) == {"a": 3, "b=c": 4}
    with pytest.raises(UsageFault, match="twice"):
        sizes(["a=3", "a=3"])
