"""Valid files of every kind, as small as they can be and still have every key."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fuzzing.run import called

CHAIN = """\
schema: planner/graph@1
name: chain
microbatches: 4
operators:
  - {name: a, time: {forward: 1 ms, input_grad: 2 ms, weight_grad: 0}, parameters: 1 GB, activation: 9 MB, output: 1 MB}
  - {name: b, time: {forward: 1e-3}, parameters: 1.5 GiB, activation: 12 MB, held_for_weight_grad: 2 MB, inputs: [a]}
  - {name: c, time: {forward: 1 ms}, inputs: [b], output: 5e6, colocate: tail}
  - {name: d, work: {forward: {flops: 1e12, bytes: 3 GB}}, inputs: [c], colocate: tail, devices: [gpu]}
"""
BLOCKS = """\
schema: planner/graph@1
name: blocks
mode: training
microbatches: 8
operators:
  - {name: embed, time: {forward: 1}, parameters: 3, activation: 1, output: 1}
  - block: layer
    repeat: 3
    inputs: [embed]
    output: mix
    operators:
      - {name: attn, time: {forward: 1, input_grad: 1, weight_grad: 1}, activation: 2, parameters: 1, output: 1}
      - {name: send, stream: comm, time: {forward: 0.25}, inputs: [attn], output: 1}
      - block: inner
        repeat: 2
        inputs: [send]
        operators:
          - {name: mlp, time: {forward: {gpu: 1, fast: 0.5}}, activation: 1, output: 1}
      - {name: mix, inputs: [inner, attn], time: {forward: 0.5, weight_grad: null}, colocate: tail}
  - {name: head, inputs: [layer, layer.0.attn], time: {forward: 1}, devices: [gpu0, gpu1]}
"""
SHOP = """\
schema: planner/graph@1
name: shop
mode: inference
operators:
  - {name: j1, time: {forward: {m0: 3, m1: 4}}}
  - {name: j2, time: {forward: {m1: 2}}, inputs: [j1]}
  - {name: k1, time: {forward: {m0: 2, m1: 2}}, activation: 1 GB, output: 1 GB}
  - {name: k2, time: {forward: 5}, inputs: [k1, j1]}
"""
WHOLE = """\
schema: planner/graph@1
name: whole
microbatches: 3
clip_gradients: true
operators:
  - name: a
    time: {forward: 1, input_grad: 1, weight_grad: 1}
    parameters: 2
    activation: 8
    held_for_weight_grad: 2
    output: 1
    variants:
      - {name: recompute, time: {input_grad: 3, weight_grad: null}, activation: 2}
      - {name: lean, time: {forward: {gpu: 2, old: 3}}, activation: 4, held_for_weight_grad: 1, parameters: 3}
    step: {reduce: 0.5, update: {fast: 1, slow: 2}, gather: 0.25, gradient: 3}
  - name: b
    inputs: [a]
    work: {forward: {flops: 0, bytes: 0}}
    activation: 4
    variants: [{name: lean, work: {input_grad: {flops: 0}}, activation: 1}]
    step: {gradient: 2}
"""
PAIR = """\
schema: planner/cluster@1
name: pair
device_types:
  fast: {memory: 8 GiB, peak_flops: 900 TFLOPS, memory_bandwidth: 3 TB/s, efficiency: 0.5, transfers: overlap}
devices:
  - {name: gpu, type: fast, count: 2, node: n0}
network:
  within_node: {bandwidth: 100 GB/s, latency: 5 us}
  between_nodes: {bandwidth: 10 GB/s, latency: 10 us}
  links: [{from: gpu0, to: gpu1, bandwidth: 200 GB/s, latency: 3 us}]
"""
FOUR = """\
schema: planner/cluster@1
device_types:
  fast: {memory: 40}
  slow: {transfers: exclusive}
devices:
  - {name: gpu, type: fast, count: 2, node: n0}
  - {name: old, type: slow, memory: 60, node: n1}
network:
  between_nodes: {latency: 0.1}
