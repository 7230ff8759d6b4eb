"""``planner schema``: the JSON Schema of a file format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from planner.commands.common import ExitCode, emit
from planner.files.schemas import schema


class FileFormat(StrEnum):
    """The file formats that have a schema."""

    graph = "graph"
    cluster = "cluster"
    plan = "plan"


@dataclass(frozen=True)
class SchemaFlags:
    """Options of ``planner schema``."""

    name: Annotated[FileFormat, typer.Argument(metavar="graph|cluster|plan", help="Which file format.")]


def run(flags: SchemaFlags) -> int:
    """Print the schema."""
    emit(json.dumps(schema(flags.name.value), indent=2) + "\n")
    return ExitCode.DONE
