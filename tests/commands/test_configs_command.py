"""``planner configs``: what comes with the installation, from a checkout and from a wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from planner.commands.app import main
from planner.files import read_cluster, read_graph, shipped

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


def below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_listed_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for each in shipped.shipped():
        assert [line for line in lines if line.startswith(f"  {each.name} ") and each.about[:20] in line], each
    assert max(map(len, lines)) <= 100
    assert {str(file) for each in shipped.shipped() for file in each.files} == set(below(CONFIGS))


def test_models_and_clusters_say_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Dimensions of a model; of a cluster the memory of a device and the rates of its network."""
    assert main(["configs", "mixtral-8x7b", "qwen2-vl-7b", "t5-11b", "h100-8", "--quiet"]) == 0
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")] == [
        "mixtral: 32 layers of width 4096, 8 experts, 2 a token",
        "qwen2_vl: 28 layers of width 3584, with a vision tower",
        "t5: 24 layers of width 1024, as many in the decoder",
        "One machine of eight H100 SXM 80 GB: 76 GiB, 450 GB/s within, 50 GB/s between",
    ]


def test_json_says_where_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "dualpipe-4x8", "a100-8", "--format", "json"]) == 0
    graph, cluster = json.loads(capsys.readouterr().out)["configs"]
    assert graph["name"] == "dualpipe-4x8" and graph["about"].startswith("DualPipe's setting in units")
    assert read_graph(Path(graph["graph"])).microbatches == 8
    assert len(read_cluster(Path(cluster["cluster"])).devices) == 8
    assert (cluster["type"], cluster["memory"], cluster["between_nodes"]) == ("a100", 76 * 2**30, 25e9)
    assert (graph["kind"], cluster["kind"]) == ("graph", "cluster")


def test_all_are_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into folders of the same names; again, it changes nothing."""
    target = tmp_path / "a new" / "place"
    for _ in range(2):
        assert main(["configs", "--copy", str(target), "--quiet"]) == 0
        captured = capsys.readouterr()
        assert captured.out.count("planner solve ") == len(list(CONFIGS.glob("*/graph.yaml"))) and captured.err == ""
        assert below(target) == below(CONFIGS)


def test_nothing_is_overwritten_or_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of the user's in the way of one: nothing is written, until --force."""
    mine = tmp_path / "dualpipe-4x8" / "cluster.yaml"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    assert main(["configs", "--copy", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and str(mine) in captured.err and "--force" in captured.err
    assert below(tmp_path) == {"dualpipe-4x8/cluster.yaml": b"mine"}
    assert main(["configs", "dualpipe-4x8", "--copy", str(tmp_path), "--force"]) == 0
    assert mine.read_bytes() == (CONFIGS / "dualpipe-4x8" / "cluster.yaml").read_bytes()


def test_a_write_that_fails_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before it is gone, and what was replaced is back."""
    from planner.files import whole

    write, written = whole.write_whole, []

    def failing(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) == 3:
            raise whole.InputError(path, None, None, "cannot be written: no space left on device")
        write(path, content)

    old = tmp_path / "dualpipe-4x8" / "graph.yaml"
    old.parent.mkdir()
    old.write_text("mine", encoding="utf-8")
    monkeypatch.setattr(whole, "write_whole", failing)
    assert main(["configs", "dualpipe-4x8", "dualpipe-8x20", "--copy", str(tmp_path), "--force"]) == 2
    assert len(written) > 3 and below(tmp_path) == {"dualpipe-4x8/graph.yaml": b"mine"}


@pytest.mark.parametrize("arguments", [["h100"], ["--force"], ["--copy", "file"], ["--copy", "file/below"]])
def test_errors(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("", encoding="utf-8")
    assert main(["configs", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1


def test_a_wheel_brings_them(tmp_path: Path) -> None:
    """Built from a copy, so that the checkout gets no folder ``build``; then run from the wheel alone."""
    source = tmp_path / "source"
    for name in ("planner", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*wheel, "--wheel-dir", str(tmp_path), str(source)], check=True)
    (built,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(built).extractall(site)
    assert below(site / "planner" / "configs") == below(CONFIGS)
    calibrations = Path("planner", "costs", "data")
    assert below(site / calibrations) == below(ROOT / calibrations)
    run = subprocess.run(
        [sys.executable, "-m", "planner", "configs", "--copy", "copies", "--quiet"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert run.returncode == 0 and below(tmp_path / "copies") == below(CONFIGS)
