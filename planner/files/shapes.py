"""Shapes of data: each reads a value, with errors that name line and field, and states its JSON Schema.

A file format is declared once, as a tree of these; ``read`` and ``schema`` cannot drift apart.
Errors come in the file's order: a mapping is read key by key, then its missing keys are reported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from planner.files.errors import InputError, did_you_mean, listed, shown
from planner.files.yaml_source import Map, Seq, field_path
from planner.problem.quantities import LARGEST, Dimension, QuantityError, parse_quantity

T = TypeVar("T")
Schema = dict[str, Any]
Definitions = dict[str, Any]

LONGEST_NAME = 256
_NOT_IN_NAMES = "[\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a value in a file, for messages."""

    path: Path
    line: int
    parent: Place | None = None
    step: str | int = ""

    def key(self, mapping: Map, key: str) -> Place:
        """The place of a key of the mapping here, or of the mapping if the key is missing."""
        return Place(self.path, mapping.lines.get(key, self.line), self, key)

    def item(self, items: Seq, index: int) -> Place:
        """The place of an item of the list here."""
        return Place(self.path, items.lines[index], self, index)

    @property
    def field(self) -> str | None:
        """``operators[3].time.forward``."""
        steps: list[str | int] = []
        place = self
        while place.parent is not None:
            steps.append(place.step)
            place = place.parent
        return field_path(steps[::-1])

    def fail(self, message: str) -> NoReturn:
        """Raise an error at this place."""
        raise InputError(self.path, self.line, self.field, message) from None


class Shape(ABC, Generic[T]):
    """What a value must look like."""

    @abstractmethod
    def read(self, value: Any, place: Place) -> T:
        """The value as the program uses it, or ``InputError``."""

    @abstractmethod
    def schema(self, definitions: Definitions) -> Schema:
        """The JSON Schema; records that are used in several places go into ``definitions``."""


class Name(Shape[str]):
    """Text that names something."""

    def read(self, value: Any, place: Place) -> str:
        """Text, not empty, without control characters."""
        if not isinstance(value, str):
            quote = f": put it in quotes, '{value}'" if isinstance(value, int | float) else ""
            place.fail(f"must be text{quote} (got {shown(value)})")
        if not value.strip():
            place.fail("must not be empty: give it a name")
        if len(value) > LONGEST_NAME:
            place.fail(f"is a name of {len(value)} characters: at most {LONGEST_NAME} are allowed")
        if any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" for c in value):
            place.fail(f"must not hold control characters or line breaks (got {shown(value)})")
        return value

    def schema(self, definitions: Definitions) -> Schema:
        """A pattern for what is needed, another for what is forbidden."""
        return {
            "type": "string",
            "maxLength": LONGEST_NAME,
            "pattern": "\\S",
            "not": {"pattern": _NOT_IN_NAMES},
        }


@dataclass(frozen=True)
class Quantity(Shape[float]):
    """A number in base units or a string with a unit; ``positive``: 0 is an error."""

    dimension: Dimension
    positive: bool = False
    most: float = LARGEST
    when_zero: str = "leave the key out if it is not known"

    def read(self, value: Any, place: Place) -> float:
        """The amount in base units."""
        try:
            amount = parse_quantity(value, self.dimension)
        except QuantityError as error:
            place.fail(str(error))
        if self.positive and amount == 0:
            place.fail(f"must be above 0: {self.when_zero} (got {shown(value)})")
        if amount > self.most:
            place.fail(f"must be at most {self.most:g} (got {shown(value)})")
        return amount

    def schema(self, definitions: Definitions) -> Schema:
        """A number within limits, or text with a unit of the dimension."""
        low = {"exclusiveMinimum": 0} if self.positive else {"minimum": 0}
        text: Schema = {"type": "string", "pattern": self.dimension.pattern}
        if self.positive:
            text["allOf"] = [{"pattern": "^[^eE]*[1-9]"}]
        return {"anyOf": [{"type": "number", **low, "maximum": self.most}, text]}


