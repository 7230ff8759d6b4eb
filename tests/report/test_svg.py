"""The picture: well-formed, escaped, complete, and small enough."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET

from samples import long_plan, pipeline, task

from planner.report.svg import gantt_svg

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_names_are_escaped() -> None:
    found = texts(gantt_svg(pipeline(names=("<gpu&0>", "'\"\x00")), ["a < b & c"]))
    assert "<gpu&0>" in found and "'\"?" in found
    assert any(text.startswith("a < b & c") for text in found)


def test_title_line_and_labels() -> None:
    """Makespan, bubble and bound in the title; the microbatch in every box."""
    found = texts(gantt_svg(pipeline()))
    title = next(text for text in found if "makespan" in text)
    assert "makespan 8 s" in title and "bubble 25.00 %" in title and "lower bound 4 s" in title
    assert found.count("2") == 4  # F and I of microbatch 2 on both devices
    assert "transfer, at the sending device" in found


def test_several_plans_share_one_axis() -> None:
    both = ET.fromstring(gantt_svg([pipeline(), pipeline(step=2.0)], ["fast", "slow"]))
    bands = [float(r.get("width", "0")) for r in both.iter(f"{SVG}rect") if r.get("fill") == "#f2f4f7"]
    assert len(bands) == 4
    assert abs(bands[2] / bands[0] - 2) < 1e-3
    assert float(both.get("height", "0")) > float(ET.fromstring(gantt_svg(pipeline())).get("height", "0"))


def test_tasks_without_a_pause_are_one_box() -> None:
    """Operators of one pass of a microbatch, back to back, are drawn as one."""
    tasks = tuple(task(f"layer.{i}", "F", 0, "gpu0", float(i), 1.0) for i in range(8))
    svg = gantt_svg(pipeline(tasks=tasks, transfers=()))
    assert svg.count("M") == svg.count("v5") + 1


def test_large_and_empty_plans() -> None:
    begun = time.perf_counter()
    svg = gantt_svg(long_plan(10_000))
    assert time.perf_counter() - begun < 3
    assert len(svg) < 1_500_000
    ET.fromstring(svg)
    ET.fromstring(gantt_svg(pipeline(tasks=(), transfers=(), makespan=0.0, lower_bound=None, gap=None)))
