"""The formats of ``planner export`` by name. A new one is a module with an ``Exporter`` and an entry here."""

from __future__ import annotations

from planner.exporters import Exporter
from planner.exporters.megatron import Megatron
from planner.exporters.megatron_bridge import MegatronBridge
from planner.exporters.torch_csv import TorchCsv
from planner.exporters.torchtitan import TorchTitan
from planner.exporters.trace import Trace

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter for exporter in (Trace(), TorchCsv(), Megatron(), MegatronBridge(), TorchTitan())
}
"""In the order in which help lists them."""
