"""Every hint to install something names what pip knows it by: ``planner`` is somebody else's on the package index."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.common.version import DISTRIBUTION, extra_hint

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
OTHERS = {"torch==2.13.0", "requirements-planner.txt"}
"""Third-party requirements that a hint may name, and the reader's own file of docs/ci.md."""

HINT = re.compile(r"""pip\ install((?:\s+-[-\w]+)*)\s+((?:(?:'[^']*'|"[^"]*"|[^\s`'",;)]+)[ ]?)+)""", re.VERBOSE)
WORD = re.compile(r"""'([^']*)'|"([^"]*)"|([^\s'"]+)""")


def requirements(text: str) -> Iterator[str]:
    """What each hint installs: its first word after the flags, and further ones that are quoted."""
    for hint in HINT.finditer(text):
        for k, word in enumerate(WORD.finditer(hint.group(2))):
            if k and word.group(3):
                break
            yield next(filter(None, word.groups()), "")


def known(requirement: str) -> bool:
    """Whether it is the distribution, a checkout or a wheel, with extras that exist, or an allowed other."""
    match = re.fullmatch(r"(.+?)(?:\[([^\]]*)\])?", requirement)
    assert match is not None
    name, extras = match.group(1), set(filter(None, (match.group(2) or "").split(",")))
    ours = name in (DISTRIBUTION, ".") or name.endswith(".whl")
    return (ours and extras <= EXTRAS | {"{extra}"}) or requirement in OTHERS


def sources() -> list[Path]:
    folders = [path for name in ("planner", "docs", "configs") for path in (ROOT / name).rglob("*")]
    texts = {".py", ".md", ".yaml", ".html", ".js"}
    return [ROOT / "README.md", ROOT / "Makefile", *sorted(path for path in folders if path.suffix in texts)]


def test_every_hint_names_the_distribution() -> None:
    found = []
    for path in sources():
        text = path.read_text(encoding="utf-8").replace("{DISTRIBUTION}", DISTRIBUTION)
        found += [(str(path.relative_to(ROOT)), each) for each in requirements(text)]
    assert len(found) >= 8
    assert [each for each in found if not known(each[1])] == []


@pytest.mark.parametrize(
    "wrong", ["planner", "'planner[png]'", "-e planner", "'parallelism-planner[jpg]'", '"onnx>=1"']
)
def test_a_wrong_one_would_be_found(wrong: str) -> None:
    (requirement,) = requirements(f"install it: `pip install {wrong}`, or do not")
    assert not known(requirement)


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_the_hint_for_an_extra(extra: str) -> None:
    """Both ways are there: from the installed wheel, which pip asks for the extra, and from a checkout."""
    assert list(requirements(extra_hint(extra))) == [f"{DISTRIBUTION}[{extra}]", f".[{extra}]"]
    assert "wheel" in extra_hint(extra) and "checkout" in extra_hint(extra)


def test_the_name_is_that_of_pyproject() -> None:
    assert PROJECT["name"] == DISTRIBUTION
