"""Values of command-line options that are given as text: quantities with a unit, fractions, and their one error."""

from __future__ import annotations

from planner.common.messages import shown
from planner.problem.quantities import FRACTION, SECONDS, Dimension, QuantityError, parse_quantity


class UsageFault(Exception):
    """Options or inputs that do not go together; the message says what to do instead."""


def quantity(flag: str, text: str, dimension: Dimension) -> float:
    """The value of an option that takes a number or a number with a unit."""
    try:
        return parse_quantity(text, dimension)
    except QuantityError as error:
        raise UsageFault(f"{flag} {error}") from error


def ratio(flag: str, text: str) -> float:
    """The value of an option that takes a fraction from 0 to 1, or a percentage."""
    value = quantity(flag, text, FRACTION)
    if value > 1:
        raise UsageFault(f"{flag} must be a fraction from 0 to 1 such as 0.05, or 5%; got {shown(text)}")
    return value


def duration(flag: str, text: str) -> float:
    """The value of an option that takes a time above 0, in seconds."""
    value = quantity(flag, text, SECONDS)
    if value <= 0:
        raise UsageFault(f"{flag} must be above 0")
    return value
