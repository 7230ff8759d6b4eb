"""A page in a real headless Chromium: what is drawn, and what a person does with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

LEFT, RIGHT = 118, 14  # of the plot in a chart, as in chart.js


FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1400,1000"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def opened(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


class Page:
    """A report opened in the browser."""

    def __init__(self, browser: webdriver.Chrome, folder: Path, text: str, width: int | None = None) -> None:
        self.browser = browser
        browser.get_log("browser")  # those of the page before
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        if width is not None:
            self.width(width)
        (folder / "report.html").write_text(text, encoding="utf-8")
        browser.get((folder / "report.html").as_uri())
        ready = "return document.documentElement.dataset.ready"
        self.ready = int(WebDriverWait(browser, 60).until(lambda _: self.script(ready)))  # the data are unpacked first
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
        (pixel,) = self.column(x, y, 1, name)
        return pixel

    def column(self, x: float, top: float, high: int, name: str = "gantt-0") -> list[tuple[int, ...]]:
        """The colours of pixels under each other."""
        data = self.script(
            "const [c, x, y, high] = arguments, r = c.width / c.clientWidth;"
            "const pixels = c.getContext('2d').getImageData(x * r, y * r, 1, high * r).data;"
            "return Array.from({length: high}, (_, k) => Array.from(pixels.slice(4 * Math.floor(k * r)).slice(0, 3)))",
            self.canvas(name),
            x,
            top,
            high,
        )
        return [tuple(pixel) for pixel in data]

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

    def width(self, pixels: int) -> None:
        """Show the page as a device of this width does; a phone if it is narrow."""
        device = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 800}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
        self.settle()

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
