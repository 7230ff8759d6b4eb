"""``planner init``: a small graph.yaml and cluster.yaml to start from."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, note
from planner.files.flag_values import UsageFault
from planner.files.whole import make_folder, write_all

GRAPH = """\
# What one microbatch computes, operator by operator: a small transformer in training. Replace it with yours.
# (From a Hugging Face config.json, ONNX or torch.export: planner import --help. All keys: docs/formats.md.)
schema: planner/graph@1
name: my-model
mode: training            # or inference: forward passes only
microbatches: 4           # identical microbatches in one step; --microbatches overrides it

operators:
  - name: embed
    # Seconds of the passes. A number alone is in base units (seconds, bytes); a text may carry a unit.
    # input_grad left out: as long as forward. weight_grad left out: the same, if there are parameters.
    time: {forward: 1 ms}
    parameters: 1 GB      # held all step long: weights, gradients, optimizer state
    activation: 20 MB     # held by a microbatch from the start of forward to the end of its last backward pass
    output: 16 MB         # sent to each device that reads it; the gradient comes back in the same size

  - block: layer          # a repeated part: its repetitions are layer.0.attention, layer.0.mlp, layer.1.attention, ...
    repeat: 2
    inputs: [embed]       # what the first repetition reads; each further one reads the one before
    operators:
      - name: attention   # no inputs: it reads what the block reads
        time: {forward: 1 ms, input_grad: 1 ms, weight_grad: 1 ms}
        parameters: 1.2 GB
        activation: 300 MB
        output: 16 MB
      - name: mlp
        inputs: [attention]
        work:             # instead of time: converted by the cluster's device type (roofline)
          forward: {flops: 400 GFLOP, bytes: 200 MB}
        parameters: 2.4 GB
        activation: 400 MB
        output: 16 MB

  - name: head
    inputs: [layer]       # the last operator of the last repetition
    time: {forward: 1 ms}
    parameters: 1 GB
    activation: 100 MB
"""

CLUSTER = """\
# Devices and the network between them. Ready files for A100, H100, H800, H200, B200, MI300X and Ascend 910B come with
# planner: planner configs. All keys: docs/formats.md.
schema: planner/cluster@1
name: my-cluster

device_types:
  gpu-80:
    memory: 76 GiB              # what a device offers; --memory-cap overrides it
    peak_flops: 1000 TFLOPS     # peak_flops, memory_bandwidth and efficiency matter for operators with work only
    memory_bandwidth: 3.35 TB/s
    efficiency: 0.4             # the share of peak_flops that is reached
    transfers: overlap          # or exclusive: a transfer also occupies the compute streams at its ends

devices:
  - {name: gpu, type: gpu-80, count: 2, node: n0}    # gpu0 and gpu1
  # - {name: far, type: gpu-80, count: 2, node: n1}  # a second machine

network:                        # left out: transfers are free
  within_node: {bandwidth: 450 GB/s, latency: 5 us}
  between_nodes: {bandwidth: 50 GB/s, latency: 10 us}
"""

FILES = {"graph.yaml": GRAPH, "cluster.yaml": CLUSTER}


@dataclass(frozen=True)
class InitFlags:
    """Options of ``planner init``."""

    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write them.")] = Path()
    force: options.Force = False
    quiet: options.NoNotes = False


def run(flags: InitFlags) -> int:
    """Write both files into the folder, which is created if missing; print the command that plans them.

    Raises ``UsageFault`` and writes neither if one of them exists and ``--force`` is not given.
    """
    folder = flags.folder
    targets = {folder / name: text for name, text in FILES.items()}
    there = [str(path) for path in targets if os.path.lexists(path)]
    if there and not flags.force:
        verb = "exists" if len(there) == 1 else "exist"
        raise UsageFault(f"{' and '.join(there)} {verb} already: name another folder, or --force to replace them")
    make_folder(folder)
    write_all(targets)
    for path in targets:
        note(f"written to {path}", flags.quiet)
    emit("planner solve " + " ".join(shlex.quote(str(path)) for path in targets) + "\n")
    return ExitCode.DONE
