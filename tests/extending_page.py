"""The code of docs/extending.md: blocks by their tag, as modules, entries and command lines."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")


def block(language: str, tag: str) -> str:
    """The block that starts with ```language extending:tag."""
    (found,) = re.findall(rf"^```{language} extending:{tag}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def module(tag: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The python block as a module of that name, until the test ends."""
    path = folder / f"{name}.py"
    path.write_text(block("python", tag), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, made)
    spec.loader.exec_module(made)
    return made


def entry(tag: str, registry: ModuleType, **imported: Any) -> Any:
    """The value of the block ``tag-entry`` as the registry's file would read it, with what it would import.

    ``name: value,`` gives a dictionary, ``value,`` a tuple.
    """
    text, names = block("python", f"{tag}-entry"), {**vars(registry), **imported}
    try:
        return eval(f"{{{text}}}", names) if ":" in text else eval(f"({text})", names)
    except SyntaxError as error:
        raise AssertionError(f"the block {tag}-entry is no entry: {text}") from error


def command_lines(tag: str) -> Iterator[list[str]]:
    """The arguments of each line of the block of shell."""
    for line in block("sh", tag).splitlines():
        program, *arguments = shlex.split(line)
        assert program == "planner"
        yield arguments
