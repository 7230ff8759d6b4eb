"""Text of users in messages: short, and on one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST = 60
"""Characters of a name or value that a message shows."""


def one_line(text: str) -> str:
    """The text with everything that could break or disturb a line of a terminal replaced by ``?``."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def shortened(text: str, width: int = LONGEST) -> str:
    """The text on one line, its end replaced by an ellipsis where it is long."""
    return one_line(text if len(text) <= width else text[: width - 3] + "...")


def kind(value: object) -> str | None:
    """What a value is, in the words of YAML; None of numbers, texts and whatever YAML does not know."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else None


def shown(value: object, width: int = LONGEST) -> str:
    """A value as a message shows it: short, on one line, in the words of YAML."""
    return kind(value) or shortened(repr(value) if isinstance(value, str) else str(value), width)


def brief(text: str, word: int = 2 * LONGEST) -> str:
    """A message on one line in which no word is long: libraries and plan files bring names of any length.

    The parts of a path count as words, so that paths stay whole.
    """
    return re.sub(rf"[^\s/]{{{word + 1},}}", lambda found: shortened(found[0]), one_line(text))


def listed(names: Iterable[str], most: int = 12, width: int = LONGEST) -> str:
    """Names joined by commas, cut off where there are many."""
    names = list(names)
    more = ", ..." if len(names) > most else ""
    return ", ".join(shortened(name, width) for name in names[:most]) + more


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the list of known words."""
    known = list(known)
    if len(word) <= 256:
        lower = {name.lower(): name for name in known}
        near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
        if near:
            return f"did you mean {shown(lower[near[0]])}?"
    return f"there are: {listed(known)}" if known else "there are none"
