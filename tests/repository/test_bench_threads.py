"""``scripts/bench_threads.py``: the row of the bench that compares threads."""

from __future__ import annotations

import re

import pytest

from bench_threads import main


def test_a_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same evaluations with both, and a ratio that follows from the rates."""
    monkeypatch.setattr("sys.argv", ["bench_threads.py", "deepseek-v3-units", "--effort", "60", "--repeats", "1"])
    assert main() == 0
    one, two, row = capsys.readouterr().out.splitlines()
    evaluations = [re.search(r": (\d+) evaluations in [\d.]+ s, ([\d.]+) a second", line) for line in (one, two)]
    (units, slow), (same, fast) = (found.groups() for found in evaluations if found is not None)
    assert units == same and int(units) >= 60
    ratio = re.fullmatch(r"deepseek-v3-units: ([\d.]+) times the evaluations a second on 2 threads", row)
    assert ratio is not None and float(ratio[1]) == pytest.approx(float(fast) / float(slow), rel=0.01, abs=0.006)
