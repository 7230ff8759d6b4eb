"""Compiled code without a place for its cache, and with a cache that is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODULE = """
from planner.common.compiled import compiled, functions, is_compiled, uncached

@compiled(nogil=True)
def double(x):
    return 2 * x

before = is_compiled()
assert double(21) == 42 and is_compiled()
print(before, uncached, sum(functions[0].stats.cache_hits.values()))
"""


def run(folder: Path, before: str = "") -> str:
    """What a process prints that compiles one function, its cache in ``folder``."""
    (folder / "doubling.py").write_text(MODULE, encoding="utf-8")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    script = f"{before}\nimport doubling"
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_damaged_cache_counts_as_empty(tmp_path: Path) -> None:
    """Index or code cut off, or other bytes: compiled anew, and whole again for the next process."""
    assert run(tmp_path) == "False [] 0"
    for damaged, content in (("*.nbi", b""), ("*.nbc", b"no pickle at all")):
        files = list((tmp_path / "cache").rglob(damaged))
        assert files
        for file in files:
            file.write_bytes(content)
        assert run(tmp_path).endswith("[] 0")
    assert run(tmp_path) == "True [] 1"  # loaded, and known before it runs


def test_no_folder_can_be_written(tmp_path: Path) -> None:
    """A read-only installation without a home: compiled in every process, and said in ``uncached``."""
    nowhere = "from numba.core import caching; caching.CacheImpl._locator_classes = []"
    nowhere += "; caching.CompileResultCacheImpl._locator_classes = []"
    assert run(tmp_path, nowhere) == "False ['double'] 0"
