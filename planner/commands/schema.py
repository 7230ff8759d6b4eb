"""``planner schema``: the JSON Schema of a file format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from planner.commands.common import ExitCode, emit
from planner.files.schemas import schema


class FileFormat(StrEnum):
    """The file formats that have a schema."""

    graph = "graph"
    cluster = "cluster"
    plan = "plan"
    accelerator = "accelerator"


@dataclass(frozen=True)
class SchemaFlags:
    """Options of ``planner schema``."""

    name: Annotated[FileFormat, typer.Argument(metavar="graph|cluster|plan|accelerator", help="Which file format.")]


def run(flags: SchemaFlags) -> int:
    """Print the schema."""
    emit(json.dumps(_schema(flags.name), indent=2) + "\n")
    return ExitCode.DONE


def _schema(name: FileFormat) -> Mapping[str, Any]:
    if name is FileFormat.accelerator:
        from planner.costs.accelerator import accelerator_schema  # graphs and plans need no calibration

        return accelerator_schema()
    return schema(name.value)
