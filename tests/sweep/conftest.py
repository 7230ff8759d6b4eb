"""Fixtures of the tests of sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_runs import FILES


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Graph and cluster, and an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return FILES
