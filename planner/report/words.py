"""Numbers and names as people read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from planner.plan.plan import Unit

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_SIZES = tuple((1024.0**power, f"{prefix}iB") for power, prefix in ((4, "T"), (3, "G"), (2, "M"), (1, "K")))
NOTHING = 1e-9
"""A share below this is a difference of rounding; so is a time a thousand times shorter, in seconds."""

ROUNDING = 1e-12
"""Figures that differ by less, relatively, are the same."""

MOST_DIGITS = 15

Words = Callable[[float | None, int], str]
"""A figure in words, with so many digits."""

NONE = "-"
"""Stands where there is no figure."""


def plain(name: str) -> str:
    """A name from a file, with unprintable characters replaced by ``?``."""
    return name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)


def number(value: float, digits: int = 4) -> str:
    """A number of some significant digits, without exponents where people would write none."""
    if abs(value) < NOTHING:
        return "0"
    if 1e-4 <= abs(value) < 1e7:
        whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
        text = f"{value:.{max(0, digits - whole)}f}" if abs(value) >= 1 else f"{value:.{digits}g}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits}g}"


def count(value: float) -> str:
    """How many, with commas: ``249,661``, ``3,901``, ``12.34``."""
    return f"{value:,.0f}" if value >= 1000 else number(value)


def seconds(value: float | None, digits: int = 5) -> str:
    """``63 s``, ``371.2 ms``."""
    if value is None:
        return NONE
    if abs(value) < NOTHING * 1e-3:
        return "0 s"
    each, unit = time_unit(value)
    return f"{number(value / each, digits)} {unit}"


def time_unit(value: float) -> tuple[float, str]:
    """The unit in which a time is a number from 1 on, and its length in seconds."""
    return next((pair for pair in _TIMES if abs(value) >= pair[0]), _TIMES[0] if value == 0 else _TIMES[-1])


def size(value: float | None, digits: int = 4) -> str:
    """``58.7 GiB``; below 1 KiB in bytes, for the plans that count memory in units of their own."""
    if value is None:
        return NONE
    each, unit = size_unit(value)
    return f"{number(value / each, digits)} {unit}"


def size_unit(value: float) -> tuple[float, str]:
    """The unit in which a size is a number from 1 on, and its bytes."""
    return next((pair for pair in _SIZES if abs(value) >= pair[0]), (1.0, "B"))


def percent(ratio: float | None, digits: int = 2) -> str:
    """``4.76 %``; ``digits`` of them after the point."""
    if ratio is None:
        return NONE
    text = f"{ratio * 100:.{digits}f}"
    return "<0.01 %" if text == "0.00" and ratio > 0 else f"{text} %"


def digits_apart(words: Words, values: Iterable[float | None], least: int = 5) -> int:
    """How many digits it takes until values that differ are different in words, too."""
    known = sorted({value for value in values if value is not None})
    pairs = [(a, b) for a, b in pairwise(known) if b - a > ROUNDING * max(abs(a), abs(b))]
    return next(
        (n for n in range(least, MOST_DIGITS) if all(words(a, n) != words(b, n) for a, b in pairs)), MOST_DIGITS
    )


def apart(words: Words, a: float, b: float | None, least: int = 5) -> tuple[str, str]:
    """Two figures that a message compares, with digits enough to differ; the same text only where they are the same."""
    digits = digits_apart(words, (a, b), least)
    return words(a, digits), words(b, digits)


def gap(value: float | None) -> str:
    """A gap in percent. Below a ten-thousandth it shows its order of magnitude; below ``NOTHING`` it is 0."""
    if value is None:
        return NONE
    if abs(value) < NOTHING:
        return "0 %"
    if 0 < abs(value) < 1e-4:
        return f"{value * 100:.0e} %"
    return f"{value * 100:.4g} %"


def amount(value: float | None, unit: Unit) -> str:
    """The value of a figure, in its unit."""
    if unit is Unit.DEVICES:
        return NONE if value is None else str(int(value))
    return size(value) if unit is Unit.BYTES else seconds(value)


def quotient(a: float | None, b: float | None) -> str:
    """``0.9545``: a over b."""
    if a is None or b is None or b == 0:
        return NONE
    ratio = a / b
    digits = 3
    while digits < MOST_DIGITS and round(ratio, digits) == 1 and abs(ratio - 1) > NOTHING:
        digits += 1  # a ratio that is not 1 is never shown as 1
    return f"{ratio:.{digits}f}"


def cut(text: str, width: int) -> str:
    """The text, shortened to a width."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def cut_inside(text: str, width: int) -> str:
    """The text, shortened to a width in its middle: names of devices differ at their ends."""
    if len(text) <= width:
        return text
    end = width // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def names_in_brief(names: Iterable[str], among: Iterable[str]) -> str:
    """``embed, layer.0-3, layer.4.(attn, mlp)``: repetitions of a block by their numbers.

    A repetition is listed without its operators if it has all of those ``among``.
    """
    whole: dict[tuple[str, int], int] = {}
    for prefix, index, _ in map(_parts, among):
        whole[prefix, index] = whole.get((prefix, index), 0) + 1
    here: dict[str, dict[int, list[str]]] = {}
    for prefix, index, rest in map(_parts, names):
        here.setdefault(prefix, {}).setdefault(index, []).append(rest)
    parts: list[str] = []
    for prefix, copies in here.items():
        alike: dict[tuple[str, ...], list[int]] = {}
        for index, inside in copies.items():
            full = len(inside) == whole.get((prefix, index))
            alike.setdefault(() if full else tuple(inside), []).append(index)
        for inside_, indices in alike.items():
            text = prefix + (ranges(sorted(indices)) if indices[0] >= 0 else "")
            if len(inside_) > 1:
                text += f".({', '.join(inside_)})"
            parts.append(text + f".{inside_[0]}" if len(inside_) == 1 and inside_[0] else text)
    return plain(", ".join(parts))


def _parts(name: str) -> tuple[str, int, str]:
    """The part of a name before the first number, the number (-1: none) and what follows it."""
    found = re.fullmatch(r"(.+?\.)(\d{1,9})(?:\.(.+))?", name) or re.fullmatch(r"(.*?\D)(\d{1,9})()", name)
    if found is None:
        return name, -1, ""
    return found[1], int(found[2]), found[3] or ""


def ranges(values: Sequence[int]) -> str:
    """``0-3, 7``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
