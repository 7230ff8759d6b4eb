"""Tables of strategies: CSV as programs write it, columns that pass through, bad rows among good ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from planner.files.errors import InputError
from planner.importers.transformer.model import Model
from planner.prediction import table as tables
from planner.prediction.outcome import Prediction
from planner.prediction.strategy import Strategy
from planner.prediction.table import PREDICTED, RAGGED, Table, predict_rows, read_table, table_text
from planner.problem.cluster import Cluster, Device, DeviceType

EIGHT = Cluster("eight", tuple(Device(f"gpu{i}", "gpu", DeviceType("h100")) for i in range(8)))


class Pretended:
    """A step takes as many seconds as there are tensor ranks; 4 of them are an error of ours."""

    def __init__(self, model: object, cluster: Cluster, calibration: str | None = None) -> None:
        assert cluster is EIGHT

    def predict(self, strategy: Strategy) -> Prediction:
        if strategy.tp == 4:
            raise KeyError("oops")
        if strategy.tp == 8:
            return Prediction(None, None, None, "heads do not divide")
        return Prediction(float(strategy.tp), 10.5, strategy.tp == 1, "")


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "Predictor", Pretended)


def read(folder: Path, text: str | bytes) -> Table:
    path = folder / "s.csv"
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return read_table(path)


def predicted(rows: list[Mapping[str, str]]) -> list[dict[str, str]]:
    model: Model = None  # type: ignore[assignment]  # the pretended predictor takes any
    return predict_rows(model, EIGHT, rows)


def test_a_bad_row_never_stops_the_others() -> None:
    good = {"gbs": "8", "seq": "128"}
    rows = [good, {**good, "tp": "x"}, {**good, "tp": "2"}, {**good, "tp": "4"}, {**good, "tp": "8"}, good]
    found = predicted(rows)
    assert [row["predicted_s"] for row in found] == ["1.0", "", "2.0", "", "", "1.0"]
    assert [row["fits"] for row in found] == ["true", "", "false", "", "", "true"]
    assert [row["predicted_bytes"] for row in found] == ["11", "", "11", "", "", "11"]  # the next whole byte
    assert [row["reason"] for row in found] == [
        *("", "tp must be a positive whole number, not 'x'", "", "internal error: KeyError: 'oops'"),
        *("heads do not divide", ""),
    ]


def test_further_columns_pass_through(tmp_path: Path) -> None:
    text = 'note,seq,tp,gbs,measured_s\n"a, ""b""",128,2,8,3.50\n é ,128,1,8,\n'
    table = read(tmp_path, text)
    out = table_text(table.columns, predicted(list(table.rows)))
    assert out == (
        "note,seq,tp,gbs,measured_s,predicted_s,predicted_bytes,fits,reason\n"
        '"a, ""b""",128,2,8,3.50,2.0,11,false,\n é ,128,1,8,,1.0,11,true,\n'
    )


def test_figures_from_before_are_replaced_where_they_stand(tmp_path: Path) -> None:
    table = read(tmp_path, "predicted_s,gbs,reason,seq\n99,8,old,128\n")
    out = table_text(table.columns, predicted(list(table.rows)))
    assert out == "predicted_s,gbs,reason,seq,predicted_bytes,fits\n1.0,8,,128,11,true\n"


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfgbs,seq,tp\r\n8,128,2\r\n",
        b"gbs,seq,tp\n8,128,2",
        b"\n\ngbs, seq ,tp\n\n8,128,2\n,,\n\n",
        b'"gbs","seq","tp"\r"8","128","2"\r',
    ],
    ids=["bom and CRLF", "no last line end", "blank lines", "quotes and CR"],
)
def test_csv_as_programs_write_it(tmp_path: Path, text: bytes) -> None:
    table = read(tmp_path, text)
    assert (table.columns, list(table.rows)) == (["gbs", "seq", "tp"], [{"gbs": "8", "seq": "128", "tp": "2"}])


def test_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    table = read(tmp_path, "gbs,seq\n")
    assert table_text(table.columns, predicted(list(table.rows))) == "gbs,seq," + ",".join(PREDICTED) + "\n"


def test_a_line_with_other_fields_is_a_bad_row(tmp_path: Path) -> None:
    table = read(tmp_path, 'gbs,seq,note\n8,128\n8,128,"two\nlines"\n8,128,a,b\n')
    found = predicted(list(table.rows))
    assert [row["reason"] for row in found] == [
        *("line 2 has 2 fields, the header has 3", "", "line 5 has 4 fields, the header has 3")
    ]
    assert all(RAGGED not in row for row in found)
    assert list(csv.DictReader(io.StringIO(table_text(table.columns, found))))[1]["note"] == "two\nlines"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "s.csv: is empty: its first line names the columns, among them gbs and seq"),
        (b"\n \n", "s.csv: is empty"),
        (b"tp,gbs\n1,8\n", "s.csv:1: has no column seq"),
        (b"\ntp,pp\n", "s.csv:2: has no column gbs and none seq"),
        (b"gbs;seq\n8;128\n", "s.csv:1: has no columns of a strategy: separate them by commas, not by ';'"),
        (b"gbs,seq,tp,tp\n", "s.csv:1: has two columns 'tp': rename one"),
        (b'gbs,seq\n8,128\n"8,128\n', "s.csv:3: is no CSV: "),
        (b"gbs,seq\n8,\xff\n", "s.csv:2: is not UTF-8 (byte 0xff)"),
    ],
)
def test_an_error_of_the_file_is_one_message(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert message in str(refused.value)


def test_columns_without_a_name_pass_through(tmp_path: Path) -> None:
    """A spreadsheet leaves several of them."""
    path = tmp_path / "rows.csv"
    path.write_text("gbs,seq,,\n8,128,a,b\n")
    table = read_table(path)
    assert table_text(table.columns, table.rows).splitlines()[1].startswith("8,128,a,b,")
    assert table_text(table.columns, table.rows).splitlines()[0] == "gbs,seq,,,predicted_s,predicted_bytes,fits,reason"
