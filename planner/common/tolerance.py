"""What counts as the same number, everywhere but in ``verification``, which has tolerances of its own."""

SAME = 1e-9
"""Seconds, bytes or shares that differ by no more than this (relatively) are the same."""

WITHIN = 1 + SAME
"""x a limit: what is no larger meets it, so that a limit copied from a printed plan is met again."""
