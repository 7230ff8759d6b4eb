"""A small model, a cluster of eight devices, and tables for them."""

from __future__ import annotations

import json
from pathlib import Path

LLAMA = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "vocab_size": 1000,
}

CLUSTER = """\
schema: planner/cluster@1
name: h100-8
device_types:
  h100: {memory: 76 GiB, peak_flops: 989 TFLOPS, memory_bandwidth: 3.35 TB/s, efficiency: 0.5}
devices:
  - {name: gpu, type: h100, count: 8, node: n0}
network:
  within_node: {bandwidth: 450 GB/s, latency: 5 us}
  between_nodes: {bandwidth: 50 GB/s, latency: 10 us}
"""


def laid_out(folder: Path, table: str | bytes) -> list[str]:
    """The three arguments of ``planner predict``."""
    (folder / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    (folder / "cluster.yaml").write_text(CLUSTER, encoding="utf-8")
    (folder / "s.csv").write_bytes(table.encode("utf-8") if isinstance(table, str) else table)
    return [str(folder / name) for name in ("config.json", "cluster.yaml", "s.csv")]
