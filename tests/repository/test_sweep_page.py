"""The table and the picture of docs/sweep.md are those of docs/sweep.csv, which one sweep wrote."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from planner.files import read_graph
from sweep_table import read, table

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
ROWS = read(DOCS / "sweep.csv")


def test_the_table_is_that_of_the_rows() -> None:
    assert table(ROWS) in (DOCS / "sweep.md").read_text(encoding="utf-8")


def test_the_rows_are_the_grid_that_the_page_names() -> None:
    caps, copies = [cap * 2.0**30 for cap in range(40, 81, 8)], (1, 2)
    expected = [(m, k, cap) for m in (20, 32) for k in copies for cap in caps]
    assert [(int(r["microbatches"]), int(r["copies"]), float(r["memory_cap"])) for r in ROWS] == expected
    assert {row["effort"] for row in ROWS} == {"300"}
    graph = read_graph(ROOT / "configs" / "deepseek-v3-h800" / "graph.yaml")
    assert f"24 points of {len(graph.operators)} operators" in (DOCS / "sweep.md").read_text(encoding="utf-8")


def test_more_memory_and_more_copies_are_never_slower_and_bounds_agree() -> None:
    by = {(r["microbatches"], int(r["copies"]), float(r["memory_cap"])): r for r in ROWS}
    for (m, k, cap), row in by.items():
        assert float(row["lower_bound"]) <= float(row["makespan"])
        for (n, j, other), wider in by.items():
            if n == m and j >= k and other >= cap:
                assert float(wider["makespan"]) <= float(row["makespan"]) * (1 + 1e-9)
                assert float(wider["lower_bound"]) <= float(row["lower_bound"]) * (1 + 1e-9)


def test_the_picture_has_a_mark_for_each_row() -> None:
    picture = ElementTree.fromstring((DOCS / "sweep.svg").read_bytes())
    words = [next(iter(mark)).text or "" for mark in picture.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(words) == len(ROWS)
    for row in ROWS:
        cap = f"copies {row['copies']}, {float(row['memory_cap']) / 2**30:g} GiB: makespan "
        made = {float(each.split("makespan ")[1].split(" s")[0]) for each in words if each.startswith(cap)}
        assert any(abs(each - float(row["makespan"])) < 1e-4 for each in made)
