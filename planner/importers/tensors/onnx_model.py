"""``planner import onnx``: an ONNX model as an operator graph. Shapes come from the ``onnx`` package (an extra)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from planner.files.errors import InputError, listed, shown
from planner.files.reading import present
from planner.importers.document import Document
from planner.importers.tensors.document import TensorFlags, tensor_document
from planner.importers.tensors.graph import TensorNode, Weight, moved_bytes
from planner.importers.tensors.onnx_costs import FLOPS, QUANTIZED, VIEWS, Call
from planner.importers.tensors.onnx_shapes import Tensor, tensors_of


def onnx_document(path: Path, flags: TensorFlags, dims: Mapping[str, int]) -> Document:
    """The graph of the model in ``path``; ``dims``: sizes of its open dimensions by name.

    Raises ``InputError`` for a file that is no model, for dimensions or shapes that stay open, and for nodes with
    graphs inside; ``ImportError`` where onnx is not installed.
    """
    model = _load(path)
    _fix_dimensions(path, model, dims)
    nodes = _nodes(path, model.graph, tensors_of(path, model))
    return tensor_document(path, nodes, flags, "an ONNX model", [])


def _load(path: Path) -> Any:
    """The model with its functions inlined; weights in separate files are not loaded, since shapes are enough."""
    import onnx

    present(path, "an ONNX model")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise InputError(path, None, None, f"cannot be read: {error.strerror or error}") from None
    except Exception as error:  # from protobuf's readers: binary, JSON or text by the file's name
        raise InputError(path, None, None, f"is no ONNX model: {shown(str(error), 120)}") from None
    if not model.graph.node:
        raise InputError(path, None, "graph.node", "is empty: this is no ONNX model, or one that computes nothing")
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    return model


def _fix_dimensions(path: Path, model: Any, dims: Mapping[str, int]) -> None:
    """Give every named dimension of the inputs its size."""
    initializers = {initializer.name for initializer in model.graph.initializer}
    open_dims: dict[str, str] = {}
    used: set[str] = set()
    for value in model.graph.input:
        if value.name in initializers:
            continue
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            name = dim.dim_param or f"{value.name}.{axis}"
            if dim.HasField("dim_value") and dim.dim_value > 0:
                continue
            if name in dims:
                used.add(name)
                dim.dim_value = dims[name]
            else:
                open_dims[name] = value.name
    if open_dims:
        flags = " ".join(f"--dim {name}=N" for name in open_dims)
        raise InputError(
            path, None, f"input {listed(dict.fromkeys(open_dims.values()))}", f"has open sizes: give {flags}"
        )
    unknown = set(dims) - used
    if unknown:
        raise InputError(path, None, None, f"no input has an open dimension {listed(sorted(unknown))} (see --dim)")
    if used:
        del model.graph.value_info[:]  # they hold shapes for other sizes


def _nodes(path: Path, graph: Any, tensors: Mapping[str, Tensor]) -> list[TensorNode]:
    """The nodes that compute on a microbatch. Constants are folded: their readers get the weights behind them."""
    # By constant tensor: the weights among the initializers that it depends on.
    weights = _weights(graph, tensors)
    constant: dict[str, tuple[str, ...]] = {
        initializer.name: (initializer.name,) if initializer.name in weights else ()
        for initializer in graph.initializer
    }
    found = []
    for number, node in enumerate(graph.node):
        reads = [name for name in node.input if name]
        if node.op_type == "Constant":
            constant.update((name, (name,) if name in weights else ()) for name in node.output)
            continue
        if node.op_type in ("Shape", "Size") or all(name in constant for name in reads):
            sources = [] if node.op_type in ("Shape", "Size") else reads
            made_of = tuple(dict.fromkeys(source for name in sources for source in constant[name]))
            constant.update((name, made_of) for name in node.output if name)
            continue
        held = {k: weights[k] for read in reads if read in constant for k in constant[read]}
        moving = tuple(read for read in reads if read not in constant)
        found.append(_node(path, node, number, tensors, moving, held))
    return found


def _weights(graph: Any, tensors: Mapping[str, Tensor]) -> dict[str, Weight]:
    """Constants that are weights: floating-point ones, and integers that are read as quantized numbers."""
    quantized = {name for node in graph.node if node.op_type in QUANTIZED for name in node.input}
    names = [initializer.name for initializer in graph.initializer]
    names += [name for node in graph.node if node.op_type == "Constant" for name in node.output]
    return {
        name: _weight(tensors[name])
        for name in names
        if name in tensors and (tensors[name].floating or name in quantized)
    }


def _node(
    path: Path,
    node: Any,
    number: int,
    tensors: Mapping[str, Tensor],
    reads: tuple[str, ...],
    weights: Mapping[str, Weight],
) -> TensorNode:
    name = node.name.strip("/").replace("/", ".") or f"{node.op_type}_{number}"
    outputs = [output for output in node.output if output]
    for tensor in (*reads, *outputs):
        if tensor not in tensors:
            raise InputError(
                path,
                None,
                f"node {shown(name)}",
                f"the shape of tensor {shown(tensor)} is not known: export the model with fixed sizes",
            )
    view, lookup = node.op_type in VIEWS and not node.domain, node.op_type.startswith("Gather")
    writes = {output: tensors[output].bytes for output in outputs}
    return TensorNode(
        name=name,
        reads=reads,
        writes=writes,
        view=view,
        lookup=lookup,
        weights=weights,
        flops=_flops(path, node, name, tensors),
        moved=moved_bytes([tensors[read].bytes for read in reads], weights, writes, view, lookup),
        path=_module(node, name),
    )


def _module(node: Any, name: str) -> tuple[str, ...]:
    """The path of the module that a node belongs to: from torch's metadata, else from the node's name."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = re.findall(r"'([^']*)'", entry.value)
            return tuple(scopes[-2].split(".")) if len(scopes) > 1 and scopes[-2] else ()
    return tuple(name.split("."))[:-1]


def _weight(tensor: Tensor) -> Weight:
    sides = sum(tensor.shape) if len(tensor.shape) > 1 else 0
    return Weight(prod(tensor.shape), tensor.size, sides, trained=tensor.floating)


def _flops(path: Path, node: Any, name: str, tensors: Mapping[str, Tensor]) -> float:
    formula = FLOPS.get((node.domain if node.domain != "ai.onnx" else "", node.op_type))
    if formula is None:
        return 0.0
    from onnx import helper

    call = Call(
        [tensors[source].shape if source in tensors else None for source in node.input],
        [tensors[output].shape for output in node.output if output],
        {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
    )
    try:
        return formula(call)
    except (IndexError, KeyError, ValueError, ZeroDivisionError):
        shapes: Sequence[object] = [list(shape) if shape is not None else None for shape in call.inputs]
        raise InputError(path, None, f"node {shown(name)}", f"{node.op_type} of {shapes} cannot be counted") from None
