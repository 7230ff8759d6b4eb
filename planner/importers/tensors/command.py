"""``planner import onnx`` and ``torch``: readers of single operations with their shapes, with the same options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.common.messages import shown
from planner.files.flag_values import UsageFault
from planner.importers import flags as options
from planner.importers.extras import need
from planner.importers.importer import Imported
from planner.importers.tensors.document import TensorFlags
from planner.importers.tensors.graph import Grouping
from planner.importers.transformer.setting import Cut, Optimizer
from planner.problem.graph import Mode


@dataclass(frozen=True)
class ModelFlags:
    """Options of both commands."""

    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The model's file.")]
    name: options.Name = None
    mode: options.ModeOption = Mode.TRAINING
    microbatches: options.Microbatches = 16
    dim: Annotated[
        list[str] | None, typer.Option("--dim", metavar="NAME=N", help="Size of an open dimension; repeatable.")
    ] = None
    level: Annotated[
        int | None,
        typer.Option(min=1, max=100, metavar="N", help="Operators are modules, N deep.  [default: heavy nodes]"),
    ] = None
    merge: Annotated[
        bool, typer.Option("--merge/--no-merge", help="Nodes without FLOP join their inputs' operator.")
    ] = True
    cut: Annotated[
        Cut, typer.Option(help="Where stages may end: anywhere, between the children of a layer, or layers.")
    ] = Cut.OPERATOR
    optimizer: options.OptimizerOption = Optimizer.ADAM_FP32_MASTER

    def checked(self) -> TensorFlags:
        """The options that shape the graph, as the reader takes them."""
        if self.level is not None and not self.merge:
            raise UsageFault("--level and --no-merge exclude each other: give one")
        training = self.mode is Mode.TRAINING
        grouping = Grouping(self.level, self.merge)
        return TensorFlags(training, self.microbatches, self.optimizer, grouping, self.name, self.cut)


class Onnx:
    """The importer of ONNX models."""

    name = "onnx"
    help = "The operator graph of an ONNX model. Needs the package onnx."
    flags = ModelFlags

    def read(self, flags: ModelFlags) -> Imported:
        """The graph of the model."""
        need("onnx", "planner import onnx")
        from planner.importers.tensors.onnx_model import onnx_document

        return Imported.of(onnx_document(flags.model, flags.checked(), sizes(flags.dim or ())))


class Torch:
    """The importer of torch.export programs."""

    name = "torch"
    help = (
        "The operator graph of a torch.export program, as torch.export.save wrote it (.pt2). Needs the package torch; "
        "load only files that you trust."
    )
    flags = ModelFlags

    def read(self, flags: ModelFlags) -> Imported:
        """The graph of the program."""
        need("torch", "planner import torch")
        from planner.importers.tensors.torch_program import torch_document

        return Imported.of(torch_document(flags.model, flags.checked(), sizes(flags.dim or ())))


def sizes(given: Sequence[str]) -> dict[str, int]:
    """``--dim batch=8`` as a size by name."""
    found: dict[str, int] = {}
    for text in given:
        name, _, size = text.rpartition("=")
        if not name or not size.isascii() or not size.isdigit() or not 0 < int(size) <= 10**9:
            raise UsageFault(f"--dim takes NAME=N with a whole number from 1, such as batch=8 (got {shown(text)})")
        if name in found:
            raise UsageFault(f"--dim {name} is given twice")
        found[name] = int(size)
    return found
