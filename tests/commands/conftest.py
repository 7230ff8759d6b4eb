"""Fixtures of the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_files import CLUSTER, GRAPH


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """GRAPH and CLUSTER in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    Path("graph.yaml").write_text(GRAPH, encoding="utf-8")
    Path("cluster.yaml").write_text(CLUSTER, encoding="utf-8")
    return ["graph.yaml", "cluster.yaml"]
