"""The page taken apart: what a browser reads, and the data as its script unpacks them."""

from __future__ import annotations

import base64
import json
import zlib
from html.parser import HTMLParser
from itertools import accumulate
from typing import Any


class Page(HTMLParser):
    """Scripts, texts and attributes of a page, as a browser splits it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._in: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = None

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        else:
            self.texts.append(data)


def data_of(page: Page) -> Any:
    """As ``data.js`` reads it; the packed columns are gone."""
    document = json.loads(zlib.decompress(base64.b64decode(page.scripts[0], validate=True)))
    for plan in document["plans"]:
        scale = plan.pop("scale")
        for each in (plan["tasks"], plan["transfers"], plan["idle"]):
            each["start"], each["end"] = _instants(each.pop("gap"), each.pop("length"), scale)
        plan["transfers"]["readerPtr"] = [0, *accumulate(plan["transfers"].pop("readers"))]
        back = plan["waits"].pop("back")
        plan["waits"]["node"] = [k - each if each else -1 for k, each in enumerate(back)]
        plan["idle"]["device"] = list(accumulate(plan["idle"]["device"]))
        plan["path"] = list(accumulate(plan["path"]))
        for device in plan["memory"] or ():
            device["time"] = [tick / scale for tick in accumulate(device["time"])]
            sizes = device.pop("sizes")
            device["change"] = [sizes[k] for k in device.pop("size")]
    return document


def _instants(gaps: list[int], lengths: list[int], scale: float) -> tuple[list[float], list[float]]:
    starts, ends, tick = [], [], 0
    for gap, length in zip(gaps, lengths, strict=True):
        starts.append((tick + gap) / scale)
        tick += gap + length
        ends.append(tick / scale)
    return starts, ends
