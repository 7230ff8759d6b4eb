"""JSON files with the line of every value, for messages.

A file is parsed at full speed. Only where something is wrong with it, its text is looked through again for the line.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.files.errors import InputError, shortened
from planner.files.reading import decoded, read_bytes, unpacked
from planner.files.yaml_source import field_path

Step = str | int
"""A key of an object, or a position in a list."""

LONGEST_INTEGER = sys.int_info.default_max_str_digits
"""Digits; Python converts no longer one."""

_SPACE = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]|[^\s{}\[\],:"]+')
_CONSTANTS = ("NaN", "Infinity", "-Infinity")
_WORDS = ("true", "false", "null")


class _Fault(ValueError):
    """The parser met what the standard forbids; it does not say where."""


@dataclass(frozen=True)
class JsonSource:
    """A file as read: its path, its text and the value that it holds."""

    path: Path | str
    text: str
    root: Any

    def error(self, steps: Sequence[Step], message: str) -> InputError:
        """The error about the value to which the steps lead, at its line (of the object that lacks it, if missing)."""
        return InputError(self.path, _line(self.text, _position(self.text, steps)), field_path(list(steps)), message)


def read_json_source(path: Path | str, most: int, strict: bool = True, gzip: bool = False) -> JsonSource:
    """The JSON document in a file of at most ``most`` bytes; ``InputError`` with line and field if it is none.

    ``strict``: as the standard has it, without NaN, Infinity, numbers that no float holds, or a key twice in an object.
    ``gzip``: the file may be packed, whatever its name.
    """
    content = read_bytes(Path(path), most)
    return json_source(decoded(unpacked(content, Path(path), most) if gzip else content, Path(path)), path, strict)


def json_source(text: str, path: Path | str, strict: bool = True) -> JsonSource:
    """The JSON document of a text, which errors call ``path``."""
    forbid: dict[str, Any] = {}
    if strict:
        forbid = {"parse_constant": _forbidden, "parse_float": _finite, "object_pairs_hook": _unique}
    try:
        return JsonSource(path, text, json.loads(text, **forbid))
    except json.JSONDecodeError as error:
        message = f"is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]} (column {error.colno})"
        raise InputError(path, error.lineno, None, message) from None
    except RecursionError:
        raise InputError(path, None, None, "is not valid JSON: it nests too deep") from None
    except ValueError:  # a fault, or an integer that Python refuses
        position, steps, message = next(_faults(text, strict))
        raise InputError(path, _line(text, position), field_path(steps), message) from None


def _finite(word: str) -> float:
    """The number; one that is too large would silently become infinite."""
    value = float(word)
    if math.isinf(value):
        raise _Fault
    return value


def _forbidden(_: str) -> float:
    raise _Fault


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Fault
    return found


# -- lines ----------------------------------------------------------------------------------------------------


def _line(text: str, position: int) -> int:
    return 1 + text.count("\n", 0, position)


_ANY = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Skips a value, whatever numbers it has."""


def _position(text: str, steps: Sequence[Step]) -> int:
    """Where the value of the steps stands: its key, in an object. Stops at the last step that is there."""
    found = value = _after_space(text, 0)
    for step in steps:
        inner = next((each for each in _members(text, value) if each[0] == step), None)
        if inner is None:
            break
        _, found, value = inner
    return found


def _members(text: str, position: int) -> Iterator[tuple[Step, int, int]]:
    """Step, position of the key or value, and position of the value, of all members of a list or object."""
    if text[position] not in "[{":
        return
    is_object, at = text[position] == "{", _after_space(text, position + 1)
    number = 0
    while text[at] not in "]}":
        step: Step = number
        start = at
        if is_object:
            step, at = _ANY.raw_decode(text, at)
            at = _after_space(text, _after_space(text, at) + 1)  # the colon
        yield step, start, at
        at = _after_space(text, _ANY.raw_decode(text, at)[1])
        at = _after_space(text, at + 1) if text[at] == "," else at
        number += 1


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    assert found is not None
    return found.end()


class _Open:
    """A list or object that is being read: the step that it is at (None: a key comes next), and its keys."""

    def __init__(self, is_object: bool) -> None:
        self.is_object = is_object
        self.step: Step | None = None if is_object else 0
        self.seen: dict[str, int] = {}

    def next(self) -> None:
        self.step = None if isinstance(self.step, str) or self.step is None else self.step + 1


def _faults(text: str, strict: bool) -> Iterator[tuple[int, list[Step], str]]:
    """Position, steps and message of what the standard forbids, in text that is JSON otherwise."""
    stack: list[_Open] = []
    for token in _TOKEN.finditer(text):
        word, at = token[0], token.start()
        if word in "{[":
            stack.append(_Open(word == "{"))
        elif word in "}]":
            stack.pop()
        elif word == ",":
            stack[-1].next()
        else:
            message = None
            if word[0] != '"':
                message = _number_fault(word, strict)
            elif stack and stack[-1].is_object and stack[-1].step is None:
                key, seen = json.loads(word), stack[-1].seen
                if strict and key in seen:
                    message = f"stands twice in one object (first in line {_line(text, seen[key])}): remove one"
                seen[key], stack[-1].step = at, key
            if message is not None:
                yield at, [each.step for each in stack if each.step is not None], message


def _number_fault(word: str, strict: bool) -> str | None:
    if strict and word in _CONSTANTS:
        return f"{word} is no number in JSON: give a finite one"
    if word in _WORDS:
        return None
    is_float = re.search("[.eE]", word) is not None
    too_large = strict and math.isinf(float(word)) if is_float else len(word.lstrip("-")) > LONGEST_INTEGER
    if too_large:
        return f"{shortened(word, 40)} is too large: give a finite number"
    return None
