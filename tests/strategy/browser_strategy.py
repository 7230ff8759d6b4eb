"""The page of a space of strategies in a real headless Chromium. What it takes: tests/report/browser_report.py."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from browser_page import Page
from random_plans import plan_of
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from solver_problems import config
from space_samples import CAP, document
from strategy.questions import serving

from planner.baselines import baseline_timetable
from planner.strategies.inference.answer import document_of
from planner.strategies.inference.best import best_serving
from planner.strategies.page import strategy_html


@pytest.fixture
def page(chromium: webdriver.Chrome, tmp_path: Path) -> Page:
    """A space of 6,480 strategies with a winner whose step is known."""
    problem = config("dualpipe-4x8")
    plan = plan_of(problem, baseline_timetable("1f1b", problem))
    return Page(chromium, tmp_path, strategy_html(document(memory_cap=CAP), plan, problem))


def winner(page: Page) -> tuple[float, float]:
    """Where the ring around the winner stands: the middle of its pixels."""
    found = page.script(
        "const c = document.getElementById('scatter'), r = c.width / c.clientWidth;"
        "const hex = getComputedStyle(document.documentElement).getPropertyValue('--winner').trim().slice(1);"
        "const want = [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16));"
        "const {data} = c.getContext('2d').getImageData(0, 0, c.width, c.height); const xs = [], ys = [];"
        "for (let k = 0; k < data.length; k += 4) if (want.every((w, i) => Math.abs(data[k + i] - w) < 3)) {"
        "  xs.push((k / 4) % c.width / r); ys.push(Math.floor(k / 4 / c.width) / r); }"
        "const rows = new Map(); ys.forEach((y) => rows.set(y, (rows.get(y) || 0) + 1));"
        "const wide = ys.filter((y) => y > 30 && rows.get(y) > 3 * r);"
        "const middle = (all) => (Math.min(...all) + Math.max(...all)) / 2;"
        "return [middle(xs.filter((_, k) => ys[k] > 40)), middle(wide)]"
    )
    return float(found[0]), float(found[1])


def words(page: Page, name: str) -> str:
    return page.browser.find_element(By.ID, name).text


def test_hover_says_what_a_strategy_is(page: Page) -> None:
    """On the winner: its degrees, rank, step and memory; the line in the other chart and its row are marked."""
    assert page.count("solved", "scatter") > 100 and page.count("ink", "parallel") > 100
    before = page.count("ink", "parallel")
    page.move(*winner(page), "scatter")
    best = document()["strategies"][0]
    said = page.tooltip()
    assert f"tp {best['tp']} · cp {best['cp']}" in said and f"recompute {best['recompute']}" in said
    assert "solved, rank 1" in said and f"step {best['seconds']:.3f} s" in said and "of the cap" in said
    assert page.count("ink", "parallel") > before + 300
    assert "marked" in page.browser.find_element(By.CSS_SELECTOR, "tr[data-point]").get_attribute("class")
    page.move(300, 5, "scatter")
    assert page.tooltip() == ""
    page.move(300, 200, "parallel")
    assert "tp " in page.tooltip()
    assert page.script("return performance.getEntriesByType('resource').length") == 0
    assert page.complaints() == []


def test_legend_and_axes_choose_what_is_shown(page: Page) -> None:
    """A state is switched off and on; a click on a value of an axis keeps it, a drag along one some; all comes back."""
    all_shown = words(page, "shown")
    page.press("[data-state='out of memory']")
    assert words(page, "shown") != all_shown
    assert (
        page.browser.find_element(By.CSS_SELECTOR, "[data-state='out of memory']").get_attribute("aria-pressed")
        == "false"
    )
    page.press("[data-state='out of memory']")
    assert words(page, "shown") == all_shown
    canvas = page.canvas("parallel")
    page.move(44, 44 + 0.5, "parallel")
    ActionChains(page.browser, duration=20).click().perform()
    page.settle()
    assert words(page, "shown").endswith("by tp")
    page.press("#clear")
    assert words(page, "shown") == all_shown
    page.move(44, 60, "parallel")
    ActionChains(page.browser, duration=20).click_and_hold().move_by_offset(0, 150).release().perform()
    page.settle()
    assert words(page, "shown").endswith("by tp")
    canvas.send_keys(Keys.ESCAPE)
    page.settle()
    assert words(page, "shown") == all_shown
    assert page.complaints() == []


def test_keys_go_through_all_in_order_of_time(page: Page) -> None:
    canvas = page.canvas("scatter")
    canvas.send_keys(Keys.HOME)
    page.settle()
    first = page.tooltip()
    canvas.send_keys(Keys.ARROW_RIGHT)
    page.settle()
    assert page.tooltip() not in ("", first)
    canvas.send_keys(Keys.ARROW_LEFT)
    page.settle()
    assert page.tooltip() == first


def test_dark_and_narrow_and_without_a_winner(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """Colours follow the scheme; a phone scrolls nothing but boxes; a page without a plan complains of nothing."""
    page = Page(chromium, tmp_path, strategy_html(document(most=300, memory_cap=CAP), None, None), 390)
    assert page.script("return document.documentElement.scrollWidth") <= 390
    light = page.count("solved", "scatter")
    page.press("#theme")
    assert light > 20 and page.count("solved", "scatter") > 20 and page.count("ground", "scatter") > 10_000
    assert not page.browser.find_elements(By.ID, "gantt-0")
    assert page.complaints() == []


def test_twenty_thousand_strategies(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """Ready in seconds; the pointer is followed without a pause that one sees. CI's cores are shared: wide limits."""
    given = document(memory_cap=CAP)
    given["points"] = [point for _ in range(4) for point in given["points"]][:20_000]
    page = Page(chromium, tmp_path, strategy_html(given, None, None))
    begun = time.perf_counter()
    for x in range(200, 400, 20):
        page.move(x, 300, "scatter")
    each = (time.perf_counter() - begun) / 10
    print(f"20,000 strategies: ready after {page.ready} ms, {1000 * each:.0f} ms a move of the pointer")
    assert page.ready < 8000 and each < 2
    assert page.complaints() == []


def test_throughput_against_latency(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """The page of inference: Home takes the best, which both charts mark; its figures and the frontier are drawn."""
    answer = best_serving(serving(8, layers=32, max_token=0.04))
    given = document_of(answer)
    page = Page(chromium, tmp_path, strategy_html(given, None, None))
    assert page.count("solved", "scatter") > 100 and page.count("winner", "scatter") > 500
    canvas = page.canvas("scatter")
    assert "throughput against latency" in str(canvas.get_attribute("aria-label"))
    canvas.send_keys(Keys.HOME)
    page.settle()
    best, said = given["strategies"][0], page.tooltip()
    assert f"tp {best['tp']}" in said and "solved, rank 1" in said and "tokens/s/GPU" in said
    assert "first token in" in said and "then one every" in said
    assert page.count("ink", "scatter") > 20 and "marked" in str(
        page.browser.find_element(By.CSS_SELECTOR, "tr[data-point]").get_attribute("class")
    )
    all_shown = words(page, "shown")
    page.press("[data-state='too slow']")
    assert words(page, "shown") != all_shown
    assert page.complaints() == []
