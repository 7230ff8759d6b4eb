"""The page in a real headless Chromium, and the PNG. `.ci/run` calls it by name: it needs Chromium and two extras.

apt-get install chromium chromium-driver; pip install 'parallelism-planner[browser,png]'
"""

from __future__ import annotations

import struct
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from browser_page import Page
from random_plans import plan_of
from random_steps import two_copies
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from solver_problems import chain, config, posed, unit_cluster

from planner.baselines import baseline_timetable
from planner.commands.app import main
from planner.plan.plan import Plan, plan_to_json
from planner.problem import NetworkLevel, Problem
from planner.report.html import Shown, report_html
from planner.report.html import page as html_page
from planner.report.svg import gantt_svg

EVIL = "</script><script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\"><!--\u2028'&"


def published(problem: Problem, name: str) -> Plan:
    return replace(plan_of(problem, baseline_timetable(name, problem)), origin=f"baseline:{name}")


def stages() -> Problem:
    """Four stages with transfers of a quarter of a second and a cap that binds."""
    cluster = unit_cluster(4, 20.0, NetworkLevel(None, 0.25))
    return posed(*chain(4, parameters=2.0, activation=3.0), devices=cluster, microbatches=4)


@pytest.fixture
def page(chromium: webdriver.Chrome, tmp_path: Path) -> Page:
    """Four stages under ZB1P with 1F1B below, graph and cluster known."""
    problem = stages()
    plan = replace(published(problem, "zb1p"), origin="solve", lower_bound=12.0)
    shown = (Shown(plan, "this plan", problem), [Shown(published(problem, "1f1b"), "1f1b", problem)])
    return Page(chromium, tmp_path, report_html(*shown))


def rgb(page: Page, variable: str) -> tuple[int, ...]:
    text = page.script(
        "return getComputedStyle(document.documentElement).getPropertyValue('--' + arguments[0]).trim()", variable
    )
    return tuple(int(text[k : k + 2], 16) for k in (1, 3, 5))


ROW = 24 + 4 + 3  # near the top of the first device's compute row: below the axis, above the letters
NEXT = 27  # to the next device


def test_it_draws_the_plan(page: Page) -> None:
    """Colours where the passes are, the cause where the stream waits; no complaint, nothing fetched."""
    assert page.colour(page.x(0.3), ROW) == rgb(page, "F")
    assert page.colour(page.x(0.3), ROW + 3 * NEXT) == rgb(page, "input")
    assert page.count("W") > 500 and page.count("I") > 500
    assert page.count("I", "gantt-1") > 500
    page.move(200, 40, "memory-0")
    assert page.count("parameters", "memory-0") > 500 and page.count("s0", "memory-0") > 500
    assert "activations of s0" in page.tooltip() or "parameters" in page.tooltip()
    assert page.script("return performance.getEntriesByType('resource').length") == 0
    assert page.complaints() == []


def test_wheel_drag_and_keys_move_the_axis_of_all_plans(page: Page) -> None:
    whole = page.range()
    assert whole[0] == 0 and whole == page.range("gantt-1")
    under = (page.x(5.0), ROW)
    page.move(*under)
    canvas = page.canvas()
    size = canvas.size
    origin = ScrollOrigin.from_element(
        canvas, round(under[0] - size["width"] / 2), round(under[1] - size["height"] / 2)
    )
    ActionChains(page.browser).scroll_from_origin(origin, 0, -500).perform()
    page.settle()
    zoomed = page.range()
    assert zoomed[1] - zoomed[0] < 0.7 * (whole[1] - whole[0])
    assert zoomed[0] < 5.0 < zoomed[1] and page.x(5.0) == pytest.approx(under[0], abs=2)
    assert page.range("gantt-1") == zoomed
    page.move(600, ROW)
    ActionChains(page.browser, duration=20).click_and_hold().move_by_offset(-150, 0).release().perform()
    page.settle()
    assert page.range()[0] > zoomed[0] and page.range()[1] - page.range()[0] == pytest.approx(zoomed[1] - zoomed[0])
    page.keys("0")
    assert page.range() == whole
    page.keys("+", "+", Keys.ARROW_RIGHT)
    assert page.range()[1] - page.range()[0] < 0.5 * whole[1]
    page.press("[data-zoom=reset]")
    assert page.range() == whole
    assert page.complaints() == []


