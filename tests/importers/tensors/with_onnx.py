"""``planner import onnx`` on models built here. Needs the package onnx: .ci/run calls this file on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from planner.commands.app import main
from planner.files import read_cluster, read_graph
from planner.objectives.baseline import baseline_plan
from planner.problem import PASS_ORDER, Graph, Mode, Operator, Pass, Problem, Work

CLUSTER = Path(__file__).resolve().parents[3] / "configs" / "clusters" / "h100-8.yaml"
Sizes = Sequence[int | str]


def weight(name: str, *shape: int, dtype: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.zeros(shape, dtype), name)


def constant(name: str, *values: int) -> Any:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def model(
    nodes: Sequence[Any],
    inputs: dict[str, Sizes],
    weights: Sequence[Any] = (),
    output: str = "y",
    opsets: Sequence[tuple[str, int]] = (("", 20),),
    kind: int = TensorProto.FLOAT,
) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.UNDEFINED, None)],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*each) for each in opsets], ir_version=10)


def run(path: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    code = main(["import", "onnx", str(path), "-o", str(path.with_suffix(".yaml")), *flags])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def graph_of(made: Any, folder: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> Graph:
    path = folder / "model.onnx"
    onnx.save(made, str(path))
    code, err = run(path, capsys, *flags)
    assert code == 0, err
    return read_graph(path.with_suffix(".yaml"))


def flops(operator: Operator, which: Pass = Pass.F) -> float:
    cost = operator.times[which]
    assert isinstance(cost, Work)
    return cost.flops


def one(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    node: Any,
    inputs: dict[str, Sizes],
    weights: Sequence[Any] = (),
    **more: Any,
) -> Operator:
    (operator,) = graph_of(model([node], inputs, weights, **more), folder, capsys).operators
    return operator


def test_a_product_with_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FLOP, bytes, parameters and passes by hand; the bias joins the product."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="/layers.0/up/MatMul"),
        helper.make_node("Add", ["h", "b"], ["a"], name="/layers.0/up/Add"),
        helper.make_node("Gelu", ["a"], ["g"], name="/layers.0/act/Gelu"),
        helper.make_node("MatMul", ["g", "v"], ["y"], name="/layers.0/down/MatMul"),
    ]
    made = model(nodes, {"x": (2, 16, 8)}, [weight("w", 8, 32), weight("b", 32), weight("v", 32, 8)])
    up, down = graph_of(made, tmp_path, capsys).operators
    assert (up.name, down.name) == ("layers.0.up.MatMul", "layers.0.down.MatMul")
    assert down.inputs == (up.name,)
    assert [flops(up, p) for p in (Pass.F, Pass.I, Pass.W)] == [2 * 32 * 8 * 32, 0, 2 * 32 * 8 * 32]
    assert [flops(down, p) for p in PASS_ORDER] == [2 * 32 * 32 * 8] * 3
    assert up.parameters == (8 * 32 + 32) * 16  # FP32: weight, gradient, two moments
    assert up.activation == 3 * 32 * 32 * 4
    assert up.output == 32 * 32 * 4
    assert down.times[Pass.F] == Work(2 * 32 * 32 * 8, 4 * (32 * 32 + 32 * 8 + 32 * 8))


def test_convolutions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], group=2)
    found = one(tmp_path, capsys, conv, {"x": (1, 4, 9, 9)}, [weight("w", 6, 2, 3, 3)])
    assert flops(found) == 2 * (6 * 4 * 4) * (2 * 9)
    back = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    found = one(tmp_path, capsys, back, {"x": (1, 4, 5, 5)}, [weight("w", 4, 6, 2, 2)])
    assert flops(found) == 2 * (4 * 25) * (6 * 4)


def test_other_products(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], transA=1, transB=1)
    assert flops(one(tmp_path, capsys, gemm, {"x": (3, 5)}, [weight("w", 7, 3)])) == 2 * 5 * 7 * 3
    einsum = helper.make_node("Einsum", ["x", "z"], ["y"], equation="bid,bjd->bij")
    assert flops(one(tmp_path, capsys, einsum, {"x": (2, 3, 4), "z": (2, 5, 4)})) == 2 * 2 * 3 * 5 * 4
    lstm = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=6)
    found = one(tmp_path, capsys, lstm, {"x": (9, 2, 5)}, [weight("w", 1, 24, 5), weight("r", 1, 24, 6)])
    assert flops(found) == 2 * 18 * 24 * 11


def test_attention_with_heads_apart_and_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opset = {"opsets": (("", 23),)}
    apart = helper.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=1)
    sizes = dict.fromkeys("qkv", (2, 4, 16, 8))
    assert flops(one(tmp_path, capsys, apart, sizes, **opset)) == 2 * 2 * 4 * 16 * 16 * 16 / 2
    beside = helper.make_node("Attention", ["q", "k", "v"], ["y"], q_num_heads=4, kv_num_heads=2)
    wide = {"q": (2, 16, 32), "k": (2, 20, 16), "v": (2, 20, 16)}
    assert flops(one(tmp_path, capsys, beside, wide, **opset)) == 2 * 2 * 4 * 16 * 20 * 16


def test_what_is_made_of_weights_alone_is_folded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A transposed weight is still that weight; integers that say where to look are none."""
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"]),
        helper.make_node("Transpose", ["table"], ["t"]),
        helper.make_node("MatMul", ["e", "t"], ["y"]),
    ]
    made = model(nodes, {"x": (2, 16)}, [weight("table", 100, 8)], kind=TensorProto.INT64)
    gather, product = graph_of(made, tmp_path, capsys, "--optimizer", "sgd").operators
    assert gather.parameters == product.parameters == 100 * 8 * 8  # tied: a copy at each
    assert flops(product) == 2 * 32 * 8 * 100
    assert gather.times[Pass.F] == Work(0, 2 * 32 * 8 * 4)  # rows, not the table
    assert gather.times[Pass.W] == Work(0, 2 * 32 * 8 * 4)


