"""Laws that the time of kernels obeys on every accelerator: monotonic, bounded by peak, bandwidth and launch."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.costs.accelerator import ELEMENT, Accelerator, accelerator, known
from planner.costs.kernels import attention_seconds, gemm_seconds, launch_seconds, memory_seconds
from planner.problem.cluster import DeviceType, NetworkLevel

SIZES = st.integers(1, 40_000)
NAMES = st.sampled_from(known())


def roofline() -> Accelerator:
    device = DeviceType("mine", peak_flops=400e12, memory_bandwidth=2e12, efficiency=0.5)
    return Accelerator.roofline(device, NetworkLevel(100e9, 2e-6))


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in known() for dtype in accelerator(name).gemm])
def test_a_huge_gemm_approaches_the_peak(name: str, dtype: str) -> None:
    """Within 4 % of it; FP8 without the conversion of its input."""
    acc = accelerator(name)
    curve = replace(acc.gemm[dtype], cast=0.0)
    size = 100_000
    rate = 2 * size**3 / gemm_seconds(replace(acc, gemm={dtype: curve}), size, size, size, dtype)
    assert 0.96 * curve.peak < rate <= curve.peak


@pytest.mark.parametrize("name", known())
def test_a_tiny_gemm_is_a_launch(name: str) -> None:
    acc = accelerator(name)
    assert launch_seconds(acc) <= gemm_seconds(acc, 1, 1, 1) < 1.5 * launch_seconds(acc) < 10e-6
    assert gemm_seconds(acc, 0, 4096, 4096) == launch_seconds(acc)  # an expert without tokens


@pytest.mark.parametrize("name", known())
def test_a_thin_gemm_is_bound_by_memory(name: str) -> None:
    """A token times a large matrix takes the time of reading the matrix, or somewhat more."""
    acc = accelerator(name)
    reading = memory_seconds(acc, 2 * 16384 * 16384)
    assert reading <= gemm_seconds(acc, 1, 16384, 16384) < 1.3 * reading


@given(NAMES, SIZES, SIZES, SIZES, st.integers(1, 5000))
@settings(max_examples=200, deadline=None)
def test_a_gemm_takes_no_less_time_when_it_grows(name: str, m: int, n: int, k: int, more: int) -> None:
    acc = accelerator(name)
    time = gemm_seconds(acc, m, n, k)
    assert time <= min(gemm_seconds(acc, m + more, n, k), gemm_seconds(acc, m, n + more, k)) * (1 + 1e-12)
    assert time <= gemm_seconds(acc, m, n, k + more) * (1 + 1e-12)


def test_an_incomplete_wave_costs_a_part_of_a_full_one() -> None:
    """132 tiles of 128 rows fill an H100 once: the next row begins a wave of its own."""
    acc = accelerator("h100")
    within = gemm_seconds(acc, 128 * 33, 512, 8192) - gemm_seconds(acc, 128 * 33 - 1, 512, 8192)
    beyond = gemm_seconds(acc, 128 * 33 + 1, 512, 8192) - gemm_seconds(acc, 128 * 33, 512, 8192)
    assert beyond > 20 * within


@given(NAMES, st.integers(1, 4000), st.integers(1, 8192), st.integers(1, 8192), st.integers(2, 64))
@settings(max_examples=200, deadline=None)
def test_a_grouped_gemm_is_between_one_gemm_and_all_of_them(name: str, m: int, n: int, k: int, groups: int) -> None:
    """It has the FLOP of one of all rows, which reads one matrix only, and saves launches over separate ones."""
    acc = accelerator(name)
    grouped = gemm_seconds(acc, m * groups, n, k, groups=groups)
    assert gemm_seconds(acc, m * groups, n, k) <= grouped * (1 + 1e-12)
    assert grouped <= groups * gemm_seconds(acc, m, n, k) * (1 + 1e-12)
    slower = gemm_seconds(replace(acc, grouped=0.5), m * groups, n, k, groups=groups)
    assert grouped <= slower <= 2 * grouped


def test_derate_slows_the_work_and_not_the_launch() -> None:
    acc = accelerator("h100")
    half = replace(acc, derate=0.5)
    for seconds, launch in (
        (lambda a: gemm_seconds(a, 65536, 8192, 8192), acc.gemm["bf16"].launch),
        (lambda a: attention_seconds(a, 64, 4096, 4096, 32, 32, 128, 128), acc.attention["bf16"].launch),
    ):
        assert seconds(half) - launch == pytest.approx(2 * (seconds(acc) - launch), rel=0.1)
    assert memory_seconds(half, 1e9) == memory_seconds(acc, 1e9)


@pytest.mark.parametrize("name", known())
def test_attention_backward_has_five_products_for_two(name: str) -> None:
    acc = accelerator(name)
    each = [attention_seconds(acc, 4, 65536, 65536, 32, 8, 128, 128, backward=back) for back in (False, True)]
    assert each[1] / each[0] == pytest.approx(2.5 / acc.attention["bf16"].backward, rel=0.03)


@pytest.mark.parametrize("name", known())
def test_causal_attention_does_half_the_work(name: str) -> None:
    """Of long sequences; of one query it does all."""
    acc = accelerator(name)
    causal, full = (attention_seconds(acc, 8, 65536, 65536, 32, 8, 128, 128, causal=c) for c in (True, False))
    assert causal / full == pytest.approx(0.5, rel=0.05)
    one = [attention_seconds(acc, 8, 1, 4096, 32, 8, 128, 128, causal=c) for c in (True, False)]
    assert one[0] == one[1]


@given(NAMES, *[st.integers(1, 64)] * 2, *[st.integers(1, 8192)] * 2, st.booleans(), st.integers(1, 500))
@settings(max_examples=150, deadline=None)
def test_attention_takes_no_less_time_when_it_grows(
    name: str, batch: int, heads: int, queries: int, keys: int, backward: bool, more: int
) -> None:
    acc = accelerator(name)
    keys += queries

    def seconds(b: int, q: int, kv: int, h: int) -> float:
        return attention_seconds(acc, b, q, kv, h, 1, 128, 128, causal=False, backward=backward)

    grown = (batch + more, queries, keys, heads), (batch, queries + more, keys, heads)
    grown += (batch, queries, keys + more, heads), (batch, queries, keys, heads + more)
    assert all(seconds(batch, queries, keys, heads) <= seconds(*each) * (1 + 1e-12) for each in grown)


def test_memory_kernels_are_bytes_and_launches() -> None:
    acc = accelerator("h100")
    assert memory_seconds(acc, 0, kernels=7) == pytest.approx(7 * launch_seconds(acc))
    assert memory_seconds(acc, 2e9) - memory_seconds(acc, 1e9) == pytest.approx(1e9 / acc.memory_bandwidth)


def test_generations_get_faster() -> None:
    """The same large GEMM on each; what the data sheets say beyond doubt."""
    times = [gemm_seconds(accelerator(name), 16384, 8192, 8192) for name in ("a100", "h100", "b200")]
    assert all(before > 1.5 * after for before, after in pairwise(times))
    assert gemm_seconds(accelerator("h100"), 16384, 8192, 8192, "fp8") < 0.7 * times[1]


def test_a_roofline_is_what_it_says() -> None:
    """400 TFLOP/s at 0.5, 2 TB/s at 0.8."""
    acc = roofline()
    assert 2 * 8192**3 / (gemm_seconds(acc, 8192, 8192, 8192) - acc.launch) == pytest.approx(200e12, rel=0.01)
    assert memory_seconds(acc, 1.6e12) == pytest.approx(1.0, rel=1e-4)
    assert gemm_seconds(acc, 8192, 8192, 8192, "fp32") > 15 * gemm_seconds(acc, 8192, 8192, 8192)
    flops = 4 * 16 * 8192**2 * 32 * 128
    assert flops / attention_seconds(acc, 16, 8192, 8192, 32, 8, 128, 128, causal=False) == pytest.approx(
        200e12, rel=0.02
    )
    for missing in ("peak_flops", "memory_bandwidth"):
        device = replace(DeviceType("mine", None, 1e15, 1e12), **{missing: None})
        with pytest.raises(ValueError, match=missing):
            Accelerator.roofline(device)


def test_what_has_no_curve_is_refused() -> None:
    acc = accelerator("a100")
    with pytest.raises(ValueError, match="fp8"):
        gemm_seconds(acc, 1, 1, 1, "fp8")
    with pytest.raises(ValueError, match="fp32"):
        attention_seconds(acc, 1, 1, 1, 1, 1, 1, 1, dtype="fp32")
    for call in (
        lambda: gemm_seconds(acc, -1, 1, 1),
        lambda: gemm_seconds(acc, 1, 1, 1, groups=0),
        lambda: attention_seconds(acc, 1, -1, 1, 1, 1, 1, 1),
        lambda: memory_seconds(acc, -1),
    ):
        with pytest.raises(ValueError, match="negative"):
            call()


def test_elements_are_those_of_the_types() -> None:
    for name in known():
        assert {dtype: curve.element for dtype, curve in accelerator(name).gemm.items()}.items() <= ELEMENT.items()
