"""What counts as the same number, everywhere but in ``verification``, which has tolerances of its own."""

SAME = 1e-9
"""Seconds, bytes or shares that differ by no more than this (relatively) are the same."""

WITHIN = 1 + SAME
"""x a limit: what is no larger meets it, so that a limit copied from a printed plan is met again."""

GAP = 1e-6
"""The gap that a plan may have to be called optimal, where none is asked for."""


def closes(value: float, bound: float, gap: float = GAP) -> bool:
    """Whether a value is within so large a gap (relative) of its bound; a gap below ``SAME`` counts as 0."""
    return value - bound <= max(gap, SAME) * value
