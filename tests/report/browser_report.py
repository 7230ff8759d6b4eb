"""The page in a real headless Chromium, and the PNG. `.ci/run` calls it by name: it needs Chromium and two extras.

apt-get install chromium chromium-driver; pip install 'parallelism-planner[browser,png]'
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from random_plans import plan_of
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from solver_problems import chain, config, posed, unit_cluster

from planner.baselines import baseline_timetable
from planner.commands.app import main
from planner.plan.plan import Plan, plan_to_json
from planner.problem import NetworkLevel, Problem
from planner.report.html import Shown, report_html
from planner.report.svg import gantt_svg

LEFT, RIGHT = 118, 14  # of the plot in a chart, as in chart.js
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1400,1000"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
EVIL = "</script><script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\"><!--\u2028'&"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


class Page:
    """A report opened in the browser."""

    def __init__(self, browser: webdriver.Chrome, folder: Path, text: str) -> None:
        self.browser = browser
        browser.get_log("browser")  # those of the page before
        (folder / "report.html").write_text(text, encoding="utf-8")
        browser.get((folder / "report.html").as_uri())
        self.ready = int(self.script("return document.documentElement.dataset.ready"))
        self.settle()

    def script(self, text: str, *arguments: Any) -> Any:
        return self.browser.execute_script(text, *arguments)  # type: ignore[no-untyped-call]

    def settle(self) -> None:
        """Two frames later everything asked for is drawn."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30)))"
        )

    def canvas(self, name: str = "gantt-0") -> WebElement:
        return self.browser.find_element(By.ID, name)

    def range(self, name: str = "gantt-0") -> tuple[float, float]:
        data = self.script("return [arguments[0].dataset.from, arguments[0].dataset.to]", self.canvas(name))
        return float(data[0]), float(data[1])

    def x(self, at: float, name: str = "gantt-0") -> float:
        """Where an instant is, from the left edge of the canvas."""
        start, end = self.range(name)
        plot = self.script("return arguments[0].clientWidth", self.canvas(name)) - LEFT - RIGHT
        return float(LEFT + (at - start) / (end - start) * plot)

    def colour(self, x: float, y: float, name: str = "gantt-0") -> tuple[int, ...]:
        pixel = self.script(
            "const [c, x, y] = arguments, r = c.width / c.clientWidth;"
            "return Array.from(c.getContext('2d').getImageData(x * r, y * r, 1, 1).data)",
            self.canvas(name),
            x,
            y,
        )
        return tuple(pixel[:3])

    def count(self, variable: str, name: str = "gantt-0") -> int:
        """How many pixels have the colour of a variable of the style sheet."""
        found = self.script(
            "const [c, name] = arguments, style = getComputedStyle(document.documentElement);"
            "const hex = style.getPropertyValue('--' + name).trim().slice(1);"
            "const want = [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16));"
            "const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
            "for (let k = 0; k < data.length; k += 4)"
            "  if (want.every((w, i) => data[k + i] === w)) n += 1; return n",
            self.canvas(name),
            variable,
        )
        return int(found)

    def move(self, x: float, y: float, name: str = "gantt-0") -> None:
        canvas = self.canvas(name)
        self.script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        size = canvas.size
        actions = ActionChains(self.browser, duration=20)
        actions.move_to_element_with_offset(canvas, round(x - size["width"] / 2), round(y - size["height"] / 2))
        actions.perform()
        self.settle()

    def tooltip(self) -> str:
        box = self.browser.find_element(By.ID, "tooltip")
        return box.text if box.is_displayed() else ""

    def press(self, selector: str) -> None:
        self.browser.find_element(By.CSS_SELECTOR, selector).click()
        self.settle()

    def keys(self, *keys: str) -> None:
        self.canvas().send_keys(*keys)
        self.settle()

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


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