@dataclass(frozen=True)
class Whole(Shape[int]):
    """A whole number from ``least`` to ``most``."""

    least: int
    most: int

    def read(self, value: Any, place: Place) -> int:
        """The number; 20.0 is 20, as JSON Schema has it."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            place.fail(f"must be a whole number (got {shown(value)})")
        if not self.least <= value <= self.most:
            place.fail(f"must be a whole number from {self.least} to {self.most:,} (got {shown(value)})")
        if value != int(value):
            place.fail(f"must be a whole number (got {shown(value)})")
        return int(value)

    def schema(self, definitions: Definitions) -> Schema:
        """An integer within limits."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Choice(Shape[str]):
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, value: Any, place: Place) -> str:
        """The word."""
        if not isinstance(value, str) or value not in self.words:
            near = f": {did_you_mean(value, self.words)}" if isinstance(value, str) else ""
            place.fail(f"must be {' or '.join(self.words)} (got {shown(value)}){near}")
        return value

    def schema(self, definitions: Definitions) -> Schema:
        """The words."""
        return {"enum": list(self.words)}


class Flag(Shape[bool]):
    """True or false."""

    def read(self, value: Any, place: Place) -> bool:
        """The flag."""
        if not isinstance(value, bool):
            place.fail(f"must be true or false (got {shown(value)})")
        return value

    def schema(self, definitions: Definitions) -> Schema:
        """A boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class OrNull(Shape[T | None]):
    """The shape, or ``null`` where nothing has a meaning of its own (no cap, no such pass)."""

    shape: Shape[T]

    def read(self, value: Any, place: Place) -> T | None:
        """The value or None."""
        return None if value is None else self.shape.read(value, place)

    def schema(self, definitions: Definitions) -> Schema:
        """Either."""
        return {"anyOf": [self.shape.schema(definitions), {"type": "null"}]}


@dataclass(frozen=True)
class ListOf(Shape[list[T]]):
    """A list of one shape, with at least ``least`` items."""

    shape: Shape[T]
    noun: str
    least: int = 0

    def read(self, value: Any, place: Place) -> list[T]:
        """The items, read in order."""
        if not isinstance(value, Seq):
            hint = f": write [{value}]" if isinstance(value, str) and len(value) < 40 else ""
            place.fail(f"must be a list of {self.noun}{hint} (got {shown(value)})")
        if len(value) < self.least:
            place.fail(f"must not be empty: list at least one of its {self.noun}")
        return [self.shape.read(item, place.item(value, i)) for i, item in enumerate(value)]

    def schema(self, definitions: Definitions) -> Schema:
        """An array."""
        least = {"minItems": self.least} if self.least else {}
        return {"type": "array", "items": self.shape.schema(definitions), **least}


@dataclass(frozen=True)
class MapOf(Shape[dict[str, T]]):
    """A mapping from names to one shape, with at least ``least`` entries."""

    shape: Shape[T]
    noun: str
    least: int = 0

    def read(self, value: Any, place: Place) -> dict[str, T]:
        """The entries, read in order."""
        if not isinstance(value, Map):
            place.fail(f"must be a mapping of {self.noun} (got {shown(value)})")
        if len(value) < self.least:
            place.fail(f"must not be empty: give at least one of the {self.noun}")
        names = Name()
        result = {}
        for key, item in value.items():
            here = place.key(value, key)
            result[names.read(key, here)] = self.shape.read(item, here)
        return result

    def schema(self, definitions: Definitions) -> Schema:
        """An object whose property names are names."""
        return {
            "type": "object",
            "propertyNames": Name().schema(definitions),
            "additionalProperties": self.shape.schema(definitions),
            **({"minProperties": self.least} if self.least else {}),
        }


@dataclass(frozen=True)
class Field:
    """A key of a record."""

    shape: Shape[Any]
    doc: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as read: the values of the keys that the file gives, and where they stand."""

    values: Mapping[str, Any]
    data: Map
    place: Place

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; the default where it is missing or null."""
        value = self.values.get(key)
        return default if value is None else value

    def at(self, key: str) -> Place:
        """The place of a key (of the record, if the key is missing)."""
        return self.place.key(self.data, key)


@dataclass(frozen=True)
class Record(Shape[Entry]):
    """A mapping with known keys. ``rules`` are further parts of its JSON Schema.

    ``stray`` may explain an unknown key better than a list of the known ones does.
    """

    name: str
    doc: str
    fields: Mapping[str, Field]
    rules: Schema = field(default_factory=dict)
    stray: Callable[[str], str | None] = lambda key: None
    or_null: bool = False  # null is a record without keys

    def read(self, value: Any, place: Place) -> Entry:
        """The keys in the file's order, then those that are missing."""
        if value is None and self.or_null:
            value = Map(place.line)
        if not isinstance(value, Map):
            place.fail(f"must be a mapping with keys such as {listed(self.fields, 4)} (got {shown(value)})")
        values = {}
        for key, item in value.items():
            known = self.fields.get(key)
            here = place.key(value, key)
            if known is None:
                hint = self.stray(key) or did_you_mean(key, self.fields)
                here.fail(f"is not a key of {self.name}: {hint}")
            values[key] = known.shape.read(item, here)
        for key, known in self.fields.items():
            if known.required and key not in value:
                place.key(value, key).fail(f"is missing: every {self.name} has it")
        return Entry(values, value, place)

    def schema(self, definitions: Definitions) -> Schema:
        """A reference to the object, which stands in ``definitions`` (a record may contain itself)."""
        key_here = self.name.replace(" ", "_")
        if key_here not in definitions:
            definitions[key_here] = {}
            properties = {
                key: {**known.shape.schema(definitions), "description": known.doc} for key, known in self.fields.items()
            }
            definitions[key_here] = {
                "type": ["object", "null"] if self.or_null else "object",
                "description": self.doc,
                "properties": properties,
                "required": [key for key, known in self.fields.items() if known.required],
                "additionalProperties": False,
                **self.rules,
            }
        return {"$ref": f"#/$defs/{key_here}"}


