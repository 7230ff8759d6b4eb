"""The prose of docs/truth.md, the goals, and where the tables come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

METHOD = """\
Training steps that others have measured and published, and what `planner predict` says of them.

`.venv/bin/python scripts/truth.py` predicts every row of the tables and writes this page; `--table FILE...` takes any
CSV in their form, `--rows FILE` writes every row with its prediction.

How to read it:

- **median**, **p90**: median and 90th percentile of |predicted / measured - 1|. **bias**: median of
  predicted / measured - 1; below 0 we promise too much.
- **one line**: constant efficiency x bubble. FLOP of the model (causal attention at half; a third more where all is
  recomputed) over the GPU's peak and a constant, times 1 + (pp - 1) / (vpp x microbatches). Its constant is fitted on
  the very rows that it is judged on, so that its bias is 0.
- **constants of planner**: kernels and collectives are calibrated on kernels, never on steps ([costs](costs.md)). One
  constant of an accelerator and up to two of a runtime are fitted on steps, and the rows they were fitted on are left
  out of every figure of step time and choice; `scripts/fit_constants.py` fits again. Which constants there are, and
  that unfused kernels keep what docs/costs.md says, was chosen with these tables in view: other tables are the stricter
  test. No number of the memory is fitted, but that rule was picked by the memory of nanotron_dev. Fitted:
{constants}
- **choice**: groups of at least {least} strategies for one model, cluster, framework, sequence and batch. A strategy
  that we say is too large is picked after all others. **regret**: the measured time of our first pick, or the best
  measured of our first three, over the best measured in the group: geometric mean over groups, and worst.
  **Spearman**: correlation of predicted and measured ranks, the median over groups. Where the one-line model predicts
  the same for several, the first in the table is picked.
- **memory**: the fullest rank, on rows that state it; a stated GB is taken as 2^30 bytes. **called too large**:
  measured runs that we say do not fit.
- Model, cluster and strategy come from the row's columns: MLPs without a gate are GPT-like (LayerNorm, learned
  positions; biases but for MPT), others Llama-like. The cluster is the shipped one of that GPU
  ([clusters](clusters.md)), so 50 GB/s a GPU between H100 nodes and 25 GB/s between A100 nodes. FP16 is predicted as
  BF16.
"""

NOT_MODELLED = """\
- Noise: one configuration differs between two releases of a framework by a median of 3 to 5 %, up to 16 %; the same
  run twice in one table differs, too. No prediction can be nearer than that.
- Loading of data, checkpoints, logging, evaluation; garbage collection and allocator retries near the memory cap.
- Stragglers, failing links, congestion by other jobs; how a scheduler places nodes in the network.
- Slower clocks of hot GPUs, other than as the calibration has them.
- Which kernels and fusions a framework picks at a release; tensor-parallel modes that a table does not record.
- Uneven loads of experts.
"""


@dataclass(frozen=True)
class Goal:
    """A figure of a table that is to be at most ``most``, or at least where ``least``."""

    table: str
    what: str
    figure: str
    most: float
    least: bool = False


GOALS = (
    Goal("dgxc_dev", "dense BF16 H100: median error", "median", 0.08),
    Goal("dgxc_dev", "dense BF16 H100: 90th percentile", "p90", 0.15),
    Goal("nanotron_dev", "regret of the best of three picks, geometric mean", "three", 1.05),
    Goal("nanotron_dev", "Spearman, median of groups", "spearman", 0.75, least=True),
    Goal("nanotron_dev", "median error", "median", 0.18),
    Goal("vtrain_one_node", "median error", "median", 0.15),
    Goal("llm_foundry_dev", "median error", "median", 0.12),
    Goal("nanotron_dev", "peak memory: median error", "memory", 0.10),
    Goal("nanotron_dev", "measured runs called too large", "too large", 0.02),
)
"""Those of the issue that asks for this page."""

SOURCES: Mapping[str, str] = {
    "nanotron_ultrascale": "Hugging Face space nanotron/ultrascale-playbook, Apache-2.0",
    "vtrain": "[VIA-Research/vTrain](https://github.com/VIA-Research/vTrain), MIT",
    "dgxc_benchmarking": "[NVIDIA/dgxc-benchmarking](https://github.com/NVIDIA/dgxc-benchmarking), Apache-2.0 and MIT",
    "llm_foundry_mpt": "[mosaicml/llm-foundry](https://github.com/mosaicml/llm-foundry), Apache-2.0",
}
"""By the tables' column ``source``. This repository holds none of the rows."""

NAMES: Mapping[str, str] = {
    "model": "model",
    "arch": "architecture",
    "gpu": "GPU",
    "precision": "precision",
    "gpus": "GPUs",
    "nodes": "nodes",
    "tp": "tensor parallel",
    "cp": "context parallel",
    "ep": "expert parallel",
    "pp": "pipeline",
    "vpp": "stages a rank",
    "dp": "data parallel",
    "microbatches": "microbatches",
    "mbs": "sequences a microbatch",
    "seq": "tokens a sequence",
    "hidden": "hidden size",
    "layers": "layers",
    "recompute": "recompute",
    "zero": "ZeRO",
}
"""The columns by which errors are shown, and what they are called."""
