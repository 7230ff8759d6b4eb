"""``planner import torch``: a program saved by ``torch.export.save`` as an operator graph. Needs torch (an extra)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from planner.files.errors import InputError, listed, shown
from planner.files.reading import present
from planner.importers.document import Document
from planner.importers.tensors.document import TensorFlags, tensor_document
from planner.importers.tensors.graph import TensorNode, Weight, moved_bytes
from planner.importers.tensors.torch_costs import FLOPS, LOOKUPS, VIEWS, Call, Shape


def torch_document(path: Path, flags: TensorFlags, dims: Mapping[str, int]) -> Document:
    """The graph of the program in ``path``; ``dims``: sizes of dynamic dimensions by name, else its example's hold.

    Raises ``InputError`` for a file that is no exported program, for dimensions that it does not have, and for
    operators with graphs inside; ``ImportError`` where torch is not installed.
    """
    program = _load(path)
    reader = _Reader(path, program, dims)
    nodes = list(reader.nodes())
    unknown = set(dims) - set(reader.dynamic)
    if unknown:
        known = f"there are {listed(sorted(reader.dynamic))}" if reader.dynamic else "all sizes are fixed"
        raise InputError(path, None, None, f"no dynamic dimension is called {listed(sorted(unknown))}: {known}")
    sizes = ", ".join(f"{name} = {size}" for name, size in sorted(reader.dynamic.items()))
    return tensor_document(
        path, nodes, flags, "a torch.export program", [f"Dynamic sizes: {sizes} (--dim)."] if sizes else []
    )


def _load(path: Path) -> Any:
    import torch

    present(path, "what torch.export.save wrote")
    # torch logs tracebacks before it raises; the error is enough.
    log = logging.getLogger("torch")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        return torch.export.load(str(path))
    except Exception as error:  # the archive reader, pickle and the schema check raise various types
        reason = str(error).split("\n", maxsplit=1)[0].split(". Please")[0] or type(error).__name__
        message = f"torch {torch.__version__} cannot load it ({shown(reason, 200)}): give what torch.export.save wrote"
        raise InputError(path, None, None, message) from None
    finally:
        log.setLevel(level)


class _Reader:
    """Goes through the nodes of one program in order."""

    def __init__(self, path: Path, program: Any, dims: Mapping[str, int]) -> None:
        self.path, self.graph, self.dims = path, program.graph, dims
        self.dynamic: dict[str, int] = {}
        signature = program.graph_signature
        self.parameters: Mapping[str, str] = signature.inputs_to_parameters
        fixed = {**self.parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
        # By constant node: the weights that it depends on.
        self.constant: dict[str, dict[str, Weight]] = {}
        for node in self.graph.nodes:
            if node.op == "placeholder" and node.name in fixed:
                self.constant[node.name] = {fixed[node.name]: self._weight(node)}
            elif node.op == "get_attr":
                self.constant[node.name] = {}

    def nodes(self) -> Iterator[TensorNode]:
        """The nodes that compute on a microbatch. Constants are folded: their readers get the weights behind them."""
        for node in self.graph.nodes:
            if node.op != "call_function":
                continue
            sources = list(node.all_input_nodes)
            value = node.meta.get("val")
            if not self._tensors(value):
                self.constant[node.name] = {}  # sizes and other numbers
            elif all(source.name in self.constant for source in sources):
                self.constant[node.name] = {k: w for s in sources for k, w in self.constant[s.name].items()}
            else:
                yield self._node(node, sources, value)

    def _node(self, node: Any, sources: list[Any], value: Any) -> TensorNode:
        kind = _kind(node)
        if not hasattr(node.target, "_schema") and kind != "getitem":
            what = f"node {shown(node.name)}"
            raise InputError(self.path, None, what, f"calls {shown(kind)}, whose graph inside cannot be counted")
        weights = {k: w for source in sources for k, w in self.constant.get(source.name, {}).items()}
        view = kind in VIEWS or bool(getattr(node.target, "is_view", False))
        lookup = kind in LOOKUPS
        writes = {node.name: sum(self._bytes(tensor) for tensor in self._tensors(value))}
        read = [source for source in sources if source.name not in self.constant]
        moved = [sum(self._bytes(tensor) for tensor in self._tensors(source.meta.get("val"))) for source in read]
        path, name = _module(node, kind)
        return TensorNode(
            name=name,
            reads=tuple(source.name for source in read),
            writes=writes,
            view=view,
            lookup=lookup,
            weights=weights,
            flops=self._flops(node, kind, value),
            moved=moved_bytes(moved, weights, writes, view, lookup),
            path=path,
        )

    def _flops(self, node: Any, kind: str, value: Any) -> float:
        formula = FLOPS.get(kind)
        if formula is None or node.target.namespace != "aten":
            return 0.0
        names = [argument.name for argument in node.target._schema.arguments]
        call = Call(
            names,
            [self._argument(a) for a in node.args],
            {k: self._argument(a) for k, a in node.kwargs.items()},
            self._shape(self._tensors(value)[0]),
        )
        try:
            return formula(call)
        except (IndexError, KeyError, ValueError):
            raise InputError(self.path, None, f"node {shown(node.name)}", f"{kind} cannot be counted") from None

    def _argument(self, argument: Any) -> Any:
        """Tensors and lists of tensors as shapes; all else unchanged."""
        if isinstance(argument, list | tuple):
            return [self._argument(each) for each in argument]
        found = self._tensors(argument.meta.get("val")) if hasattr(argument, "meta") else []
        return self._shape(found[0]) if found else argument

    def _weight(self, node: Any) -> Weight:
        value = node.meta["val"]
        if not self._tensors(value):
            return Weight(0, 0, trained=False)
        shape = self._shape(value)
        trained = node.name in self.parameters and value.dtype.is_floating_point
        return Weight(prod(shape), value.element_size(), sum(shape) if len(shape) > 1 else 0, trained)

    def _tensors(self, value: Any) -> list[Any]:
        """The tensors in the value of a node."""
        if isinstance(value, list | tuple):
            return [tensor for each in value for tensor in self._tensors(each)]
        return [value] if hasattr(value, "shape") and hasattr(value, "element_size") else []

    def _bytes(self, tensor: Any) -> float:
        return float(prod(self._shape(tensor)) * tensor.element_size())

    def _shape(self, tensor: Any) -> Shape:
        return tuple(size if isinstance(size, int) else self._size(size) for size in tensor.shape)

    def _size(self, size: Any) -> int:
        """A dynamic size, from ``--dim`` or from the example that the program was exported with."""
        expression = size.node.expr
        values = {}
        for symbol in expression.free_symbols:
            name = str(symbol)
            value = self.dims.get(name, _example(size, symbol))
            if value is None:
                raise InputError(
                    self.path, None, None, f"the size of dimension {name} is not known: give --dim {name}=N"
                )
            self.dynamic[name] = int(value)
            values[symbol] = int(value)
        return int(expression.subs(values))


def _example(size: Any, symbol: Any) -> Any:
    """The symbol's value in the example, None if unknown; the attribute that holds it depends on torch's version."""
    if size.node.expr == symbol and size.node.has_hint():
        return size.node.hint
    for attribute in ("backed_var_to_val", "var_to_val"):
        value = getattr(size.node.shape_env, attribute, {}).get(symbol)
        if value is not None:
            return value
    return None


def _kind(node: Any) -> str:
    """The operator's name without namespace and overload."""
    target = node.target
    return str(getattr(target, "_opname", None) or getattr(target, "__name__", target))


def _module(node: Any, kind: str) -> tuple[tuple[str, ...], str]:
    """The path of the module that a node belongs to, and the node's name: the path of a module of torch's own, else
    path and kind."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path, cls = (str(stack[-1][0]), str(stack[-1][1])) if stack else ("", "")
    if path.startswith("_empty"):
        path = ""
    parts = tuple(part for part in path.split(".") if part)
    if not parts:
        return (), kind
    return parts, path if cls.startswith("torch.nn.") or "torch.nn.modules" in cls else f"{path}.{kind}"
