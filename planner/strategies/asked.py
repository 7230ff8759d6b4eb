"""From names and files to a question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.files.cluster_file import read_cluster
from planner.files.shipped import model_file
from planner.importers.transformer.model import Model
from planner.importers.transformer.setting import Precision, Recompute
from planner.prediction.table import read_model_file
from planner.problem import Cluster
from planner.runtimes.names import ANY
from planner.strategies.request import DEGREES, RUNNABLE, Request


def request_of(
    config: Path, cluster: Path, *, family: str | None = None, gpus: Sequence[int] | None = None, **more: Any
) -> Request:
    """The question about a model (its file, or the name of a shipped one) on a cluster.

    ``gpus``: how many to use, or several numbers; None: all. ``more``: fields of ``Request``. Raises ``InputError`` for
    the files, and ``ValueError`` for the other arguments.
    """
    name, model, machines, many = read_both(config, cluster, family, gpus)
    if more.get("schedules", RUNNABLE) not in (RUNNABLE, ANY):
        raise ValueError(f"schedules must be {RUNNABLE} or {ANY}")
    for kind, field, default in ((Precision, "precision", "bf16"), (Recompute, "recompute", "choose")):
        known = [str(each.value) for each in kind]
        if more.get(field, default) not in known:
            raise ValueError(f"{field} must be one of {', '.join(known)}")
    for degree in more.get("fixed", {}):
        if degree not in DEGREES:
            raise ValueError(f"there is no degree {degree!r} to fix: {', '.join(DEGREES)}")
    own = Path(more.get("calibration") or "")
    source = repr(model) + (own.read_text(encoding="utf-8") if own.is_file() else "")
    return Request(name, model, source, machines, gpus=many, **more)


def read_both(
    config: Path, cluster: Path, family: str | None, gpus: Sequence[int] | None
) -> tuple[str, Model, Cluster, tuple[int, ...]]:
    """The model with its name, the cluster, and how many of its GPUs to use (None: all).

    Raises ``InputError`` for the files, and ``ValueError`` for the number of GPUs.
    """
    if str(config) == str(cluster) == "-":
        raise ValueError("only one of config and cluster can come from stdin: name a file for the other")
    model, machines = read_model_file(config, family), read_cluster(cluster)
    path = model_file(config)
    name = path.stem if path.stem != "config" else path.resolve().parent.name or "model"
    many = (len(machines.devices),) if gpus is None else tuple(gpus)
    if max(many) > len(machines.devices):
        raise ValueError(f"gpus {max(many)} are more than the {len(machines.devices)} of the cluster")
    return name, model, machines, many