def test_weights_in_constant_nodes_and_in_integers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A Constant node may hold a matrix; integers are weights where they are dequantized, and are not trained."""
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight("", 8, 16)),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["v"]),
        helper.make_node("MatMul", ["h", "v"], ["y"]),
    ]
    integers = numpy_helper.from_array(np.zeros((16, 32), np.int8), "q")
    made = model(nodes, {"x": (4, 8)}, [integers, weight("scale")])
    first, second = graph_of(made, tmp_path, capsys, "--optimizer", "sgd").operators
    assert first.parameters == 8 * 16 * 8
    assert second.parameters == 16 * 32 + 8
    assert flops(second) == 2 * 4 * 16 * 32


def reshaping() -> Any:
    """Heads as an exporter splits them: their width is computed from the shape, with a division."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Shape", ["h"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["batch"]),
        helper.make_node("Gather", ["s", "two"], ["width"]),
        helper.make_node("Div", ["width", "heads"], ["each"]),
        helper.make_node("Concat", ["batch", "rest", "heads", "each"], ["target"], axis=0),
        helper.make_node("Reshape", ["h", "target"], ["r"]),
        helper.make_node("Transpose", ["r"], ["a"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["r"], ["b"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["a", "b"], ["y"]),
    ]
    constants = [constant("zero", 0), constant("two", 2), constant("heads", 4), constant("rest", -1)]
    return model(nodes, {"x": ("batch", "tokens", 8)}, [weight("w", 8, 32), *constants])


def test_shapes_that_nodes_compute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = graph_of(reshaping(), tmp_path, capsys, "--dim", "batch=3", "--dim", "tokens=16")
    first, second = graph.operators
    assert flops(first) == 2 * 48 * 8 * 32
    assert flops(second) == 2 * (3 * 4 * 16 * 16) * 8
    assert second.parameters == 0
    assert Pass.W not in second.times
    assert first.output == 2 * 48 * 32 * 4  # both transposed views of it


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "input x: has open sizes: give --dim batch=N --dim tokens=N"),
        (["--dim", "batch=2"], "give --dim tokens=N"),
        (["--dim", "batch=2", "--dim", "tokens=4", "--dim", "width=4"], "no input has an open dimension width"),
    ],
)
def test_open_dimensions(flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(reshaping(), str(path))
    code, err = run(path, capsys, *flags)
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1
    assert not path.with_suffix(".yaml").exists()


def wrong_shapes() -> Any:
    return model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (2, 3)}, [weight("w", 4, 5)])


def unknown_operator() -> Any:
    nodes = [helper.make_node("Foo", ["x"], ["h"], domain="my.own", name="foo"), helper.make_node("Relu", ["h"], ["y"])]
    return model(nodes, {"x": (2, 3)}, opsets=(("", 20), ("my.own", 1)))


