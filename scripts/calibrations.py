"""Makes planner/costs/data/*.yaml again from the tables it is fitted to: python scripts/calibrations.py TABLES.

TABLES holds kernels_gemm.csv, kernels_attention_fwd.csv and kernels_nccl.csv (from the parquet files of
ai-dynamo/aiconfigurator) and network_vidur/ (from microsoft/vidur); docs/costs.md has commits and columns.
"""

from __future__ import annotations

import sys
from pathlib import Path

from planner.commands.app import main
from planner.costs.accelerator import DATA

KERNELS = (
    "GEMMs, attention, NCCL: https://github.com/ai-dynamo/aiconfigurator, "
    "commit 095f58a51c4ca8e61b66ec108d86f223f8d559ce, systems/data; Apache-2.0"
)
SENDS = "Sends: https://github.com/microsoft/vidur, data/profiling/network; MIT"
H800 = (
    "H800: H100 with NVLink of 400 instead of 900 GB/s (both directions); "
    "DeepSeek-V3, arXiv 2412.19437, section 3.1; Zhao et al. 2025, arXiv 2505.09343, section 2.2"
)

HOPPER = ("--units", "132", "--backward", "0.8")
CALIBRATIONS = {
    "a100": ("a100_sxm", "a100_dgx", ("--units", "108", "--backward", "0.86"), ()),
    "h100": ("h100_sxm", "h100_dgx", HOPPER, ()),
    "h800": ("h100_sxm", "h100_dgx", (*HOPPER, "--link-share", "0.4444"), (H800,)),
    "h200": ("h200_sxm", None, HOPPER, ()),
    "b200": ("b200_sxm", None, ("--units", "148"), ()),
    "b300": ("b300_sxm", None, ("--units", "148"), ()),
    "gb200": ("gb200", None, ("--units", "152"), ()),
    "gb300": ("gb300", None, ("--units", "152"), ()),
}
"""By name: the GPU in the tables, that of vidur's sends, further options, further sources."""


def calibrated(tables: Path) -> int:
    for name, (gpu, sends, more, sources) in CALIBRATIONS.items():
        print(name)
        vidur = tables / "network_vidur" / f"{sends}_send_recv.csv"
        options = [str(tables / "kernels_gemm.csv"), "--gpu", gpu, "--name", name, "-o", str(DATA / f"{name}.yaml")]
        options += ["--attention", str(tables / "kernels_attention_fwd.csv")]
        options += ["--nccl", str(tables / "kernels_nccl.csv"), *more, "--force"]
        options += ["--send", str(vidur)] if sends else []
        for source in (KERNELS, *((SENDS,) if sends else ()), *sources):
            options += ["--source", source]
        code = main(["calibrate", *options])
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(calibrated(Path(sys.argv[1])))
