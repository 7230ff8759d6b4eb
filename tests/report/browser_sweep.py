"""The page of a sweep in a real headless Chromium: hints, rows that light up, links. `.ci/run` calls it by name."""

from __future__ import annotations

from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from planner.commands.app import main

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "dualpipe-4x8"


def test_a_mark_says_its_figures_and_leads_to_the_report(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    files = [str(CONFIG / name) for name in ("graph.yaml", "cluster.yaml")]
    grid = ["--memory-cap", "1,3,9", "--effort", "30", "--baselines", "1f1b", "--processes", "1", "--quiet"]
    assert main(["sweep", *files, "-o", str(tmp_path), *grid]) == 0
    chromium.get_log("browser")
    chromium.get((tmp_path / "sweep.html").as_uri())
    marks = chromium.find_elements(By.CSS_SELECTOR, "svg circle[data-row]")
    rows = chromium.find_elements(By.CSS_SELECTOR, "tbody tr")
    tip = chromium.find_element(By.ID, "tooltip")
    assert len(marks) == 2 and len(rows) == 3 and not tip.is_displayed()
    assert "infeasible" in rows[0].text
    ActionChains(chromium).move_to_element(marks[1]).perform()
    assert tip.is_displayed() and "makespan 27 s" in tip.text and "bound 27 s" in tip.text
    assert "lit" in str(rows[2].get_attribute("class")) and "lit" not in str(rows[1].get_attribute("class"))
    ActionChains(chromium).move_to_element(rows[1]).perform()
    assert not tip.is_displayed() and "lit" in str(marks[0].get_attribute("class"))
    link = chromium.find_elements(By.CSS_SELECTOR, "svg a")[1]
    chromium.execute_script("arguments[0].focus()", link)  # type: ignore[no-untyped-call]
    assert tip.is_displayed(), "by keyboard, too"
    link.send_keys(Keys.ENTER)
    assert chromium.current_url.endswith("plans/memory-cap-9-B.html")
    assert chromium.find_element(By.TAG_NAME, "h1").text == "plan of dualpipe-4x8 on unit-x4"
    assert chromium.get_log("browser") == [], "nothing is blocked or missing"
