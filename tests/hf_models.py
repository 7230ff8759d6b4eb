"""What the tests of ``planner import hf`` share: the configs that come with planner, and graphs made of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.files import read_graph
from planner.importers.document import checked, to_yaml
from planner.importers.huggingface.config import read_config
from planner.importers.huggingface.families import read_model
from planner.importers.huggingface.flags import HfFlags
from planner.importers.huggingface.importer import complete, hf_document
from planner.importers.transformer.model import Model
from planner.importers.transformer.setting import Setting
from planner.problem import Graph, Operator

HERE = Path(__file__).resolve().parent / "data"
CONFIGS = HERE.parents[1] / "configs" / "models"
PUBLISHED: dict[str, Any] = json.loads((HERE / "hf_published.json").read_text(encoding="utf-8"))
NAMES = sorted(path.stem for path in CONFIGS.iterdir())


def model_of(name: str) -> Model:
    """The dimensions in one of the configs."""
    return read_model(read_config(CONFIGS / f"{name}.json"), None)


def setting_of(name: str, tokens: int | None = None, **fields: Any) -> Setting:
    """The complete setting of one of the models; models of free resolution see 448 x 448 pixels."""
    model = model_of(name)
    return complete(model, _flags(model, tokens, fields))


def _flags(model: Model, tokens: int | None, fields: dict[str, Any]) -> HfFlags:
    data, images = fields.pop("data", None), fields.pop("images", None)
    setting = replace(Setting(), **fields)
    if model.vision is not None and model.vision.image_pixels is None and setting.image_pixels is None:
        setting = replace(setting, image_pixels=448)
    return HfFlags(setting, tokens, data=data, images=images)


def graph_of(name: str, folder: Path, tokens: int | None = None, **fields: Any) -> Graph:
    """The graph of one of the models, written and read back."""
    document = hf_document(CONFIGS / f"{name}.json", _flags(model_of(name), tokens, fields))
    path = folder / "graph.yaml"
    path.write_text(checked(to_yaml(document)), encoding="utf-8")
    return read_graph(path)


def named(graph: Graph, name: str) -> Operator:
    """An operator by its full name."""
    return graph.operators[graph.index[name]]
