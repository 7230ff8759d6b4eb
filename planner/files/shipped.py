"""The graphs, clusters and models that come with the installation: names, what they are, where they stand.

A cluster goes by ``TYPE:NODESxGPUS`` wherever a cluster.yaml does, a model by its name wherever a config.json does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from planner.files.errors import InputError, did_you_mean

CLUSTERS = "clusters"
"""The folder of the clusters that belong to no graph."""

MODELS = "models"
"""The folder of the configs of models."""


class Kind(StrEnum):
    """What comes along: a graph with its cluster, a cluster alone, the config.json of a model."""

    GRAPH = "graph"
    CLUSTER = "cluster"
    MODEL = "model"


@dataclass(frozen=True)
class Shipped:
    """One of them. ``files``: below the folder that ``folder()`` names; a graph's first, then its cluster's."""

    name: str
    kind: Kind
    about: str
    files: tuple[Path, ...]


def folder() -> Path:
    """Where they stand: in the package as a wheel installs it, in a checkout beside the package."""
    package = Path(__file__).parents[1]
    places = (package / "configs", package.parent / "configs")
    for place in places:
        if (place / CLUSTERS).is_dir():
            return place
    raise InputError(places[0], None, None, "is missing: this installation came without its graphs and clusters")


def shipped() -> Sequence[Shipped]:
    """All of them by name: graphs, then models, then clusters."""
    place = folder()
    graphs = [
        Shipped(graph.parent.name, Kind.GRAPH, about(graph), _below(place, graph, graph.with_name("cluster.yaml")))
        for graph in sorted(place.glob("*/graph.yaml"))
    ]
    models = [
        Shipped(name, Kind.MODEL, _about_model(each), _below(place, each)) for name, each in _model_files().items()
    ]
    clusters = [
        Shipped(each.stem, Kind.CLUSTER, about(each), _below(place, each))
        for each in sorted(place.glob(f"{CLUSTERS}/*.yaml"))
    ]
    return [*graphs, *models, *clusters]


def model_names() -> Sequence[str]:
    """The names that ``model_file`` knows."""
    return list(_model_files())


def model_file(path: Path) -> Path:
    """``path`` itself, or where nothing stands there, the config of the shipped model of that name, in any case.

    The stem of what comes back is the model's name then. Raises ``InputError`` for what can only be a name (no folder
    before it, no ``.json`` behind) and is none.
    """
    name = str(path)
    if name == "-" or os.path.exists(name) or path.name != name or name.lower().endswith(".json"):
        return path
    known = _model_files()
    if name.lower() not in known:
        message = f"no such file, and no model of that name comes along: {did_you_mean(name, known)}"
        raise InputError(path, None, None, f"{message} (planner configs lists them)")
    return known[name.lower()]


def _model_files() -> Mapping[str, Path]:
    return {each.stem: each for each in sorted(folder().glob(f"{MODELS}/*.json"))}


def cluster_text(name: str) -> str | None:
    """The text of ``TYPE:NODESxGPUS``: so many nodes of the shipped cluster of a type; None for what is no such name.

    Raises ``InputError`` for an unknown type.
    """
    found = re.fullmatch(r"([a-z0-9-]+):([1-9]\d{0,5})x([1-9]\d{0,5})", name.lower(), re.ASCII)
    if found is None:
        return None
    kind, nodes, gpus = found.groups()
    path = folder() / CLUSTERS / f"{kind}-8.yaml"
    if not path.is_file():
        known = [each.stem.removesuffix("-8") for each in sorted(path.parent.glob("*-8.yaml"))]
        raise InputError(Path(name), None, None, f"no cluster is shipped for {kind}: {did_you_mean(kind, known)}")
    text = re.sub(r"(?m)^name: .*$", f'name: "{name.lower()}"', path.read_text(encoding="utf-8"), count=1)
    return re.sub(r"count: \d+, node: \w+", f"count: {gpus}, nodes: {nodes}", text, count=1)


def about(path: Path) -> str:
    """The first sentence of the comment on top of a file."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or line.strip("# ") == "":
            break
        words.append(line.strip("# "))
    return re.split(r"(?<=\.) ", " ".join(words), maxsplit=1)[0]


def _about_model(path: Path) -> str:
    """The dimensions that tell models apart; the names of the fields are those of the families."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    language = {**config, **config.get("text_config", {})}

    def first(*keys: str) -> int | None:
        return next((int(language[key]) for key in keys if key in language), None)

    layers = first("num_hidden_layers", "n_layer", "num_layers")
    experts = first("n_routed_experts", "num_local_experts", "num_experts")
    sides = ", as many in the decoder" if "num_layers" in config else ""  # T5
    text = f"{config['model_type']}: {layers} layers of width {first('hidden_size', 'n_embd', 'd_model')}{sides}"
    if experts is not None:
        text += f", {experts} experts, {language['num_experts_per_tok']} a token"
    return text + (", with a vision tower" if "vision_config" in config else "")


def _below(place: Path, *files: Path) -> tuple[Path, ...]:
    return tuple(file.relative_to(place) for file in files)
