import math

import pytest

from planner.problem.quantities import (
    BYTES,
    BYTES_PER_SECOND,
    FLOP,
    FLOP_PER_SECOND,
    FRACTION,
    SECONDS,
    QuantityError,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("value", "dimension", "expected"),
    [
        (3, SECONDS, 3.0),
        (1.2e12, FLOP, 1.2e12),
        ("3", SECONDS, 3.0),
        ("4.37 ms", SECONDS, 0.00437),
        ("4.37ms", SECONDS, 0.00437),
        (" 5 us ", SECONDS, 5e-6),
        ("1\nms", SECONDS, 0.001),
        ("5 µs", SECONDS, 5e-6),
        ("5 μs", SECONDS, 5e-6),
        ("7 ns", SECONDS, 7e-9),
        ("2 min", SECONDS, 120.0),
        ("1 h", SECONDS, 3600.0),
        (".5 s", SECONDS, 0.5),
        ("1.e3 s", SECONDS, 1000.0),
        ("+1E-3 s", SECONDS, 0.001),
        ("80 GiB", BYTES, 80 * 2.0**30),
        ("58.7 MB", BYTES, 58.7e6),
        ("1 kB", BYTES, 1000.0),
        ("1 KB", BYTES, 1000.0),
        ("1 KiB", BYTES, 1024.0),
        ("2 TiB", BYTES, 2.0**41),
        ("3 B", BYTES, 3.0),
        ("160 GB/s", BYTES_PER_SECOND, 160e9),
        ("3.35 TB/s", BYTES_PER_SECOND, 3.35e12),
        ("1 GiB/s", BYTES_PER_SECOND, 2.0**30),
        ("400 Gbit/s", BYTES_PER_SECOND, 50e9),
        ("989 TFLOPS", FLOP_PER_SECOND, 989e12),
        ("989 TFLOP/s", FLOP_PER_SECOND, 989e12),
        ("1 PFLOPS", FLOP_PER_SECOND, 1e15),
        ("1.2 TFLOP", FLOP, 1.2e12),
        ("1.2 TFLOPs", FLOP, 1.2e12),
        ("5 FLOP", FLOP, 5.0),
        ("50 %", FRACTION, 0.5),
        (-0.0, SECONDS, 0.0),
        ("1e-400 s", SECONDS, 0.0),
        (1e30, BYTES, 1e30),
    ],
)
def test_quantities_are_read_in_base_units(value, dimension, expected):
    """Numbers, strings without unit and every unit give base units, correctly rounded."""
    result = parse_quantity(value, dimension)
    assert result == expected
    assert math.copysign(1, result) == 1


def test_equal_amounts_in_different_units_are_equal():
    """Rounding happens once, so that two ways to write an amount compare equal."""
    for i in range(1, 400):
        assert parse_quantity(f"{i}.1 GB", BYTES) == parse_quantity(f"{i}100 MB", BYTES)
        assert parse_quantity(f"{i} us", SECONDS) == i / 1e6


@pytest.mark.parametrize(
    ("value", "dimension", "words"),
    [
        (-1, SECONDS, "negative (got -1)"),
        ("-1 ms", SECONDS, "negative (got -1 ms)"),
        (float("nan"), SECONDS, "finite"),
        (float("inf"), SECONDS, "finite"),
        (float("-inf"), SECONDS, "finite"),
        (1.1e30, SECONDS, "absurd"),
        (10**400, BYTES, "absurd"),
        (1e-31, BYTES_PER_SECOND, "absurd"),
        ("1e400 s", SECONDS, "finite"),
        ("1e30 min", SECONDS, "absurd"),
        ("nan", SECONDS, "is not a time"),
        ("nan", FLOP, "is not an amount of work"),
        (".inf", SECONDS, "is not a time"),
        ("", SECONDS, "is not a time"),
        ("ms", SECONDS, "is not a time"),
        ("1_000", SECONDS, "unknown unit"),
        ("1" * 200, SECONDS, "is not a time"),
        ("1,5 ms", SECONDS, "unknown unit"),
        ("1 ms 2", SECONDS, "unknown unit"),
        (True, SECONDS, "got true"),
        (None, SECONDS, "got nothing"),
        ([1], SECONDS, "got a list"),
        ({}, SECONDS, "got a mapping"),
        ("3 GiB", SECONDS, "one of size, not of time"),
        ("3 s", BYTES, "one of time, not of size"),
        ("3 GB", BYTES_PER_SECOND, "one of size, not of bandwidth"),
        ("3 TFLOPS", FLOP, "one of rate of work, not of amount of work"),
        ("3 Gib", BYTES, "did you mean GiB?"),
        ("3 MS", SECONDS, "did you mean ms?"),
        ("3 Gb/s", BYTES_PER_SECOND, "GB/s or Gbit/s"),
        ("3 Gbps", BYTES_PER_SECOND, "GB/s or Gbit/s"),
        ("3 parsec", SECONDS, "unknown unit 'parsec'"),
    ],
)
def test_what_is_no_quantity_says_why(value, dimension, words):
    """Every wrong value raises QuantityError with the reason on one line."""
    with pytest.raises(QuantityError) as error:
        parse_quantity(value, dimension)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
