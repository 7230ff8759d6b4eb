"""Job configurations read by torchtitan's own parser. Needs `make torch`; `.ci/run` runs it by name. It knows no skip.

torchtitan's package imports its models, which need kernels for GPUs; the parser does not. So the package is entered
here without its `__init__`.
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest
from launch_samples import layers, made, planned

from planner.exporters.torchtitan import TorchTitan, TorchTitanOptions

package = ModuleType("torchtitan")
package.__path__ = [str(distribution("torchtitan").locate_file("torchtitan"))]
sys.modules.setdefault("torchtitan", package)

from torchtitan.config import ConfigManager  # noqa: E402


@pytest.mark.parametrize("name", ["1f1b", "interleaved-1f1b", "zb1p", "zbv"])
def test_torchtitan_reads_what_is_exported(name: str, tmp_path: Path) -> None:
    problem = made(layers(6), 2, microbatches=4, tensor=2, data=4, experts=8, expert=4)
    exported = TorchTitan().export(planned(problem, name), problem, TorchTitanOptions())
    path = tmp_path / "job.toml"
    path.write_text(exported.text, encoding="utf-8")
    config = ConfigManager().parse_args(["--job.config_file", str(path)])
    assert config.parallelism.pipeline_parallel_degree == 2
    assert config.parallelism.expert_parallel_degree == 4
    assert config.parallelism.module_fqns_per_model_part[0][0] == "tok_embeddings"
    assert config.training.global_batch_size == 16
    assert config.activation_checkpoint.mode == "none"


def test_torchtitan_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    """So that the test above can fail."""
    path = tmp_path / "job.toml"
    path.write_text("[parallelism]\npipeline_parallel_stages = 2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="pipeline_parallel_stages"):
        ConfigManager().parse_args(["--job.config_file", str(path)])
