"""Llama-3.1-70B in groups of eight tensor-parallel ranks, as the importer makes it, with a choice of recomputation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from configurations.text import Config, comment
from planner.importers.document import to_yaml
from planner.importers.huggingface.flags import HfFlags
from planner.importers.huggingface.importer import hf_document
from planner.importers.transformer.setting import Recompute, Setting

MODEL = Path(__file__).resolve().parents[2] / "configs" / "models" / "llama-3.1-70b.json"
TENSOR, STAGES, DATA = 8, 8, 8
NODE, PORT = 450e9, 50e9  # bytes/s: NVLink of an H100, and its 400 Gb/s port


def configs() -> list[Config]:
    """A short sequence, whose activations fit, and a long one, whose do not; 2 and 4 million tokens a step."""
    return [_config(8192, 32), _config(32768, 16)]


def _config(tokens: int, microbatches: int) -> Config:
    name = f"llama-3.1-70b-tp{TENSOR}-pp{STAGES}-{tokens}"
    setting = Setting(
        microbatches=microbatches,
        tensor=TENSOR,
        recompute=Recompute.CHOOSE,
        interconnect=PORT,
        tensor_interconnect=NODE,
    )
    document = hf_document(MODEL, HfFlags(setting, tokens=tokens, data=DATA, name=name))
    told = f"""
Llama-3.1-70B, sequences of {tokens} tokens, on {STAGES} stages of {TENSOR} H100 each, which may recompute.

- A stage is a tensor-parallel group on one machine, of which one rank is planned.
- {DATA} replicas of the pipeline make {DATA} x {microbatches} sequences a step.
- Dimensions: config.json of meta-llama/Llama-3.1-70B. What follows is the importer's own.

{document.header.rstrip()}
"""
    run = f"#\n# run: planner solve configs/{name}/graph.yaml configs/{name}/cluster.yaml\n"
    schema = "schema: planner/graph@1\n"
    return Config(name, to_yaml(replace(document, header=told)).replace(schema, run + schema, 1), _cluster())


def _cluster() -> str:
    return (
        comment(
            f"""
{STAGES} machines of eight H100 SXM 80 GB, each one pipeline stage: a device stands for one of the {TENSOR}
tensor-parallel ranks of a machine, which run in lockstep. Rates, memory (80 GiB less 4 GiB) and efficiency as in
configs/clusters/h100-8.yaml, which names the sources. Between machines each rank has a 400 Gb/s port of its own,
{PORT / 1e9:g} GB/s; NVLink is in the graph, whose collectives take {NODE / 1e9:g} GB/s.
"""
        )
        + f"schema: planner/cluster@1\nname: h100x{TENSOR}x{STAGES}\ndevice_types:\n"
        + "  h100: {memory: 76 GiB, peak_flops: 989 TFLOPS, memory_bandwidth: 3.35 TB/s, efficiency: 0.4}\ndevices:\n"
        + "".join(f"  - {{name: gpu{d}, type: h100, node: n{d}}}\n" for d in range(STAGES))
        + "network:\n  between_nodes: {bandwidth: 50 GB/s, latency: 10 us}\n"
    )
