"""Where stages may end: labels of layers and of their parts; without onnx or torch."""

from __future__ import annotations

import random
from pathlib import Path

import networkx as nx
import pytest

from planner.importers.document import OperatorDraft, checked, to_yaml
from planner.importers.tensors.cut import labels_of
from planner.importers.tensors.document import TensorFlags, tensor_document
from planner.importers.tensors.graph import Group, Grouping, TensorNode, drafts_of, groups_of
from planner.importers.transformer.setting import Cut, Optimizer


def node(name: str, reads: str, heavy: bool = True, path: str | None = None) -> TensorNode:
    """Writes one tensor of its own name; its module is what stands before the last dot, or ``path``."""
    module = name.rpartition(".")[0] if path is None else path
    parts = tuple(part for part in module.split(".") if part)
    return TensorNode(name, tuple(reads.split()), {name: 1.0}, flops=1.0 if heavy else 0.0, path=parts)


def labels(nodes: list[TensorNode], cut: Cut, grouping: Grouping | None = None) -> dict[str, str | None]:
    groups = groups_of(nodes, grouping or Grouping())
    drafts = drafts_of(groups, True, Optimizer.SGD, labels_of(groups, cut))
    return {draft.name: draft.colocate for draft in drafts}


TWO_LAYERS = [
    node("embed", "ids"),
    node("h.0.attn.qkv", "embed"),
    node("h.0.attn.out", "h.0.attn.qkv"),
    node("h.0.add", "h.0.attn.out embed", heavy=False),
    node("h.0.mlp.0.up", "h.0.add"),
    node("h.0.mlp.2.down", "h.0.mlp.0.up"),
    node("h.0.mix", "h.0.mlp.2.down"),
    node("h.1.norm", "h.0.mix", heavy=False),
    node("h.1.attn.qkv", "h.1.norm"),
    node("h.1.mlp.0.up", "h.1.attn.qkv"),
    node("head", "h.1.mlp.0.up"),
]


def test_layers_are_modules_whose_path_ends_in_an_index() -> None:
    """The outermost index counts: mlp.0 is no layer. What lies outside has no label."""
    assert labels(TWO_LAYERS, Cut.LAYER) == {
        "embed": None,
        "h.0.attn.qkv": "h.0",
        "h.0.attn.out": "h.0",
        "h.0.mlp.0.up": "h.0",
        "h.0.mlp.2.down": "h.0",
        "h.0.mix": "h.0",
        "h.1.attn.qkv": "h.1",
        "h.1.mlp.0.up": "h.1",
        "head": None,
    }


def test_parts_are_children_of_a_layer() -> None:
    """An operator of the layer itself has no label, nor has a part of one operator."""
    assert labels(TWO_LAYERS, Cut.PART) == {
        "embed": None,
        "h.0.attn.qkv": "h.0.attn",
        "h.0.attn.out": "h.0.attn",
        "h.0.mlp.0.up": "h.0.mlp",
        "h.0.mlp.2.down": "h.0.mlp",
        "h.0.mix": None,
        "h.1.attn.qkv": None,
        "h.1.mlp.0.up": None,
        "head": None,
    }


def test_operators_have_no_labels_by_default() -> None:
    assert set(labels(TWO_LAYERS, Cut.OPERATOR).values()) == {None}
    assert TensorFlags().cut is Cut.OPERATOR


def test_a_layer_that_is_one_module_is_taken_as_that_module() -> None:
    """The list of a T5 block: its items are the parts."""
    nodes = [
        node("block.0.layer.0.q", "ids"),
        node("block.0.layer.0.o", "block.0.layer.0.q"),
        node("block.0.layer.1.wi", "block.0.layer.0.o"),
        node("block.0.layer.1.wo", "block.0.layer.1.wi"),
    ]
    assert list(labels(nodes, Cut.PART).values()) == ["block.0.layer.0"] * 2 + ["block.0.layer.1"] * 2
    assert set(labels(nodes, Cut.LAYER).values()) == {"block.0"}


def test_a_module_that_is_left_and_entered_again_has_two_labels() -> None:
    """Both layers run twice, one after the other: as one label each, neither could come first."""
    nodes, last = [], "ids"
    for name in ("h.0.a", "h.0.b", "h.1.a", "h.1.b", "h.0.c", "h.0.d", "h.1.c", "h.1.d"):
        nodes.append(node(name, last))
        last = name
    assert list(labels(nodes, Cut.LAYER).values()) == [
        *("h.0", "h.0", "h.1", "h.1", "h.0_2", "h.0_2", "h.1_2", "h.1_2")
    ]


