"""Shapes of all tensors of an ONNX model, node by node, with the values of small constants at hand.

Exporters compute the shapes that Reshape takes with separate nodes (Shape, Gather, Div, Concat, ...). ONNX's shape
inference over the whole graph gives up at some of them. Here all input sizes are known, so such nodes are evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from planner.files.errors import InputError, shown
from planner.importers.tensors.onnx_costs import LOOPS, Shape

SMALL = 4096  # most elements of a constant whose value is kept


@dataclass(frozen=True)
class Tensor:
    """Shape and element type of a tensor."""

    shape: Shape
    size: float  # bytes of an element
    floating: bool

    @property
    def bytes(self) -> float:
        """Bytes of the whole tensor."""
        return prod(self.shape) * self.size


def tensors_of(path: Path, model: Any) -> dict[str, Tensor]:
    """Every tensor whose shape is known. Raises ``InputError`` for nodes that do not fit their inputs."""
    return _Inference(path, model).run()


class _Inference:
    """One pass over the nodes, which ONNX requires to be in topological order."""

    def __init__(self, path: Path, model: Any) -> None:
        self.path, self.graph = path, model.graph
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.imports = list(model.opset_import)
        self.types: dict[str, Any] = {value.name: value.type for value in (*self.graph.value_info, *self.graph.input)}
        self.values: dict[str, Any] = {}
        for initializer in self.graph.initializer:
            self._keep(initializer)

    def run(self) -> dict[str, Tensor]:
        """Infer all types, and convert those whose shape is known."""
        for node in self.graph.node:
            if node.op_type in LOOPS:
                message = f"is a {node.op_type}, whose number of runs depends on the data: export the model without"
                raise InputError(self.path, None, _where(node), message)
            self._infer(node)
        return dict(self._known())

    def _keep(self, tensor: Any) -> None:
        """Keep a constant's type, and its value if it is small and in this file."""
        from onnx import TensorProto, helper

        self.types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        if prod(tensor.dims) <= SMALL and tensor.data_location != TensorProto.EXTERNAL:
            self.values[tensor.name] = tensor

    def _infer(self, node: Any) -> None:
        from onnx import defs, shape_inference

        version = self.opsets.get(node.domain, self.opsets.get("", 1))
        try:
            schema = defs.get_schema(node.op_type, version, node.domain)
        except defs.SchemaError:
            return  # an operator of another domain: the file may give its shapes
        reads = [name for name in node.input if name]
        if not all(name in self.types for name in reads):
            return
        values = {name: self.values[name] for name in reads if name in self.values}
        try:
            found = shape_inference.infer_node_outputs(
                schema, node, {name: self.types[name] for name in reads}, values, opset_imports=self.imports
            )
        except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
            reason = f"does not fit its inputs: {shown(str(error), 200)}"
            raise InputError(self.path, None, _where(node), reason) from None
        self.types.update({name: kind for name, kind in found.items() if _shape(kind) is not None})
        self._evaluate(node, reads)

    def _evaluate(self, node: Any, reads: list[str]) -> None:
        """Evaluate a node whose inputs are small constants, or that returns a shape."""
        from onnx import numpy_helper
        from onnx.reference import ReferenceEvaluator

        shape = _shape(self.types[reads[0]]) if reads else None
        if node.op_type in ("Shape", "Size") and shape is not None:
            import numpy as np

            feeds = {reads[0]: np.broadcast_to(np.int8(0), shape)}  # only its shape is read
        elif all(name in self.values for name in reads):
            feeds = {name: numpy_helper.to_array(self.values[name]) for name in reads}
        else:
            return
        made = [_shape(self.types.get(name)) for name in node.output if name]
        if any(shape is None or prod(shape) > SMALL for shape in made):
            return
        try:
            results = ReferenceEvaluator(node, opsets=self.opsets).run(None, feeds)
        except Exception:  # the value stays unknown; an error follows only if a shape depends on it
            return
        for name, result in zip(node.output, results, strict=False):
            if name and hasattr(result, "dtype"):
                self._keep(numpy_helper.from_array(result, name))

    def _known(self) -> Iterator[tuple[str, Tensor]]:
        for name, kind in self.types.items():
            shape = _shape(kind)
            if shape is not None:
                yield name, _tensor(shape, kind.tensor_type.elem_type)


def _shape(kind: Any) -> Shape | None:
    """The shape of a tensor type, None if a size is open."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return tuple(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None


def _tensor(shape: Shape, element: int) -> Tensor:
    from onnx import TensorProto, helper

    name = TensorProto.DataType.Name(element)
    if name in ("STRING", "UNDEFINED"):
        return Tensor(shape, 0, False)
    size = 0.5 if name in ("INT4", "UINT4", "FLOAT4E2M1") else helper.tensor_dtype_to_np_dtype(element).itemsize
    return Tensor(shape, size, "FLOAT" in name or name == "DOUBLE")


def _where(node: Any) -> str:
    return f"node {shown(node.name or node.op_type)}"
