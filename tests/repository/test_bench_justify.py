"""``scripts/bench_justify.py``: the row of the bench that compares searches with justification and without."""

from __future__ import annotations

import pytest

from bench_justify import main


def test_it_compares_the_same_evaluations(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for the placement, and the ratio of the makespans."""
    monkeypatch.setattr("sys.argv", ["bench_justify.py", "multimodal-choose", "--evaluations", "40", "--seeds", "1"])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("multimodal-choose base interleaved x3, 40 evaluations: without ")
    assert lines[-1].startswith("40 evaluations: makespans x ")
