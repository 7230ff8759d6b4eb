"""``planner calibrate``: parameters of synthetic kernels come back; files read as written; errors name their place."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from planner.commands.app import main
from planner.costs.accelerator import DATA, Accelerator, accelerator, accelerator_schema, known, read_accelerator
from planner.costs.calibration import fit_gemm
from planner.costs.curves import AttentionCurve, GemmCurve, LinkCurve, attention_time, gemm_time, link_time
from planner.costs.fitting import Errors
from planner.costs.tables import Table
from planner.costs.text import accelerator_text
from planner.files.errors import InputError

UNITS = 120
TRUE = GemmCurve(2.0, 4e-6, 5e14, 2e12, tile=15.0, depth=90.0, waves=0.6, split=3.0, sharpness=3.0)
ATTENTION = AttentionCurve(2.0, 12e-6, 4e14, 2e12, softmax=60.0, depth=200.0, longest=0.5, passes=1.5)
LINK = LinkCurve(6e-6, 1.2e-6, 2e-6, 2.5e11, scale=1.1, ranks=8)


def write(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def gemm_rows(noise: float = 0.0) -> list[dict[str, object]]:
    """600 kernels of the curve, each off by a factor of up to exp(noise)."""
    draw = random.Random(3)
    sizes = [(draw.choice((1024, 2048, 4096, 8192)), *(draw.randint(64, 16384) for _ in range(2))) for _ in range(600)]
    m, n, k = np.array(sizes, dtype=np.float64).T
    ms = gemm_time(TRUE, UNITS, m, n, k) * 1e3
    return [
        {"gpu": "mine", "dtype": "bfloat16", "m": m, "n": n, "k": k, "ms": t * np.exp(draw.uniform(-noise, noise))}
        for (m, n, k), t in zip(sizes, ms.tolist(), strict=True)
    ]


def attention_rows() -> list[dict[str, object]]:
    draw = random.Random(4)
    choices = ((1, 2, 8, 32), (1024, 2048, 4096, 8192), (8, 32, 64), (1, 8), (64, 128))
    sizes = [tuple(draw.choice(each) for each in choices) for _ in range(400)]
    b, s, h, g, d = np.array(sizes, dtype=np.float64).T
    ms = attention_time(ATTENTION, UNITS, b, s, s, h, g, d, d) * 1e3
    names = ("batch", "seq", "heads", "kv_heads", "head_dim")
    return [
        {"gpu": "mine", "dtype": "bfloat16", **dict(zip(names, size, strict=True)), "ms": t}
        for size, t in zip(sizes, ms.tolist(), strict=True)
    ]


def nccl_rows() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for ranks in (2, 4, 8):
        for power in range(9, 30):
            sent = 2**power * (ranks - 1) / ranks
            ms = float(link_time(LINK, sent, ranks)[0]) * 1e3
            row = {"gpu": "mine", "op": "all_gather", "dtype": "half", "num_gpus": ranks, "elements": 2**power // 2}
            found.append({**row, "ms": ms})
    return found


def send_rows() -> list[dict[str, object]]:
    sizes = [2048 * each for each in range(1, 2000, 13)]
    column = "time_stats.send_recv.median"
    return [{"size": s, "devices_per_node": 2, column: 8e-3 + s / 2e11 * 1e3} for s in sizes] + [
        {"size": s, "devices_per_node": 1, column: 1.0} for s in sizes
    ]


def calibrated(folder: Path, *more: str, noise: float = 0.0) -> Accelerator:
    target = folder / "mine.yaml"
    table = write(folder / "gemm.csv", gemm_rows(noise))
    words = ["calibrate", str(table), "--gpu", "mine", "-o", str(target), "--units", str(UNITS), "--quiet", *more]
    assert main(words) == 0
    return read_accelerator(target)


def test_parameters_come_back(tmp_path: Path) -> None:
    """Of kernels drawn from known curves: rates to 2 %, the rest to a fifth; all_gather serves as no other."""
    acc = calibrated(
        tmp_path,
        *("--attention", str(write(tmp_path / "attention.csv", attention_rows()))),
        *("--nccl", str(write(tmp_path / "nccl.csv", nccl_rows()))),
        *("--send", str(write(tmp_path / "send.csv", send_rows())), "--source", "made up, no licence"),
        *("--backward", "0.7", "--grouped", "90%"),
    )
    assert acc.name == "mine" and acc.sources == ("made up, no licence",) and acc.grouped == 0.9
    gemm, attention, link = acc.gemm["bf16"], acc.attention["bf16"], acc.links["all_gather"]
    assert acc.launch == gemm.launch and acc.memory_bandwidth == gemm.bandwidth and acc.units == UNITS
    for fitted, true, names in (
        (gemm, TRUE, ("launch", "peak", "bandwidth")),
        (attention, ATTENTION, ("launch", "peak")),
        (link, LINK, ("latency", "bandwidth", "per_rank", "scale", "ramp")),
    ):
        for name in names:
            assert getattr(fitted, name) == pytest.approx(getattr(true, name), rel=0.02), name
    for fitted, true, names in (
        (gemm, TRUE, ("tile", "depth", "waves", "split")),
        (attention, ATTENTION, ("softmax",)),
    ):
        for name in names:
            assert getattr(fitted, name) == pytest.approx(getattr(true, name), rel=0.2), name
    assert attention.backward == 0.7 and link.ranks == 8
    assert acc.links["send"].bandwidth == pytest.approx(2e11, rel=0.02)
    assert set(acc.links) == {"all_gather", "send"} and acc.gemm["fp32"].peak < gemm.peak / 10


def test_noise_does_not_move_the_rates(tmp_path: Path) -> None:
    acc = calibrated(tmp_path, noise=0.1)
    assert acc.gemm["bf16"].peak == pytest.approx(TRUE.peak, rel=0.05)
    assert acc.gemm["bf16"].bandwidth == pytest.approx(TRUE.bandwidth, rel=0.1)


def test_the_error_stated_is_that_of_kernels_held_out() -> None:
    """Of kernels all wrong in the same way, the curve shows how far off they are from it."""
    rows = gemm_rows(noise=0.2)
    columns = {name: np.array([float(str(row[name])) for row in rows]) for name in ("m", "n", "k")}
    _, off = fit_gemm("bf16", UNITS, Table(columns, np.array([float(str(row["ms"])) for row in rows]) / 1e3))
    assert off.median == pytest.approx(0.1, rel=0.35) and off.p90 == pytest.approx(0.18, rel=0.35)
    assert 80 < off.kernels < 160


def test_links_share(tmp_path: Path) -> None:
    nccl = str(write(tmp_path / "nccl.csv", nccl_rows()))
    acc = calibrated(tmp_path, "--nccl", nccl, "--link-share", "0.5", "--name", "less")
    assert acc.name == "less" and acc.links["all_gather"].bandwidth == pytest.approx(LINK.bandwidth / 2, rel=0.02)


@pytest.mark.parametrize("name", known())
def test_shipped_files_say_where_they_are_from(name: str) -> None:
    """They are valid by their schema, and read as they are written."""
    acc = accelerator(name)
    text = (DATA / f"{name}.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    jsonschema.validate(data, accelerator_schema())
    assert acc.name == name and acc.derate == 1.0
    assert any("ai-dynamo/aiconfigurator" in source and "Apache-2.0" in source for source in acc.sources)
    assert data["made"] and "planner calibrate" in text
    assert set(acc.links) == {"all_gather", "reduce_scatter", "all_reduce", "all_to_all", "send"}
    assert all(each["median"] <= 0.13 for each in data["errors"].values())


def test_text_reads_as_it_was(tmp_path: Path) -> None:
    for name in known():
        acc = accelerator(name)
        text = accelerator_text(acc, {"gemm.bf16": Errors(0.1, 0.2, 3)}, acc.sources, "2026-01-01", ["planner"])
        (tmp_path / "again.yaml").write_text(text, encoding="utf-8")
        again = read_accelerator(tmp_path / "again.yaml")
        assert again.sources == acc.sources
        for title in ("gemm", "attention", "links"):
            for key, curve in getattr(acc, title).items():
                there = getattr(again, title)[key]
                for field, value in vars(curve).items():
                    assert getattr(there, field) == pytest.approx(value, rel=1e-3), (name, key, field)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'h100'.*a100, b200"):
        accelerator("h10")


SHIPPED = (DATA / "h100.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("planner/accelerator@1", "planner/graph@1", "schema"),
        ("units: 132", "units: 0", "units"),
        ("units: 132\n", "", "units: is missing"),
        ("derate: 1", "derate: 1.5", "derate: must be at most 1"),
        ("derate: 1", "derated: 1", "derated: is not a key"),
        ("  fp8_block:", "  fp9:", "gemm.fp9: is not known here"),
        ("  all_gather:", "  gather:", "links.gather: is not known here: did you mean 'all_gather'?"),
        ("launch: 2.54 us, peak", "launch: 2.54 GB, peak", "gemm.bf16.launch"),
        ("bf16: {element: 2, launch", "bf16: {element: 0, launch", "gemm.bf16.element"),
    ],
)
def test_errors_of_files_name_the_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in SHIPPED
    path = tmp_path / "mine.yaml"
    path.write_text(SHIPPED.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_accelerator(path)
    assert said in str(caught.value) and str(caught.value).startswith(f"{path}:")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("gpu,", "card,", 1), "gemm.csv:1: gpu: is missing"),
        (lambda text: text.replace("mine,bfloat16", "mine,bfloat17", 1), "gemm.csv:2: dtype"),
        (lambda text: text.replace("bfloat16,", "bfloat16,-", 1), "gemm.csv:2: m: must be a number above 0"),
        (lambda text: text.replace("mine", "other"), "no row is of 'mine': the file has other"),
        (lambda text: text + "mine,bfloat16\n", "gemm.csv:602: has fewer columns"),
        (lambda text: "\n".join(text.splitlines()[:9]), "the table has 8 GEMMs"),
        (lambda text: text.replace("bfloat16", "fp8"), "none of BF16"),
        (lambda text: "", "gpu: is missing"),
    ],
)
def test_errors_of_tables_name_the_line(
    change: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(change)
    table = write(tmp_path / "gemm.csv", gemm_rows())
    table.write_text(change(table.read_text().replace("\r\n", "\n")))
    target = tmp_path / "out.yaml"
    assert main(["calibrate", str(table), "--gpu", "mine", "-o", str(target), "--quiet"]) == 2
    assert said in capsys.readouterr().err and not target.exists()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibrated(tmp_path)
    table, target = str(tmp_path / "gemm.csv"), str(tmp_path / "mine.yaml")
    assert main(["calibrate", table, "--gpu", "mine", "-o", target]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["calibrate", table, "--gpu", "mine", "-o", table, "--force"]) == 2
    assert "is the table of kernels itself" in capsys.readouterr().err
    assert main(["calibrate", table, "--gpu", "mine", "--backward", "0"]) == 2
    assert "--backward must be above 0" in capsys.readouterr().err
    assert main(["calibrate", table, "--gpu", "mine"]) == 0
    out = capsys.readouterr()
    assert out.out.startswith("# A calibration") and "gemm.bf16: median error" in out.err