"""
SHOP_CLUSTER = """\
schema: planner/cluster@1
name: machines
device_types: {m: {}}
devices: [{name: m0, type: m}, {name: m1, type: m}]
"""
PROBLEMS = {"chain": (CHAIN, PAIR), "blocks": (BLOCKS, FOUR), "shop": (SHOP, SHOP_CLUSTER), "whole": (WHOLE, FOUR)}

PIPEDREAM = """\
node1 -- Input0 -- forward_compute_time=0.000, backward_compute_time=0.000, activation_size=0.0, parameter_size=0.000
node4 -- Embedding(32320, 8) -- forward_compute_time=0.073, backward_compute_time=6.949, \
activation_size=6291456.000, parameter_size=1000.000
node10 -- LSTM(8, 8) -- forward_compute_time=2.491, backward_compute_time=4.203, \
activation_size=[6291456.0; 131072.0; 131072.0], parameter_size=400.000 -- stage_id=1
\tnode1 -- node4
\tnode4 -- node10
"""
MSR: Mapping[str, Any] = {
    "maxSizePerFPGA": 100.0,
    "maxFPGAs": 2,
    "maxCPUs": 1,
    "nodes": [
        {"id": k, "supportedOnFpga": 1, "cpuLatency": 10.0 * k, "fpgaLatency": 1.0 * k, "isBackwardNode": int(k > 2)}
        | {"name": f"node{k}", "size": 10.0 * k, "colorClass": min(k, 5 - k)}
        for k in (1, 2, 3, 4)
    ],
    "edges": [
        {"sourceId": 1, "destId": 2, "cost": 0.5, "size": 1000.0},
        {"sourceId": 3, "destId": 4, "cost": 0.25, "size": 64.0},
    ],
}
LLAMA: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
MIXTRAL = {**LLAMA, "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 4}
MIXTRAL |= {"num_experts_per_tok": 2}
TIMES = "operator,pass,device type,seconds\na,forward,fast,0.5 ms\nb,W,,1\nlayer.attn,I,gpu,0.25\n"

SOURCES: Mapping[str, Mapping[str, str]] = {
    "hf": {"llama.json": json.dumps(LLAMA, indent=1), "mixtral.json": json.dumps(MIXTRAL, indent=1)},
    "msr": {"msr.json": json.dumps(MSR, indent=1)},
    "pipedream": {"graph.txt": PIPEDREAM},
    "profile": {"times.csv": TIMES},
    "onnx": {"model.onnx": "\x08\x09\x12\x07pytorch:\x00"},
    "torch": {"program.pt2": "PK\x03\x04"},
}
"""Files that ``planner import`` takes, by importer."""


@dataclass(frozen=True)
class Problem:
    """A graph, a cluster, and plans of them, as texts."""

    name: str
    graph: str
    cluster: str
    plans: tuple[str, ...]


@cache
def problems() -> tuple[Problem, ...]:
    """The problems, with plans that planner makes of them."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (graph, cluster) in PROBLEMS.items():  # under the names that cases have: a plan knows its inputs'
            files = [str(Path(folder, "graph.yaml")), str(Path(folder, "cluster.yaml"))]
            for path, text in zip(files, (graph, cluster), strict=True):
                Path(path).write_text(text, encoding="utf-8")
            plan, plans = str(Path(folder, "plan.json")), []
            compact = ["baseline", "gpipe", *files, "--microbatches", "9", "--compact"]  # with progressions
            solved = (["solve", *files], ["solve", *files, "--copies", "2"])
            for words in (*solved, ["baseline", "gpipe", *files], compact):
                limits = ["--effort", "30"] if words[0] == "solve" else []
                if called([*words, *limits, "-o", plan, "--quiet"]).code == 0:  # gpipe does not apply everywhere
                    plans.append(Path(plan).read_text(encoding="utf-8"))
            assert plans, name
            made.append(Problem(name, graph, cluster, tuple(plans)))
    return tuple(made)
