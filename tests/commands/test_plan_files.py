"""plan.json.gz and the compact form on the command line: every command takes them as it takes plan.json."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from planner.commands.app import main
from planner.common.packed import packed
from planner.files import reading
from planner.files.errors import InputError
from planner.files.plan_file import read_plan
from planner.plan.plan import plan_to_json

INPUTS = ["--graph", "graph.yaml", "--cluster", "cluster.yaml"]
FORMS = ["plan.json.gz", "compact.json", "compact.json.gz", "packed.json"]


@pytest.fixture
def plan(files: list[str]) -> str:
    """A plan of 40 microbatches in all forms; ``packed.json`` is gzip without the name."""
    for name in ("plan.json", "plan.json.gz"):
        assert main(["baseline", "1f1b", *files, "--microbatches", "40", "-o", name, "--quiet"]) == 0
    text = Path("plan.json").read_text()  # solve_seconds differ from run to run
    content = packed("plan.json.gz", text)
    assert isinstance(content, bytes)
    Path("plan.json.gz").write_bytes(content)
    Path("packed.json").write_bytes(Path("plan.json.gz").read_bytes())
    for name in ("compact.json", "compact.json.gz"):
        read_plan("plan.json").write(name, compact=True)
    return "plan.json"


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("form", FORMS)
def test_every_command_reads_it(form: str, plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is what plan.json gives, but for its name."""
    stretched = ["stretch", plan, *INPUTS, "--microbatches", "60", "--format", "json", "--quiet"]
    commands = [
        ["show", plan],
        ["verify", plan, *INPUTS],
        ["verify", plan, *INPUTS, "--format", "json"],
        ["compare", plan, plan, "--format", "json"],
        ["simulate", plan, "--runs", "20", *INPUTS],
        ["export", plan, "--to", "trace", *INPUTS],
        ["export", plan, "--to", "torch-csv"],
        ["show", plan, "--svg", "plan.svg"],
        stretched,
    ]
    capsys.readouterr()
    for words in commands:
        expected = said(words, capsys)
        found = said([form if word == plan else word for word in words], capsys)
        assert expected[0] == found[0] == 0
        if words is stretched:
            pair = [json.loads(out[1]) | {"solve_seconds": 0} for out in (expected, found)]
            assert pair[0] == pair[1]
        else:
            assert expected[1] == found[1].replace(form, plan), words


@pytest.mark.parametrize("form", FORMS)
def test_stdin(form: str, plan: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    capsys.readouterr()
    expected = said(["show", plan], capsys)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(form).read_bytes())))
    assert said(["show", "-"], capsys) == expected


