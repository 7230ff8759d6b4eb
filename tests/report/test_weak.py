"""A plan far from its bound says what binds."""

from __future__ import annotations

from dataclasses import replace

from samples import pipeline

from planner.report.weak import weakness


def test_a_close_plan_says_nothing() -> None:
    plan = pipeline()
    assert weakness(replace(plan, gap=0.1)) is None
    assert weakness(replace(plan, gap=None)) is None


def test_memory_that_binds_is_named() -> None:
    """With devices that are nearly full: memory, on how many of them, and what would help; else a longer limit."""
    plan = replace(pipeline(), gap=0.5)
    full = tuple(replace(device, peak_memory=100.0, memory=100.0) for device in plan.devices[:1])
    free = tuple(replace(device, peak_memory=1.0, memory=100.0) for device in plan.devices)
    said = weakness(replace(plan, devices=(*full, *free[1:])))
    assert said is not None
    assert "gap 50 %" in said and "Memory binds: 1 of 2 devices" in said and "Recomputation" in said
    roomy = weakness(replace(plan, devices=free))
    assert roomy is not None and "Memory" not in roomy and "--time-limit" in roomy
