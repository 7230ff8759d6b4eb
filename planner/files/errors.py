"""The one error that a bad input file causes: where it is, what is wrong, what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class InputError(Exception):
    """A mistake in an input file. ``str()`` is one line: ``graph.yaml:12: operators[3].name: is missing``.

    ``line`` is None for an error of the whole file, ``field`` for one without a field.
    """

    def __init__(self, path: Path | str, line: int | None, field: str | None, message: str) -> None:
        self.path = str(path)
        self.line = line
        self.field = field
        self.message = message
        where = self.path if line is None else f"{self.path}:{line}"
        super().__init__(one_line(": ".join(part for part in (where, field, message) if part)))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, int | None, str | None, str]]:
        """Support pickle, which an exception with its own arguments otherwise does not."""
        return type(self), (self.path, self.line, self.field, self.message)


def one_line(text: str) -> str:
    """The text with everything that could break or disturb a line of a terminal replaced by ``?``."""
    return "".join(c if c.isprintable() else "?" for c in text)


def shown(value: object, width: int = 60) -> str:
    """A value as a message shows it: short, on one line, in the words of YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return one_line(text if len(text) <= width else text[: width - 3] + "...")


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names joined by commas, cut off where there are many."""
    names = list(names)
    more = ", ..." if len(names) > most else ""
    return one_line(", ".join(names[:most])) + more


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the list of known words."""
    known = list(known)
    if len(word) <= 256:
        lower = {name.lower(): name for name in known}
        near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
        if near:
            return f"did you mean {shown(lower[near[0]])}?"
    return f"there are: {listed(known)}" if known else "there are none"