def branch() -> Any:
    inside = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["o"])], "i", [], [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)]
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], name="maybe", then_branch=inside, else_branch=inside),
    ]
    return model(nodes, {"x": (2, 3)})


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (wrong_shapes, "node 'MatMul': does not fit its inputs"),
        (unknown_operator, "node 'foo': the shape of tensor 'h' is not known"),
        (branch, "node 'maybe': is a If, whose number of runs depends on the data"),
    ],
)
def test_models_that_cannot_be_counted(
    made: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(made(), str(path))
    code, err = run(path, capsys)
    assert code == 2
    assert f"{path}: {words}" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("ending", ["onnx", "json", "textproto"])  # onnx picks its reader by it
@pytest.mark.parametrize("content", [b"", b"no model", bytes(range(256))])
def test_files_that_are_no_models(
    content: bytes, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"model.{ending}"
    path.write_bytes(content)
    code, err = run(path, capsys)
    assert code == 2
    assert str(path) in err
    assert len(err.splitlines()) == 1


def test_weights_in_a_file_of_their_own_need_not_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (2, 64)}, [weight("w", 64, 64)])
    path = tmp_path / "model.onnx"
    onnx.save(made, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    assert run(path, capsys, "--mode", "inference")[0] == 0
    (operator,) = read_graph(path.with_suffix(".yaml")).operators
    assert operator.parameters == 64 * 64 * 4


def deep() -> Any:
    nodes, weights, last = [], [], "x"
    for i in range(8):
        nodes += [
            helper.make_node("MatMul", [last, f"w{i}"], [f"h{i}"], name=f"/layers.{i}/fc/MatMul"),
            helper.make_node("Relu", [f"h{i}"], [f"r{i}"], name=f"/layers.{i}/Relu"),
            helper.make_node("Add", [f"r{i}", last], [f"a{i}"], name=f"/layers.{i}/Add"),
        ]
        weights.append(weight(f"w{i}", 512, 512))
        last = f"a{i}"
    return model(nodes, {"x": (64, 512)}, weights, output=last)


def test_modules_are_operators_and_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = graph_of(deep(), tmp_path, capsys, "--level", "2", "--microbatches", "8", "--name", "deep")
    assert graph.name == "deep"
    assert [operator.name for operator in graph.operators] == [f"layers.{i}" for i in range(8)]
    assert all(flops(operator) == 2 * 64 * 512 * 512 for operator in graph.operators)
    problem = Problem(graph, read_cluster(CLUSTER), 8)
    assert baseline_plan("1f1b", problem).makespan > 0


def test_inference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = graph_of(deep(), tmp_path, capsys, "--mode", "inference", "--no-merge")
    assert graph.mode is Mode.INFERENCE
    assert len(graph.operators) == 24
    assert all(operator.times.keys() == {Pass.F} for operator in graph.operators)


def of_layers() -> Any:
    """Eight layers of two products each, named as torch's exporter names nodes."""
    nodes, weights, last = [], [], "x"
    for i in range(8):
        for k, part in enumerate(("attn/qkv", "attn/out", "mlp/up", "mlp/down")):
            nodes.append(helper.make_node("MatMul", [last, f"w{i}{k}"], [f"h{i}{k}"], name=f"/h.{i}/{part}/MatMul"))
            weights.append(weight(f"w{i}{k}", 512, 512))
            last = f"h{i}{k}"
    return model(nodes, {"x": (64, 512)}, weights, output=last)


@pytest.mark.parametrize(("cut", "count"), [("layer", 8), ("part", 16)])
@pytest.mark.parametrize("stages", [2, 4])
def test_stages_end_between_modules(
    cut: str, count: int, stages: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each label lies on one device, and there are still as many stages as devices."""
    graph = graph_of(of_layers(), tmp_path, capsys, "--cut", cut)
    together: dict[str, list[str]] = {}
    for operator in graph.operators:
        together.setdefault(str(operator.colocate), []).append(operator.name)
    assert len(together) == count
    assert together["h.1" if cut == "layer" else "h.1.mlp"][-2:] == ["h.1.mlp.up.MatMul", "h.1.mlp.down.MatMul"]
    cluster = read_cluster(CLUSTER)
    few = replace(cluster, devices=cluster.devices[:stages])
    plan = baseline_plan("1f1b", Problem(graph, few, 8))
    device_of = {placed.operator: placed.device for placed in plan.placement}
    assert all(len({device_of[name] for name in names}) == 1 for names in together.values())
    assert sorted(list(device_of.values()).count(device.name) for device in few.devices) == [32 // stages] * stages


def test_modules_of_the_exporters_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nodes have no telling names, torch's exporter names their modules in the metadata."""
    made = of_layers()
    for number, node in enumerate(made.graph.node):
        i, part = divmod(number, 4)
        scopes = ["", "h", f"h.{i}", f"h.{i}.{('attn', 'attn', 'mlp', 'mlp')[part]}", "matmul"]
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(scopes))
        node.name = f"node_MatMul_{number}"
    graph = graph_of(made, tmp_path, capsys, "--cut", "part")
    assert [operator.colocate for operator in graph.operators[:4]] == ["h.0.attn", "h.0.attn", "h.0.mlp", "h.0.mlp"]
