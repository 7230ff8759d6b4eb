"""Quantities: a bare number in base units, or a string with a unit (``"4.37 ms"``, ``"80 GiB"``)."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from planner.common.messages import kind

LARGEST = 1e30
"""Nothing in this field is larger, in any base unit; above it sums and quotients would lose their meaning."""

SMALLEST = 1e-30
"""Nothing but 0 is smaller: a rate below it would make a time that no clock can hold."""

NUMBER = r"(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
"""A number without sign, as in YAML 1.2."""

LONGEST_TEXT = 100
_WRITTEN = re.compile(rf"\s*([-+]?)({NUMBER})\s*(.*?)\s*", re.DOTALL)


class QuantityError(ValueError):
    """The value is no quantity of the asked kind; the message says why and what to write instead."""


@dataclass(frozen=True, eq=False)  # each dimension is itself alone, and hashes as such
class Dimension:
    """A kind of quantity: the units it is written in, each with its size in base units."""

    noun: str
    base: str
    example: str
    units: Mapping[str, Fraction]

    @cached_property
    def pattern(self) -> str:
        """A regular expression (ECMA 262) for the strings of this dimension, for JSON Schemas."""
        units = "|".join(re.escape(unit).replace("\\ ", " ") for unit in self.units)
        return rf"^\s*\+?{NUMBER}\s*(?:{units})?\s*$"

    @property
    def article(self) -> str:
        """That of the noun."""
        return "an" if self.noun[0] in "aeiou" else "a"


def _prefixed(*units: str, kilo: tuple[str, ...] = ("k", "K")) -> dict[str, Fraction]:
    powers = {"": 0, **dict.fromkeys(kilo, 1), "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
    return {prefix + unit: Fraction(1000**power) for unit in units for prefix, power in powers.items()}


def _per_second(units: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {f"{unit}/s": size for unit, size in units.items()}


_DECIMAL = _prefixed("B")
_BINARY = {f"{prefix}iB": Fraction(1024**power) for power, prefix in enumerate("KMGTPE", start=1)}
_BITS = {unit: size / 8 for unit, size in _prefixed("bit").items()}

SECONDS = Dimension(
    "time",
    "seconds",
    "4.37 ms",
    {
        "s": Fraction(1),
        "ms": Fraction(1, 10**3),
        "us": Fraction(1, 10**6),
        "µs": Fraction(1, 10**6),  # U+00B5, the micro sign
        "μs": Fraction(1, 10**6),  # U+03BC, the Greek letter
        "ns": Fraction(1, 10**9),
        "min": Fraction(60),
        "h": Fraction(3600),
    },
)
BYTES = Dimension("size", "bytes", "80 GiB", {**_DECIMAL, **_BINARY})
BYTES_PER_SECOND = Dimension(
    "bandwidth", "bytes/s", "160 GB/s", {**_per_second({**_DECIMAL, **_BINARY}), **_per_second(_BITS)}
)
FLOP = Dimension("amount of work", "FLOP", "1.2 TFLOP", _prefixed("FLOP", "FLOPs"))
FLOP_PER_SECOND = Dimension("rate of work", "FLOP/s", "989 TFLOPS", _prefixed("FLOPS", "FLOP/s", "FLOPs/s", "FLOPs"))
FRACTION = Dimension("fraction", "1", "0.5", {"%": Fraction(1, 100)})

_ALL = (SECONDS, BYTES, BYTES_PER_SECOND, FLOP, FLOP_PER_SECOND, FRACTION)


def parse_quantity(value: object, dimension: Dimension) -> float:
    """The value in base units: a number of at least 0, or a string of a number and a unit.

    Raises ``QuantityError`` for anything else: wrong types, unknown or foreign units, negative, NaN,
    infinite and absurd values.
    """
    if isinstance(value, str):
        return _parse_text(value, dimension)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QuantityError(f"must be {dimension.article} {dimension.noun}, {_forms(dimension)} (got {_kind(value)})")
    return _checked(value, str(value), dimension)


@lru_cache(maxsize=4096)
def _parse_text(text: str, dimension: Dimension) -> float:
    shown = text if len(text) <= 40 else text[:37] + "..."
    shown = "".join(c if c.isprintable() else "?" for c in shown)
    match = _WRITTEN.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    if match is None:
        raise QuantityError(f"is not {dimension.article} {dimension.noun}: write {_forms(dimension)} (got {shown!r})")
    sign, number, unit = match.groups()
    if unit and unit not in dimension.units:
        raise QuantityError(_unit_message(unit[:40], dimension))
    if sign == "-":
        raise QuantityError(f"must not be negative (got {shown})")
    size = dimension.units[unit] if unit else Fraction(1)
    rough = float(number) * float(size)
    if not SMALLEST / 2 < rough < LARGEST * 2:
        return _checked(rough, shown, dimension)
    # Exact until the last step, so that 1.1 GB and 1100 MB are the same number of bytes.
    return _checked(float(Fraction(number) * size), shown, dimension)


def _checked(value: float, shown: str, dimension: Dimension) -> float:
    if isinstance(value, float) and not math.isfinite(value):
        raise QuantityError(f"must be a finite {dimension.noun} of at most {LARGEST:g} (got {shown})")
    if value < 0:
        raise QuantityError(f"must not be negative (got {shown})")
    if value > LARGEST:
        shown = shown if len(shown) <= 40 else f"a number of {len(shown)} digits"
        raise QuantityError(f"is absurd: at most {LARGEST:g} {dimension.base} (got {shown})")
    if 0 < value < SMALLEST:
        raise QuantityError(
            f"is absurd: at least {SMALLEST:g} {dimension.base}, or 0 where that is allowed (got {shown})"
        )
    return float(value) + 0.0  # -0.0 becomes 0.0


def _forms(dimension: Dimension) -> str:
    if dimension is FRACTION:
        return "a number such as 0.5"
    return f"a number ({dimension.base}) or a string such as {dimension.example!r}"


def _unit_message(unit: str, dimension: Dimension) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in unit)
    for other in _ALL:
        if unit in other.units:
            return (
                f"has the unit {shown}, which is one of {other.noun}, not of {dimension.noun}: "
                f"write {_forms(dimension)}"
            )
    same = [known for known in dimension.units if known.lower() == unit.lower()]
    near = same or difflib.get_close_matches(unit, dimension.units, n=2, cutoff=0.6)
    if re.fullmatch(r"[kKMGTPE]?b(/s|ps)", unit):  # a bit or a byte? People mean both.
        near = [f"{unit[: unit.index('b')]}B/s", f"{unit[: unit.index('b')]}bit/s"]
    hint = f"did you mean {' or '.join(near[:2])}?" if near else f"write {_forms(dimension)}"
    return f"has the unknown unit {shown!r}: {hint}"


def _kind(value: object) -> str:
    return kind(value) or f"a value of type {type(value).__name__}"
