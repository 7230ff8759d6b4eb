"""The interface of an importer: its options, and a reader that makes the text of a graph.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from planner.importers.document import Document, to_yaml


@dataclass(frozen=True)
class Imported:
    """The text of a graph.yaml, notes for the user, and texts for the options marked ``AlsoWritten``, by field."""

    text: str
    notes: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(document: Document, **beside: str) -> Imported:
        """The text and notes of a document."""
        return Imported(to_yaml(document), document.notes, beside)


@dataclass(frozen=True)
class AlsoWritten:
    """Marks an option that names a second file to write; ``what``: its content, in words."""

    what: str


class Importer(Protocol):
    """A format of ``planner import NAME``."""

    @property
    def name(self) -> str:
        """The name of the command."""

    @property
    def help(self) -> str:
        """Its line of help."""

    @property
    def flags(self) -> type[Any]:
        """A dataclass of its options; ``--output`` and ``--quiet`` are added.

        A field is ``Annotated[type, typer.Option(...)]`` or ``typer.Argument``. The first field is the file to read.
        """

    def read(self, flags: Any) -> Imported:
        """The graph for an instance of the dataclass; raises ``InputError`` and ``UsageFault``."""