def test_tooltip_of_tasks_and_idle_time(page: Page) -> None:
    """Operator, pass, microbatch, copy, stream, times and transfers; the cause where nothing runs; gone when left."""
    page.move(page.x(0.5), ROW)
    text = page.tooltip()
    for words in ("s0", "F, forward, microbatch 0, copy 0", "g0, compute", "start 0 s, end 1 s", "duration 1 s"):
        assert words in text
    assert "sends output of s0, 0, g0 to g1: 1 s to 1.25 s" in text
    page.move(page.x(1.7), ROW + NEXT)
    assert "receives output of s0" in page.tooltip() and "waits for the transfer of" in page.tooltip()
    page.move(page.x(0.5), ROW + 3 * NEXT)
    assert "idle: waiting for input" in page.tooltip()
    page.move(60, ROW)
    assert page.tooltip() == ""


def test_toggles(page: Page) -> None:
    """Critical path, transfers, idle causes, colour by microbatch, a marked microbatch, dark."""
    assert page.count("path") == 0
    page.press("[data-show=path]")
    assert page.count("path") > 200
    page.press("[data-show=path]")
    before = page.count("nothing")
    page.press("[data-show=idle]")
    assert before > 100 and page.count("nothing") == 0
    plain = page.script("return arguments[0].toDataURL()", page.canvas())
    page.keys("t")
    assert page.script("return arguments[0].toDataURL()", page.canvas()) != plain
    page.keys("m")
    assert page.count("F") == 0
    page.keys("p")
    assert page.colour(page.x(0.3), ROW) == rgb(page, "F")
    page.move(page.x(1.3), ROW)
    ActionChains(page.browser).click().perform()
    page.settle()
    assert page.colour(page.x(0.1), ROW) != rgb(page, "F") and page.colour(page.x(1.8), ROW) == rgb(page, "F")
    page.keys(Keys.ESCAPE)
    light = rgb(page, "ground")
    page.press("#theme")
    assert rgb(page, "ground") != light and page.colour(3, 3) == rgb(page, "ground")
    assert page.complaints() == []


