"""Write configs/ from public dimensions and measured times.

Every number of the configs is in scripts/configurations (one module a family), with its source and the formula that
converts it to bytes or FLOP. `python scripts/make_configs.py` derives the YAML files from them. With `--check` nothing
is written, and the exit code is 1 if a file differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from configurations import (
    deepseek,
    deepseek_full,
    deepseek_units,
    deepseek_whole,
    jobshops,
    large,
    llama,
    mixed,
    msr,
    multimodal,
    pipedream,
    piper,
    sailor,
    t5,
    unit,
)
from configurations.text import Config

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def configs() -> list[Config]:
    """Everything in configs/."""
    return [
        *unit.configs(),
        deepseek.deepseek(),
        deepseek_units.deepseek_units(),
        deepseek_full.deepseek_full(),
        *deepseek_whole.configs(),
        multimodal.multimodal(),
        multimodal.multimodal(choose=True),
        mixed.mixed(),
        *t5.configs(),
        *msr.configs(),
        *pipedream.configs(),
        piper.bert32(),
        piper.choose(),
        *sailor.configs(),
        large.large(),
        *llama.configs(),
        *jobshops.configs(),
    ]


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    check = parser.parse_args().check
    differing = []
    for config in configs():
        folder = CONFIGS / config.name
        for path, text in ((folder / "graph.yaml", config.graph), (folder / "cluster.yaml", config.cluster)):
            if check:
                if not path.is_file() or path.read_text(encoding="utf-8") != text:
                    differing.append(path)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for path in differing:
        print(f"{path} differs from what scripts/make_configs.py writes", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
