"""``planner predict`` and ``planner.predict``: files in, a table out, one message where a file is wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from samples_of_strategies import laid_out

import planner
from planner.commands.app import main

TABLE = "tp,pp,dp,gbs,seq,note\n1,1,8,8,128,first\n3,1,1,8,128,bad\n2,2,,8,128,third\n"


def test_a_table_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = laid_out(tmp_path, TABLE)
    assert main(["predict", *given, "--quiet"]) == 0
    printed, said = capsys.readouterr()
    rows = list(csv.DictReader(printed.splitlines()))
    assert [row["note"] for row in rows] == ["first", "bad", "third"]
    assert [float(row["predicted_s"] or 0) > 0 for row in rows] == [True, False, True]
    assert rows[1]["reason"] == "tp 3 x cp 1 x pp 1 x dp 1 = 3 must be gpus 8" and said == ""
    out = tmp_path / "out.csv"
    assert main(["predict", *given, "-o", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == printed
    printed, said = capsys.readouterr()
    assert printed == "" and "2 of 3 strategies predicted; 1 have a reason instead" in said
    assert main(["predict", *given, "-o", "-"]) == 0
    assert capsys.readouterr().out == out.read_text(encoding="utf-8")


def test_from_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config, cluster, table = laid_out(tmp_path, TABLE)
    found = planner.predict(config, cluster, table)
    assert [each.seconds is None for each in found] == [False, True, False]
    rows = [{"tp": 1, "dp": 8, "gbs": 8, "seq": 128.0, "ep": float("nan")}, {"tp": 2, "pp": 2, "gbs": 8, "seq": 128}]
    assert planner.predict(Path(config), cluster, rows) == [found[0], found[2]]
    free = planner.predict(config, cluster, [{"zero": 0, "gbs": 8, "seq": 128}])[0]
    assert free.reason == "" and free.seconds is not None
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ValueError, match="--family frob is not known"):
        planner.predict(config, cluster, [], family="frob")
    with pytest.raises(planner.InputError):
        planner.predict(tmp_path / "none.json", cluster, [])


def test_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shipped model on a shipped cluster, from Python and as a command."""
    table = tmp_path / "s.csv"
    table.write_text("tp,pp,gbs,seq\n8,2,16,8192\n", encoding="utf-8")
    (found,) = planner.predict("Llama-3.1-8B", "H100:2x8", table)
    assert main(["predict", "llama-3.1-8b", "h100:2x8", str(table), "--quiet"]) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert found.seconds is not None and float(row["predicted_s"]) == found.seconds
    with pytest.raises(planner.InputError, match=r"did you mean 'llama-3\.1-8b'"):
        planner.predict("lama-3.1-8b", "h100:2x8", table)


def test_a_wrong_file_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = laid_out(tmp_path, "tp,gbs\n1,8\n")
    out = tmp_path / "out.csv"
    assert main(["predict", *given, "-o", str(out)]) == 2
    printed, said = capsys.readouterr()
    assert printed == "" and said.count("\n") == 1 and "s.csv:1: has no column seq" in said and not out.exists()
    assert main(["predict", *given[:2], str(tmp_path / "none.csv")]) == 2
    assert "none.csv: no such file" in capsys.readouterr().err
    assert main(["predict", *given, "-o", given[2]]) == 2
    assert "is the table of strategies itself" in capsys.readouterr().err
    assert main(["predict", "-", "-", given[2]]) == 2
    assert "only one of config, cluster and strategies can come from stdin" in capsys.readouterr().err