class SchemaName(Shape[str]):
    """The value of the key ``schema``, which says what kind of file this is."""

    def __init__(self, kind: str) -> None:
        self.expected = f"planner/{kind}@1"
        self.kind = kind

    def read(self, value: Any, place: Place) -> str:
        """Exactly the expected text."""
        if value != self.expected:
            others = {f"planner/{k}@1": k for k in ("graph", "cluster", "plan")}
            hint = f"write {self.expected}"
            if isinstance(value, str) and value in others:
                hint = f"this is a {others[value]} file where a {self.kind} file belongs"
            place.fail(f"must be {self.expected} (got {shown(value)}): {hint}")
        return self.expected

    def schema(self, definitions: Definitions) -> Schema:
        """A constant."""
        return {"const": self.expected}


def read_root(record: Record, root: Map, path: Path) -> Entry:
    """Read a whole file. The key ``schema`` is checked first: if it is wrong, every other error misleads."""
    place = Place(path, root.line)
    here = place.key(root, "schema")
    if "schema" not in root:
        kind = record.fields["schema"].shape
        assert isinstance(kind, SchemaName)
        here.fail(f"is missing: the file starts with 'schema: {kind.expected}'")
    record.fields["schema"].shape.read(root["schema"], here)
    return record.read(root, place)


def json_schema(record: Record, title: str, identifier: str) -> Schema:
    """The JSON Schema document (draft 2020-12) of a file format."""
    definitions: Definitions = {}
    reference = record.schema(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": identifier,
        "title": title,
        **reference,
        "$defs": definitions,
    }