def test_show_converts(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From each form to the other, with ``--format json``; a file in the form asked for is printed as it is."""
    capsys.readouterr()
    for form in ("plan.json", "plan.json.gz", "compact.json", "compact.json.gz"):
        assert said(["show", form, "--format", "json"], capsys)[1] == Path("plan.json").read_text()
        assert said(["show", form, "--format", "json", "--compact"], capsys)[1] == Path("compact.json").read_text()
    raw = json.loads(Path("compact.json").read_text()) | {"later": 1}
    Path("later.json.gz").write_bytes(gzip.compress(json.dumps(raw).encode()))
    assert said(["show", "later.json.gz", "--format", "json", "--compact"], capsys)[1] == json.dumps(raw)
    assert main(["show", "plan.json", "--compact"]) == 2


@pytest.mark.parametrize("name", ["new.json", "new.json.gz", "NEW.JSON.GZ", "-"])
@pytest.mark.parametrize("compact", [[], ["--compact"]])
def test_every_command_writes_it(
    name: str, compact: list[str], plan: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["solve", *files, "--effort", "50"],
        ["baseline", "gpipe", *files],
        ["stretch", plan, *INPUTS, "--microbatches", "50"],
    ):
        capsys.readouterr()
        assert main([*words, "-o", name, *compact, "--quiet"]) == 0
        out = capsys.readouterr().out
        content = out.encode() if name == "-" else Path(name).read_bytes()
        assert content.startswith(b"\x1f\x8b") is name.lower().endswith(".gz")
        raw = json.loads(gzip.decompress(content) if name.lower().endswith(".gz") else content)
        assert isinstance(raw["tasks"], dict) is bool(compact) and "compact" not in raw["options"]
        if name != "-":
            assert main(["verify", name, *INPUTS]) == 0


def test_json_on_stdout_is_compact_too(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "1f1b", *files, "--compact", "--format", "json"]) == 0
    assert "classes" in json.loads(capsys.readouterr().out)["tasks"]


def test_the_same_plan_gives_the_same_bytes(plan: str) -> None:
    """No time and no name in the header."""
    made = read_plan(plan)
    made.write("a.json.gz")
    made.write("b.json.gz")
    content = Path("a.json.gz").read_bytes()
    assert content == Path("b.json.gz").read_bytes()
    assert content[3:8] == bytes(5)  # no flags, so no name; no time
    assert gzip.decompress(content).decode() == plan_to_json(made)


def test_verify_finds_what_is_wrong_in_a_compact_plan(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed start, length, device or duration of a class is a change of all its rows."""
    text = Path("compact.json").read_text()
    before = read_plan("compact.json").tasks
    for key, value in (("start", 0.5), ("length", 1e-6), ("times", -1), ("microbatch", 1)):
        raw = json.loads(text)
        again = next(row for row in raw["tasks"]["classes"] if "repeated" in row)["repeated"][0]
        again[key] += value
        again.pop("rounding", None)
        Path("wrong.json").write_text(json.dumps(raw))
        assert read_plan("wrong.json").tasks != before
        assert said(["verify", "wrong.json", *INPUTS], capsys)[0] == 6, key
    for key, other in (("seconds", 2.0), ("device", "gpu1"), ("stream", "comm"), ("copy", 1), ("pass", "W")):
        raw = json.loads(text)
        raw["tasks"]["classes"][0][key] = other
        Path("wrong.json").write_text(json.dumps(raw))
        assert said(["verify", "wrong.json", *INPUTS], capsys)[0] == 6, key


def test_what_needs_sound_times_names_the_class(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    raw = json.loads(Path("compact.json").read_text())
    raw["tasks"]["classes"][2]["seconds"] = -1.0
    Path("wrong.json").write_text(json.dumps(raw, indent=1))
    code, _, err = said(["export", "wrong.json", "--to", "trace"], capsys)
    assert code == 2 and "tasks.classes[2]: ends before it starts" in err and "wrong.json:" in err


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-30], "ends too early"),
        (lambda content: content[:2], "ends too early"),
        (lambda content: content[:10], "ends too early"),
        (lambda content: content[:40] + b"\x00\xff\x00" + content[43:], "no whole gzip file"),
        (lambda content: content[:-8] + bytes(8), "no whole gzip file"),
        (lambda content: content + b"more", "no whole gzip file"),
        (lambda content: b"\x1f\x8b" + b"\xff" * 50, "no whole gzip file"),
        (lambda content: gzip.compress(b"\xff\xfe"), "not UTF-8"),
        (lambda content: gzip.compress(b"{"), "not valid JSON"),
        (gzip.compress, "not UTF-8"),
    ],
)
def test_a_broken_file(
    damage: Callable[[bytes], bytes], words: str, plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.json.gz").write_bytes(damage(Path("plan.json.gz").read_bytes()))
    for command in (["show", "broken.json.gz"], ["verify", "broken.json.gz", *INPUTS]):
        capsys.readouterr()
        code, out, err = said(command, capsys)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("planner: broken.json.gz:") and words in err, err


def test_a_small_file_that_holds_too_much(plan: str, tmp_path: Path) -> None:
    """Unpacked no further than the limit of plain files."""
    bomb = gzip.compress(bytes(10_000_000))
    with pytest.raises(InputError, match="is larger than 1 MiB"):
        reading.unpacked(bomb, tmp_path / "bomb.json.gz", 1024**2)
    assert len(reading.unpacked(bomb, tmp_path / "bomb.json.gz", 10_000_000)) == 10_000_000


def test_members_one_after_the_other(plan: str) -> None:
    """As ``cat a.gz b.gz`` joins them."""
    content = Path("plan.json").read_bytes()
    Path("two.json.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    assert read_plan("two.json.gz") == read_plan("plan.json")


def test_a_plan_is_named_without_its_endings(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    replace(read_plan(plan), origin="solve").write("mine.json.gz")
    assert main(["simulate", plan, "mine.json.gz", "--runs", "5", "--format", "json", "--baselines", "none"]) == 0
    assert "mine" in {row.get("name", row.get("label")) for row in json.loads(capsys.readouterr().out)["plans"]}
