"""The tables of docs/costs.md are those of the shipped calibrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from planner.costs.accelerator import DATA

PAGE = Path(__file__).resolve().parents[2] / "docs" / "costs.md"
NAMES = ("a100", "h100", "h200", "b200", "b300", "gb200", "gb300")  # H800 is H100 but for its links

GEMM = ("launch", "peak", "bandwidth", "tile", "depth", "waves", "split", "sharpness", "cast")
ATTENTION = ("launch", "peak", "softmax", "depth", "longest", "passes", "backward")
LINK = ("latency", "per_rank", "ramp", "bandwidth", "scale")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def curves(data: dict[str, dict[str, Any]], title: str, keys: tuple[str, ...]) -> str:
    rows = [
        [name, kind, *(str(curve[key]) for key in keys)]
        for name, each in data.items()
        for kind, curve in each[title].items()
        if kind != "fp32"
    ]
    return table(["", "", *(f"`{key}`" for key in keys)], rows)


def tables() -> dict[str, str]:
    """By heading, from the files."""
    data = {name: yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8")) for name in NAMES}
    kinds = list(dict.fromkeys(kind for each in data.values() for kind in each["errors"]))
    errors = [
        [kind.removeprefix("links."), *(_percent(each["errors"].get(kind)) for each in data.values())] for kind in kinds
    ]
    return {
        "gemm": curves(data, "gemm", GEMM),
        "attention": curves(data, "attention", ATTENTION),
        "links": curves(data, "links", LINK),
        "errors": table(["%", *NAMES], errors),
    }


def _percent(error: dict[str, float] | None) -> str:
    return "" if error is None else f"{100 * error['median']:.1f}, {100 * error['p90']:.1f}"


def test_the_page_has_the_numbers_of_the_files() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for title, text in tables().items():
        assert text in page, f"{title}: write into docs/costs.md\n{text}"
