"""The graphs and clusters that come with the installation: what they are called, what they are, where they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.files.errors import InputError, did_you_mean

CLUSTERS = "clusters"
"""The folder of the clusters that belong to no graph."""


@dataclass(frozen=True)
class Shipped:
    """A graph with its cluster, or a cluster alone. ``files``: below the folder that ``folder()`` names."""

    name: str
    about: str
    files: tuple[Path, ...]

    @property
    def is_cluster(self) -> bool:
        """Whether it is a cluster alone."""
        return len(self.files) == 1


def folder() -> Path:
    """Where they stand: in the package as a wheel installs it, in a checkout beside the package."""
    package = Path(__file__).parents[1]
    places = (package / "configs", package.parent / "configs")
    for place in places:
        if (place / CLUSTERS).is_dir():
            return place
    raise InputError(places[0], None, None, "is missing: this installation came without its graphs and clusters")


def shipped() -> Sequence[Shipped]:
    """All of them by name, graphs first."""
    place = folder()
    graphs = [
        Shipped(graph.parent.name, about(graph), tuple(_below(place, graph, graph.with_name("cluster.yaml"))))
        for graph in sorted(place.glob("*/graph.yaml"))
    ]
    clusters = [
        Shipped(each.stem, about(each), _below(place, each)) for each in sorted(place.glob(f"{CLUSTERS}/*.yaml"))
    ]
    return [*graphs, *clusters]


def cluster_text(name: str) -> str | None:
    """The text of ``TYPE:NODESxGPUS``: so many nodes of the shipped cluster of a type; None for what is no such name.

    Raises ``InputError`` for an unknown type.
    """
    found = re.fullmatch(r"([a-z0-9-]+):([1-9]\d{0,5})x([1-9]\d{0,5})", name, re.ASCII)
    if found is None:
        return None
    kind, nodes, gpus = found.groups()
    path = folder() / CLUSTERS / f"{kind}-8.yaml"
    if not path.is_file():
        known = [each.stem.removesuffix("-8") for each in sorted(path.parent.glob("*-8.yaml"))]
        raise InputError(Path(name), None, None, f"no cluster is shipped for {kind}: {did_you_mean(kind, known)}")
    text = re.sub(r"(?m)^name: .*$", f'name: "{name}"', path.read_text(encoding="utf-8"), count=1)
    return re.sub(r"count: \d+, node: \w+", f"count: {gpus}, nodes: {nodes}", text, count=1)


def about(path: Path) -> str:
    """The first sentence of the comment on top of a file."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or line.strip("# ") == "":
            break
        words.append(line.strip("# "))
    return re.split(r"(?<=\.) ", " ".join(words), maxsplit=1)[0]


def _below(place: Path, *files: Path) -> tuple[Path, ...]:
    return tuple(file.relative_to(place) for file in files)