def test_what_only_stands_between_in_the_file_closes_no_cycle() -> None:
    """A mask made of the data after the first operator of a layer; two towers in turns."""
    mask = [node("h.0.a", "ids"), node("mask", "ids"), node("h.0.b", "h.0.a mask")]
    assert labels(mask, Cut.LAYER) == {"h.0.a": "h.0", "mask": None, "h.0.b": "h.0"}
    towers = [node("t.0.a", "ids"), node("v.0.a", "image"), node("t.0.b", "t.0.a"), node("v.0.b", "v.0.a")]
    assert list(labels(towers, Cut.LAYER).values()) == ["t.0", "v.0", "t.0", "v.0"]


def test_labels_that_would_wait_for_each_other_are_split() -> None:
    """No path leads from h.0 out and back to it, but one does once h.1 is contracted: h.0.a, h.1.a; h.1.b, h.0.b."""
    nodes = [node("h.0.a", "ids"), node("h.1.a", "h.0.a"), node("h.1.b", "ids"), node("h.0.b", "h.1.b")]
    nodes += [node("h.0.c", "h.0.b")]
    assert labels(nodes, Cut.LAYER) == {"h.0.a": None, "h.1.a": "h.1", "h.1.b": "h.1", "h.0.b": "h.0", "h.0.c": "h.0"}


def test_modules_by_level() -> None:
    """Operators are modules two deep, which are the layers; with three, the layer holds several."""
    assert set(labels(TWO_LAYERS, Cut.LAYER, Grouping(level=2)).values()) == {None}
    deep = labels(TWO_LAYERS, Cut.LAYER, Grouping(level=3))
    assert {name: label for name, label in deep.items() if label} == {
        **dict.fromkeys(("h.0.attn", "h.0", "h.0.mlp", "h.0_2"), "h.0"),
        **dict.fromkeys(("h.1", "h.1.attn", "h.1.mlp"), "h.1"),
    }


@pytest.mark.parametrize("seed", range(60))
def test_contracted_labels_close_no_cycle(seed: int) -> None:
    """Random graphs and modules: stages can end between any two labels, and the file is read."""
    draw = random.Random(seed)
    nodes: list[TensorNode] = []
    for i in range(draw.randint(2, 40)):
        reads = draw.sample([each.name for each in nodes], k=min(len(nodes), draw.randint(0, 3))) or ["ids"]
        path = ".".join(draw.choices("012ab", k=draw.randint(0, 3)))
        nodes.append(node(f"n{i}", " ".join(reads), heavy=draw.random() < 0.7, path=path))
    for cut in (Cut.LAYER, Cut.PART):
        for grouping in (Grouping(), Grouping(merge=False), Grouping(level=2)):
            groups = groups_of(nodes, grouping)
            found = labels_of(groups, cut)
            assert acyclic(groups, found)
            document = tensor_document(Path("m.onnx"), nodes, TensorFlags(grouping=grouping, cut=cut), "a model", [])
            checked(to_yaml(document))
            stated = [each.colocate for each in document.operators if isinstance(each, OperatorDraft)]
            assert stated == [found.get(group.position) for group in groups]


def acyclic(groups: list[Group], found: dict[int, str]) -> bool:
    def contracted(position: int) -> str | int:
        return found.get(position, position)

    graph = nx.DiGraph()
    for group in groups:
        own = contracted(group.position)
        graph.add_edges_from((contracted(each), own) for each in group.inputs if contracted(each) != own)
    return nx.is_directed_acyclic_graph(graph)


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (Cut.OPERATOR, "Stages may end after any operator (--cut operator)"),
        (
            Cut.PART,
            "Stages end between the children of a layer, such as attention and feed-forward part (--cut part): 2 ",
        ),
        (Cut.LAYER, "Stages end between layers (--cut layer): 2 modules"),
    ],
)
def test_the_comment_says_where_stages_end(cut: Cut, words: str) -> None:
    document = tensor_document(Path("m.onnx"), TWO_LAYERS, TensorFlags(cut=cut), "a model", [])
    assert words in document.header
    assert len(document.notes) == 1


def test_a_model_without_layers_is_told() -> None:
    flat = [node("a", "ids"), node("b", "a")]
    document = tensor_document(Path("m.onnx"), flat, TensorFlags(cut=Cut.LAYER), "a model", [])
    assert "no two of them are in one layer (a module whose path ends in an index)" in document.notes[1]
    assert document.notes[1] in document.header
