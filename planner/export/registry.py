"""The formats of ``planner export`` by name. A new one is a module with an ``Exporter`` and an entry here."""

from __future__ import annotations

from planner.export import Exporter
from planner.export.megatron import Megatron
from planner.export.torch_csv import TorchCsv
from planner.export.trace import Trace

EXPORTERS: dict[str, Exporter] = {exporter.name: exporter for exporter in (Trace(), TorchCsv(), Megatron())}
"""In the order in which help lists them."""