def test_names_inject_nothing(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    problem = stages()
    plan = published(problem, "1f1b")
    plan = replace(
        plan,
        graph=replace(plan.graph, name=EVIL),
        notes=(EVIL,),
        tasks=tuple(t._replace(operator=EVIL) if t.operator == "s0" else t for t in plan.tasks),
        placement=tuple(replace(p, operator=EVIL) if p.operator == "s0" else p for p in plan.placement),
    )
    page = Page(chromium, tmp_path, report_html(Shown(plan, EVIL)))
    page.move(page.x(0.5), ROW)
    assert page.tooltip().startswith("</script><script>")
    assert "hacked" in page.browser.title and page.browser.title != "hacked"
    assert page.script("return document.images.length") == 0
    assert page.script("return document.scripts.length") == 2
    assert page.complaints() == []


def test_fifty_thousand_tasks(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """Opens within seconds and still zooms; says how long it took."""
    cluster = unit_cluster(16, None, NetworkLevel(None, 0.1))
    problem = posed(*chain(64, times=(1.0, 1.2, 0.8)), devices=cluster, microbatches=260)
    plan = published(problem, "zb1p")
    assert len(plan.tasks) == 49_920
    text = report_html(Shown(plan, "large", problem))
    begun = time.perf_counter()
    page = Page(chromium, tmp_path, text)
    took = time.perf_counter() - begun
    print(
        f"50,000 tasks: {len(text) / 1e6:.1f} MB, ready {page.ready} ms after the start of loading, {took:.1f} s in all"
    )
    assert page.ready < 5000
    page.keys("+", "+", "+")
    page.move(page.x(sum(page.range()) / 2), ROW)
    assert "microbatch" in page.tooltip() or "idle" in page.tooltip()
    assert page.complaints() == []


def pipeline(count: int, microbatches: int, memory: float, *, prefix: str = "g", first: float = 1.0) -> Shown:
    """1F1B on devices with a cap; ``first``: the activation of the first stage, of the others 1."""
    cluster = unit_cluster(count, memory, NetworkLevel(None, 0.25))
    devices = tuple(replace(device, name=f"{prefix}{k}") for k, device in enumerate(cluster.devices))
    head, *others = chain(count, parameters=2.0, activation=1.0)
    operators = (replace(head, activation=first), *others)
    problem = posed(*operators, devices=replace(cluster, devices=devices), microbatches=microbatches)
    return Shown(published(problem, "1f1b"), "1f1b", problem)


def test_no_width_scrolls_the_page_sideways(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """Tables scroll in their own boxes; at 1280 pixels that of 64 devices with long names fits; axes can be read."""
    text = report_html(pipeline(64, 8, 600.0, prefix="rack-07.cluster-europe-west4.example.internal/gpu-"))
    for width in (390, 768, 1280):
        page = Page(chromium, tmp_path, text, width)
        inner, whole = page.script("return [innerWidth, document.documentElement.scrollWidth]")
        assert inner == width and whole <= width
        boxes = page.script(
            "return [...document.querySelectorAll('.wide')].map((box) =>"
            " [box.getBoundingClientRect().right, box.scrollWidth - box.clientWidth, box.firstChild.className])"
        )
        assert all(right <= width for right, _, _ in boxes)
        (hidden,) = (hidden for _, hidden, name in boxes if name == "devices")
        assert hidden > 100 if width == 390 else hidden == 0 if width == 1280 else True
        for name in ("gantt-0", "memory-0"):
            page.script("document.getElementById(arguments[0]).scrollIntoView()", name)
            page.settle()
            assert len(page.canvas(name).get_attribute("data-ticks").split(", ")) >= 4, (width, name)
        assert page.complaints() == []


def test_names_of_devices_stay_beside_their_numbers(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """On a phone the table scrolls under its first column."""
    page = Page(chromium, tmp_path, report_html(pipeline(4, 8, 60.0)), 390)
    before, after, name = page.script(
        "const box = document.querySelector('.devices').parentElement, cell = box.querySelector('tbody td:last-child');"
        "const x = (each) => each.getBoundingClientRect().left; const before = x(cell); box.scrollLeft = 10000;"
        "return [before, x(cell), x(box.querySelector('tbody th')) - x(box)]"
    )
    assert before > 390 and after < 390 and name == pytest.approx(0, abs=1)


def test_little_memory_is_seen(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """A tenth of the cap takes at least a fifth of the band, beside others of a tenth and beside a full device."""
    for first in (1.0, 14.0):
        page = Page(chromium, tmp_path, report_html(pipeline(4, 8, 60.0, first=first)))
        page.script("document.getElementById('memory-0').scrollIntoView()")
        page.settle()
        x = page.x(12.0, "memory-0")
        for device in range(4):
            column = page.column(x, 24 + 16 + device * (58 + 16), 58, "memory-0")
            filled = sum(each in (rgb(page, "parameters"), rgb(page, "s0")) for each in column)
            assert filled >= 58 / 5, (first, device)


def test_many_microbatches_open_on_warm_up_and_one_window(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """Also on a phone; ``all`` shows all, ``start`` returns. Few microbatches are shown whole."""
    text = report_html(pipeline(16, 128, 60.0))
    for width in (390, 1280):
        page = Page(chromium, tmp_path, text, width)
        opened = page.range()
        assert opened[0] == 0 and page.count("F") > 500 and page.count("steady") > 100
        output = page.browser.find_element(By.ID, "range")
        assert output.text.endswith("warm-up and one steady window of 16 microbatches")
        page.press("[data-zoom=reset]")
        assert page.range()[1] > 2 * opened[1] and output.text == ""
        page.press("[data-zoom=start]")
        assert page.range() == opened
    few = Page(chromium, tmp_path, report_html(pipeline(4, 8, 60.0)))
    assert not few.browser.find_element(By.CSS_SELECTOR, "[data-zoom=start]").is_displayed()
    assert few.range()[1] > 30


def test_whole_step(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """Step tasks in their colours, letters and words for them, variants, arrows of exchanged gradients."""
    problem, plan = two_copies()
    page = Page(chromium, tmp_path, report_html(Shown(plan, "x", problem)))
    for name in ("R", "U", "G", "R2", "U2", "G2", "reduce", "gather"):
        assert page.count(name) > 50, name
    update = next(t for t in plan.step_tasks if t.pass_ == "U" and t.device == "g0")
    page.move(page.x(update.start + 0.2), ROW)
    words = page.tooltip()
    assert f"U, optimizer, copy {update.copy}" in words and "waits for the end of R s" in words
    task = next(t for t in plan.tasks if (t.device, t.operator, t.copy) == ("g0", "s1", 1))
    page.move(page.x(task.start + 0.2), ROW)
    assert "as " not in page.tooltip()
    task = next(t for t in plan.tasks if (t.device, t.operator, t.copy) == ("g1", "s0", 1))
    page.move(page.x(task.start + 0.2), ROW + 38)
    assert "as recompute" in page.tooltip()
    assert not page.count("sent")
    page.press("[data-show=transfers]")
    assert page.count("sent") > 10
    page.press("[data-colour=microbatch]")
    assert page.count("U") > 50 and not page.count("W")
    assert page.complaints() == []


def test_deepseek_of_128_microbatches(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """A page of 3 MB at most that draws its opening; says how long that took (no limit: CI's cores are shared)."""
    problem = config("deepseek-v3-h800", microbatches=128)
    text = report_html(Shown(published(problem, "1f1b"), "1f1b", problem))
    assert len(text) <= 3_000_000
    begun = time.perf_counter()
    page = Page(chromium, tmp_path, text)
    took = time.perf_counter() - begun
    print(f"DeepSeek-V3, 128: {len(text) / 1e6:.2f} MB, ready after {page.ready} ms, {took:.1f} s in all")
    assert page.count("F") > 500 and page.count("steady") > 100
    assert page.complaints() == []


def test_the_middle_of_1000_microbatches_is_hatched(
    chromium: webdriver.Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens as ever; shown whole, start and end are drawn and nothing between them answers to the pointer."""
    monkeypatch.setattr(html_page, "TASKS_AT_MOST", 6_000)
    page = Page(chromium, tmp_path, report_html(pipeline(4, 1000, 60.0)))
    assert page.count("F") > 500
    page.press("[data-zoom=reset]")
    end = page.range()[1]
    page.move(page.x(0.1 * end), ROW)
    assert "microbatch" in page.tooltip() or "idle" in page.tooltip()
    for name in ("gantt-0", "memory-0"):
        page.move(page.x(0.6 * end, name), 60, name)
        drawn = {rgb(page, each) for each in ("F", "I", "W", "band", "parameters", "s0")}
        assert page.tooltip() == "" and not drawn & set(page.column(page.x(0.6 * end, name), 30, 80, name))
    page.move(page.x(0.95 * end, "memory-0"), 60, "memory-0")
    assert "parameters" in page.tooltip()
    assert page.complaints() == []


def test_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PNG of twice the picture's units with letters on it."""
    from planner.report.png import png_of

    monkeypatch.chdir(tmp_path)
    problem = config("dualpipe-4x8")
    Path("plan.json").write_text(plan_to_json(published(problem, "1f1b")), encoding="utf-8")
    assert main(["show", "plan.json", "--png", "plan.png", "--svg", "plan.svg"]) == 0
    data = Path("plan.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">I", data[16:20]) == (2400,)
    svg = Path("plan.svg").read_text(encoding="utf-8")
    assert png_of(svg) == data
    assert len(png_of(svg.replace("makespan", ""))) < len(data)


def test_png_has_letters_where_the_machine_has_no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the extra brings is enough."""
    import resvg_py

    from planner.report.png import png_of

    monkeypatch.setattr(resvg_py, "svg_to_bytes", partial(resvg_py.svg_to_bytes, skip_system_fonts=True))
    svg = gantt_svg(published(config("dualpipe-4x8"), "1f1b"))
    assert "makespan" in svg
    assert len(png_of(svg.replace("makespan", ""))) < len(png_of(svg))
