"""Graphs made of a config for one case: without step tasks, or with one choice of versions by kind of operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CHOSEN = "chosen"
"""The variant of a choice by kind, in the graph that is made for it."""


def graph_for(path: Path, step: bool, kinds: Mapping[str, str], out: Path) -> Path:
    """The graph itself where the case takes it as it is; else its copy in ``out``.

    ``kinds``: the variant that operators of these names keep, as ``CHOSEN``; all others have none.
    """
    if step and not kinds:
        return path
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not step:
        document.pop("clip_gradients", None)
    for operator in _operators(document):
        if not step:
            operator.pop("step", None)
        if kinds:
            wanted = kinds.get(operator["name"])
            kept = [variant | {"name": CHOSEN} for variant in operator.pop("variants", []) if variant["name"] == wanted]
            if kept:
                operator["variants"] = kept
    out.write_text(yaml.safe_dump(document, sort_keys=False, width=10**6), encoding="utf-8")
    return out


def _operators(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for each in entry["operators"]:
        if "block" in each:
            yield from _operators(each)
        else:
            yield each
