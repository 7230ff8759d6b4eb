"""Small questions for tests of the search for strategies."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.engine import Engine, handed
from planner.files import read_cluster
from planner.importers.transformer.model import Model
from planner.prediction.table import read_model_file
from planner.problem import Cluster
from planner.strategies.inference.question import Question
from planner.strategies.request import Request


def model(name: str = "llama-3-8b", layers: int | None = None, width: float = 1.0) -> Model:
    """A shipped model with so many of its layers; ``width``: the share of hidden size that is kept."""
    found = read_model_file(Path(name))
    stack = found.decoder
    some = stack.layers if layers is None else (stack.layers * layers)[:layers]
    return replace(found, decoder=replace(stack, layers=some, hidden=int(stack.hidden * width)))


def question(gpus: int = 4, cluster: str = "h100", memory: float | None = None, **more: Any) -> Request:
    """Two layers of Llama 3 8B on GPUs of one node, unless said otherwise."""
    known: dict[str, Any] = {"model": model(layers=2), "global_batch": 8, "sequence": 2048} | more
    machines = known.pop("cluster_of", None) or read_cluster(Path(f"{cluster}:{-(-gpus // 8)}x{min(gpus, 8)}"))
    source = repr(known["model"])
    return Request("small", source=source, cluster=machines, gpus=(gpus,), memory=memory, **known)


def serving(
    gpus: int = 4, cluster: str = "", layers: int | None = 4, name: str = "llama-3-8b", **more: Any
) -> Question:
    """Prompts of 1,024 tokens and answers of 128 of four layers of Llama 3 8B, unless said otherwise."""
    known: dict[str, Any] = {"prompt": 1024, "output": 128} | more
    return Question("small", model(name, layers), read_cluster(Path(cluster or f"h100:1x{gpus}")), gpus, **known)


def machines(**gpus: int) -> Cluster:
    """A node of so many GPUs of each type, by the name of the type."""
    some = {kind: read_cluster(Path(f"{kind}:1x{count}")) for kind, count in gpus.items()}
    devices = [
        replace(each, name=f"{kind}{k}", node=f"{kind}-0")
        for kind, cluster in some.items()
        for k, each in enumerate(cluster.devices)
    ]
    types = {name: kind for cluster in some.values() for name, kind in cluster.types.items()}
    first = next(iter(some.values()))
    return replace(first, devices=tuple(devices), types=types, sha256=f"{gpus}")


@contextmanager
def engine(workers: int = 2) -> Iterator[Engine]:
    """An engine on threads of this process, which start at once."""
    with ThreadPoolExecutor(workers) as pool, Engine(handed(pool, workers)) as made:
        yield made
