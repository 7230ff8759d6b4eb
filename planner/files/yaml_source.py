"""YAML text to plain data with line numbers.

Scalars are those of the YAML 1.2 core schema (PyYAML's own are 1.1: ``yes`` would be true, ``010`` eight and
``1e3`` a string). The text is read event by event, never by recursion, so that no nesting can exhaust the
stack. Values are counted with aliases expanded, so that no small file can stand for a huge one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from planner.common.messages import LONGEST
from planner.files.errors import InputError, one_line, shortened, shown
from planner.files.reading import decoded, read_bytes

MAX_BYTES = 64 * 1024**2
MAX_NODES = 5_000_000  # after aliases are expanded
MAX_DEPTH = 100

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{sign + word: float("inf") for sign in ("", "+") for word in (".inf", ".Inf", ".INF")},
    **{"-" + word: float("-inf") for word in (".inf", ".Inf", ".INF")},
}
_CORE = "tag:yaml.org,2002:"
_SCALAR_TAGS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}


class Map(dict[str, Any]):
    """A mapping with its line and the line of each key. ``size`` counts its nodes, aliases expanded."""

    __slots__ = ("line", "lines", "size")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}
        self.size = 1


class Seq(list[Any]):
    """A list with its line and the line of each item. ``size`` counts its nodes, aliases expanded."""

    __slots__ = ("line", "lines", "size")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []
        self.size = 1


@dataclass(frozen=True)
class Source:
    """A file as read: its path, the SHA-256 of its bytes and its one document, a mapping."""

    path: Path
    sha256: str
    root: Map

    @property
    def default_name(self) -> str:
        """The file's name without its ending, fit for a plan (a file's name may hold any bytes)."""
        return one_line(self.path.stem)


def read_source(path: Path) -> Source:
    """Read one YAML document whose root is a mapping; ``InputError`` for whatever is wrong with it."""
    return source_of(read_bytes(Path(path), MAX_BYTES, "write repeated operators as a block"), Path(path))


def source_of(content: bytes, path: Path) -> Source:
    """The same for the content of a file; ``path`` is for messages."""
    text = decoded(content, path)
    root = parse_yaml(text, path)
    if not isinstance(root, Map):
        line = root.line if isinstance(root, Seq) else 1
        raise InputError(path, line, None, f"must be a mapping of keys to values, not {_noun(root)}")
    return Source(path, hashlib.sha256(content).hexdigest(), root)


def parse_yaml(text: str, path: Path | str) -> Any:
    """The data of the one document in ``text``; ``path`` is for messages."""
    bad = _FORBIDDEN.search(text)
    if bad is not None:
        line = 1 + text.count("\n", 0, bad.start())
        message = f"has the control character U+{ord(bad[0]):04X}, which YAML forbids: remove it"
        raise InputError(path, line, None, message)
    builder = _Builder(path)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.problem, error.context) if part)
        message = f"is not valid YAML: {problem}; check indentation, quotes and brackets here"
        raise InputError(path, mark.line + 1 if mark else None, None, message) from None
    except yaml.YAMLError as error:
        raise InputError(path, None, None, f"is not valid YAML: {error}") from None
    if builder.root is None:
        raise InputError(path, 1, None, "is empty: a file starts with the key 'schema'")
    return builder.root


def resolve_plain(text: str) -> Any:
    """What an unquoted scalar means in the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        # Python refuses to convert thousands of digits; so long an integer is absurd anyway.
        return int(text) if len(text) <= 100 else float(text)
    if _BASED.fullmatch(text):
        return int(text, 0) if len(text) <= 100 else float("inf")
    return float(text) if _FLOAT.fullmatch(text) else text


class _Marker:
    """A value that no file can hold."""


_NO_KEY = _Marker()  # the mapping waits for a key
_MERGE = _Marker()  # the key was <<
_OPEN = _Marker()  # the anchor's node is not complete yet


class _Frame:
    """A mapping or list that is being filled."""

    __slots__ = ("anchor", "data", "key", "key_line", "merges")

    def __init__(self, data: Map | Seq, anchor: str | None) -> None:
        self.data = data
        self.anchor = anchor
        self.key: Any = _NO_KEY
        self.key_line = 0
        self.merges: list[Map] | None = None


