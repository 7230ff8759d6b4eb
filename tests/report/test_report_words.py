"""Numbers and names as people read them."""

from __future__ import annotations

import pytest

from planner.report.words import apart, gap, names_in_brief, number, percent, plain, quotient, seconds, size


@pytest.mark.parametrize(
    ("value", "text"),
    [(63.0, "63 s"), (0.37123, "371.23 ms"), (5e-6, "5 us"), (0.0, "0 s"), (None, "-"), (5762.0261, "5762 s")],
)
def test_seconds(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(11.0, "11 B"), (80 * 2.0**30, "80 GiB"), (68.32 * 2**30, "68.32 GiB"), (None, "-"), (0.0, "0 B")],
)
def test_size(value: float | None, text: str) -> None:
    assert size(value) == text


def test_ratios() -> None:
    """A ratio that is not 0 is never shown as 0."""
    assert percent(0.047619) == "4.76 %"
    assert percent(1e-6) == "<0.01 %"
    assert percent(0.0) == "0.00 %"
    assert gap(0.0) == "0 %"
    assert gap(2e-7) == "2e-05 %"
    assert gap(2e-10) == "0 %"
    assert seconds(2e-17) == "0 s"
    assert seconds(2e-9) == "2 ns"
    assert quotient(63, 66) == "0.955"
    assert quotient(63, 0) == "-"
    assert number(1234567.0) == "1234567"


def test_figures_that_differ_are_told_apart() -> None:
    """As many digits as that takes; the same words only for what is the same but for rounding."""
    assert apart(seconds, 105.4612, 105.4613) == ("105.4612 s", "105.4613 s")
    assert apart(seconds, 105.0, 106.0) == ("105 s", "106 s")
    assert apart(seconds, 105.46, 105.46 * (1 + 1e-14)) == ("105.46 s", "105.46 s")
    assert apart(size, 80 * 2.0**30 + 1, 80 * 2.0**30, 4) == ("80.000000001 GiB", "80 GiB")
    assert apart(percent, 0.28001, 0.28, 2) == ("28.001 %", "28.000 %")
    assert quotient(105.4612, 105.4613) == "0.999999" and quotient(2.0, 2.0 * (1 + 1e-14)) == "1.000"


def test_names_in_brief() -> None:
    """Whole copies of a block by number alone, parts of one by the operators that are there."""
    every = ["embed", *(f"layer.{i}.{o}" for i in range(6) for o in ("attn", "mlp")), "head"]
    assert names_in_brief(every[:9], every) == "embed, layer.0-3"
    assert names_in_brief(["layer.0.attn", "layer.1.attn", "layer.3.mlp"], every) == "layer.0-1.attn, layer.3.mlp"
    assert names_in_brief([], every) == ""
    assert names_in_brief(["stage0", "stage1", "stage3"], ["stage0", "stage1", "stage3"]) == "stage0-1, 3"
    nested = ["a.0.b.0.x", "a.0.b.1.x", "a.1.b.0.x"]
    assert names_in_brief(nested[:1], nested) == "a.0.b.0.x"


def test_plain() -> None:
    assert plain("a\x1b[31mb\n") == "a?[31mb?"
