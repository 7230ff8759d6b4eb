"""What counts as the same number."""

SAME = 1e-9
"""Seconds or bytes that differ by no more than this (relatively) are the same."""