class _Builder:
    """Turns YAML events into data, one event at a time."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.root: Any = None
        self.stack: list[_Frame] = []
        self.anchors: dict[str, Any] = {}
        self.documents = 0

    def feed(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start(Map(line), "map", event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start(Seq(line), "seq", event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event, line)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self._error(line, "a second document starts here: a file holds exactly one")

    def _scalar(self, event: Any, line: int) -> None:
        frame = self.stack[-1] if self.stack else None
        plain = event.implicit[0]
        if event.tag not in (None, "!") and not plain:
            value = self._tagged(event.tag, event.value, line)
        else:
            value = resolve_plain(event.value) if plain else event.value
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        if plain and event.value == "<<" and frame and isinstance(frame.data, Map) and frame.key is _NO_KEY:
            if frame.merges is not None:
                raise self._error(line, "a second merge key <<: give one a list, <<: [*a, *b]")
            frame.merges = []
            frame.key = _MERGE
            return
        self._add(value, line)

    def _tagged(self, tag: str, text: str, line: int) -> Any:
        types = _SCALAR_TAGS.get(tag.removeprefix(_CORE)) if tag.startswith(_CORE) else None
        if types is None:
            raise self._foreign_tag(tag, line)
        if types == (str,):
            return text
        value = resolve_plain(text)
        if type(value) not in types:
            raise self._error(line, f"{shown(text)} is no {tag.removeprefix(_CORE)}: remove the tag")
        return float(value) if types[0] is float else value

    def _foreign_tag(self, tag: str, line: int) -> InputError:
        name = tag.replace(_CORE, "!!", 1)
        return self._error(line, f"the tag {shown(name)} is not allowed: write plain YAML without it")

    def _start(self, data: Map | Seq, kind: str, event: Any, line: int) -> None:
        if event.tag not in (None, "!", _CORE + kind):
            raise self._foreign_tag(event.tag, line)
        if len(self.stack) >= MAX_DEPTH:
            raise InputError(self.path, line, None, f"nests deeper than {MAX_DEPTH} levels: flatten it")
        frame = self.stack[-1] if self.stack else None
        if frame is not None and isinstance(frame.data, Map) and frame.key is _NO_KEY:
            raise self._error(line, f"{_noun(data)} cannot be a key: keys are text")
        if event.anchor is not None:
            self.anchors[event.anchor] = _OPEN
        self.stack.append(_Frame(data, event.anchor))

    def _end(self) -> None:
        frame = self.stack.pop()
        data = frame.data
        if isinstance(data, Map):
            for merged in frame.merges or ():  # own keys win, then the earlier mapping
                for key, value in merged.items():
                    if key not in data:
                        data[key] = value
                        data.lines[key] = merged.lines[key]
        if frame.anchor is not None:
            self.anchors[frame.anchor] = data
        self._add(data, data.line)

    def _alias(self, event: Any, line: int) -> None:
        if event.anchor not in self.anchors:
            raise self._error(line, f"the alias *{shortened(event.anchor)} has no anchor of this name before it")
        value = self.anchors[event.anchor]
        if value is _OPEN:
            raise self._error(line, f"the alias *{shortened(event.anchor)} stands inside what it names")
        self._add(value, line)

    def _add(self, value: Any, line: int) -> None:
        """Add a complete node to the open container."""
        if not self.stack:
            self.root = value
            return
        frame = self.stack[-1]
        data = frame.data
        data.size += value.size if isinstance(value, Map | Seq) else 1
        if data.size > MAX_NODES:
            raise self._error(line, f"stands for more than {MAX_NODES:,} values: use fewer aliases")
        if isinstance(data, Seq):
            data.append(value)
            data.lines.append(line)
        elif frame.key is _NO_KEY:
            frame.key, frame.key_line = self._key(value, data, line), line
        elif frame.key is _MERGE:
            frame.merges = self._merges(value, line)
            frame.key = _NO_KEY
        else:
            data[frame.key] = value
            data.lines[frame.key] = frame.key_line
            frame.key = _NO_KEY

    def _key(self, value: Any, data: Map, line: int) -> str:
        if not isinstance(value, str):
            hint = "" if isinstance(value, Map | Seq) else ": put it in quotes"
            raise self._error(line, f"the key {shown(value)} is not text{hint}")
        if value in data:
            message = f"the key {shown(value)} stands twice in one mapping (first in line {data.lines[value]})"
            raise self._error(line, f"{message}: remove one", value)
        return value

    def _merges(self, value: Any, line: int) -> list[Map]:
        merges = value if isinstance(value, Seq) else [value]
        for merged in merges:
            if not isinstance(merged, Map):
                raise self._error(line, f"the merge key << takes a mapping or a list of them, not {_noun(merged)}")
        return list(merges)

    def _error(self, line: int, message: str, key: str | None = None) -> InputError:
        return InputError(self.path, line, self._field(key), message)

    def _field(self, key: str | None) -> str | None:
        steps: list[str | int] = []
        for frame in self.stack:
            if isinstance(frame.data, Seq):
                steps.append(len(frame.data))
            elif isinstance(frame.key, str):
                steps.append(frame.key)
        return field_path([*steps, key] if key is not None else steps)


def field_path(steps: list[str | int]) -> str | None:
    """``operators[3].time.forward``; None for the file as a whole."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w-]+", step) and len(step) <= LONGEST:
            text += f".{step}" if text else step
        else:
            text += f"[{shown(step, 40)}]"
    return text or None


def _noun(value: object) -> str:
    if isinstance(value, str):
        return "text"
    return shown(value) if value is None or isinstance(value, bool | dict | list) else "a number"
