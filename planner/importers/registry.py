"""The formats of ``planner import`` by name. A new one is a module with an ``Importer`` and an entry here."""

from __future__ import annotations

from planner.importers.huggingface.command import HuggingFace
from planner.importers.importer import Importer
from planner.importers.measured.msr import Msr
from planner.importers.measured.pipedream import PipeDream
from planner.importers.measured.profile import MeasuredProfile
from planner.importers.tensors.command import Onnx, Torch

IMPORTERS: dict[str, Importer] = {
    importer.name: importer for importer in (PipeDream(), Msr(), MeasuredProfile(), HuggingFace(), Onnx(), Torch())
}
"""In the order in which help lists them."""
