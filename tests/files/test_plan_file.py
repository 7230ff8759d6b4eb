"""plan.json: what is written is read again, and what is no plan is one clear error."""

import json
import os
import stat
from dataclasses import asdict, fields, replace
from pathlib import Path

import jsonschema
import pytest

from planner.files.errors import InputError
from planner.files.plan_file import plan_schema, read_plan
from planner.files.plan_origin import OriginRow
from planner.files.whole import ensure_writable, write_whole
from planner.plan.plan import (
    BaselineFigures,
    DeviceFigures,
    Figure,
    PlacedOperator,
    Plan,
    PlannedTask,
    PlannedTransfer,
    PlanWindow,
    Source,
    Throughput,
    plan_to_json,
)
from planner.problem.made_from import MadeFrom

PLAN = Plan(
    planner_version="0.1.0",
    origin="solve",
    graph=Source("tiny", "a" * 64),
    cluster=Source("two", "b" * 64),
    options={"copies": 1, "memory_cap": None, "baselines": ["gpipe"], "gap": 1e-6},
    microbatches=1,
    objective="makespan",
    status="optimal",
    makespan=0.1 + 0.2,
    lower_bound=0.1 + 0.2,
    placement_lower_bound=0.1 + 0.2,
    gap=0.0,
    bubble_ratio=0.5,
    bubble_ratio_all=0.5,
    solve_seconds=1.25,
    placement=(PlacedOperator("a", 0, "gpu0"), PlacedOperator("größe", 0, "gpu1")),
    tasks=(
        PlannedTask("a", "F", 0, 0, "gpu0", "compute", 0.0, 0.1),
        PlannedTask("größe", "F", 0, 0, "gpu1", "comm", 0.2, 0.1 + 0.2),
    ),
    transfers=(PlannedTransfer("a", "F", 0, 0, "gpu0", "gpu1", 0.1, 0.2),),
    devices=(
        DeviceFigures("gpu0", 0.1, 0.2, 0.0, 9.0, 0.0, 11.0),
        DeviceFigures("gpu1", 0.0, 0.3, 0.0, 1932735283.2, 0.2, None),
    ),
    baselines=(
        BaselineFigures("gpipe", 0.4, 0.6, 0.1, 11.0, 1, True, devices=2),
        BaselineFigures("dualpipe", reason="needs an even number of devices"),
    ),
    notes=("merged nothing",),
    window=PlanWindow(0.1, 0.2, 2),
    figures=(Figure("memory", 1932735283.2, 2**30 + 0.5), Figure("period", 0.1, 0.09), Figure("devices", 2, 1)),
)


def test_round_trip(tmp_path):
    """Every value survives, to the last bit; writing again gives the same bytes."""
    path = tmp_path / "plan.json"
    write_whole(path, plan_to_json(PLAN))
    found = read_plan(path)
    assert found == PLAN
    assert plan_to_json(found) == path.read_text()


def test_key_names():
    """The names of the contract, which scripts rely on."""
    raw = json.loads(plan_to_json(PLAN))
    assert list(raw) == [
        "schema",
        "planner_version",
        "origin",
        "graph",
        "cluster",
        "options",
        "microbatches",
        "objective",
        "status",
        "makespan",
        "lower_bound",
        "placement_lower_bound",
        "gap",
        "memory_lower_bound",
        "period",
        "period_lower_bound",
        "period_gap",
        "devices_lower_bound",
        "bubble_ratio",
        "bubble_ratio_all",
        "window",
        "solve_seconds",
        "placement",
        "tasks",
        "transfers",
        "devices",
        "baselines",
        "notes",
    ]
    assert raw["schema"] == "planner/plan@1"
    assert raw["graph"] == {"name": "tiny", "sha256": "a" * 64}
    assert raw["window"] == {"start": 0.1, "length": 0.2, "microbatches": 2}
    assert list(raw["tasks"][0]) == ["operator", "pass", "microbatch", "copy", "device", "stream", "start", "end"]
    assert list(raw["transfers"][0]) == ["operator", "pass", "microbatch", "copy", "from", "to", "start", "end"]
    assert list(raw["devices"][0]) == [field.name for field in fields(DeviceFigures)]
    assert raw["baselines"] == [
        {
            "name": "gpipe",
            "makespan": 0.4,
            "bubble_ratio": 0.6,
            "span_bubble_ratio": 0.1,
            "peak_memory": 11,
            "copies": 1,
            "devices": 2,
            "fits": True,
        },
        {"name": "dualpipe", "reason": "needs an even number of devices"},
    ]
    assert isinstance(raw["devices"][0]["peak_memory"], int)
    assert raw["devices"][1]["peak_memory"] == 1932735283.2


def test_one_row_a_line():
    """Two plans that differ in one task differ in one line."""
    late = replace(PLAN, tasks=(PLAN.tasks[0], PLAN.tasks[1]._replace(start=0.25)))
    pairs = zip(plan_to_json(PLAN).splitlines(), plan_to_json(late).splitlines(), strict=True)
    assert sum(a != b for a, b in pairs) == 1


def test_schema():
    """What is written fits the schema, and the schema is a valid one."""
    schema = plan_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    raw = json.loads(plan_to_json(PLAN))
    jsonschema.validate(raw, schema)
    raw["tasks"][0]["pass"] = "X"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, schema)


def test_unknown_keys_and_missing_extras_are_fine(tmp_path):
    """The format grows: keys unknown here are ignored, and the optional ones may be missing."""
    raw = json.loads(plan_to_json(PLAN))
    raw["extra"] = {"a": 1}
    raw["tasks"][0]["colour"] = "red"
    raw["graph"]["path"] = "x"
    raw["devices"][0]["extra"] = None
    raw["baselines"][0]["extra"] = []
    raw["window"]["pace"] = 0.1
    del raw["notes"], raw["memory_lower_bound"]
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(raw))
    assert read_plan(path) == replace(PLAN, notes=(), figures=PLAN.figures[1:])
    for none in (None, ...):
        raw["window"] = none
        path.write_text(json.dumps({key: value for key, value in raw.items() if value is not ...}))
        assert read_plan(path).window is None


@pytest.mark.parametrize(
    ("where", "value", "field"),
    [
        (["schema"], "planner/plan@2", "schema"),
        (["schema"], None, "schema"),
        (["makespan"], "1 s", "makespan"),
        (["makespan"], None, "makespan"),
        (["makespan"], True, "makespan"),
        (["makespan"], 10**400, "makespan"),
        (["microbatches"], 1.5, "microbatches"),
        (["options"], [], "options"),
        (["status"], "perfect", "status"),
        (["tasks"], {}, "tasks"),
        (["tasks", 1], 7, "tasks[1]"),
        (["tasks", 1, "start"], "now", "tasks[1].start"),
        (["tasks", 1, "microbatch"], 10**100, "tasks[1].microbatch"),
        (["tasks", 1, "pass"], "X", "tasks[1].pass"),
        (["tasks", 1, "stream"], "gpu", "tasks[1].stream"),
        (["transfers", 0, "from"], 3, "transfers[0].from"),
        (["devices", 0, "memory"], "80 GiB", "devices[0].memory"),
        (["baselines", 0, "fits"], "yes", "baselines[0].fits"),
        (["notes"], [1], "notes[0]"),
        (["window"], [], "window"),
        (["window", "start"], -0.5, "window.start"),
        (["window", "length"], 0, "window.length"),
        (["window", "microbatches"], 1.5, "window.microbatches"),
        (["window", "microbatches"], 0, "window.microbatches"),
        (["memory_lower_bound"], "8 GiB", "memory_lower_bound"),
        (["graph", "sha256"], None, "graph.sha256"),
    ],
)
def test_wrong_values(tmp_path, where, value, field):
    """The error names the file and the field."""
    raw = json.loads(plan_to_json(PLAN))
    inner = raw
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(InputError) as error:
        read_plan(path)
    assert error.value.field == field
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ('"start": 0.1, "end": 0.2', '"start": 0.1, "end": "now"', "transfers[0].end", "valid number, found 'now'"),
        ('"start": 0.1, "end": 0.2', '"start": 0.1, "finish": 0.2', "transfers[0].end", "is missing"),
        ('"start": 0.1, "end": 0.2', '"start": 0.1, "end": NaN', "transfers[0].end", "NaN is no number"),
        ('"start": 0.1, "end": 0.2', '"start": 0.1, "end": 1e999', "transfers[0].end", "1e999 is too large"),
        ('"start": 0.1, "end": 0.2', '"start": 0.1, "end": ' + "7" * 5000, "transfers[0].end", "777... is too large"),
        ('"start": 0.1, "end": 0.2', '"start": 0.1, "start": 0.2', "transfers[0].start", "stands twice in one object"),
        ('"solve_seconds"', '"origin": "x", "solve_seconds"', "origin", "(first in line 4): remove one"),
        ('"solve_seconds"', '"solve_seconds" 3 "', None, "expecting ':' delimiter (column"),
    ],
)
def test_mistakes_name_their_line(tmp_path, old, new, field, words):
    """As errors in YAML files do: the line of the value, or of the object where a key is missing."""
    text = plan_to_json(PLAN)
    before, _, after = text.partition(old)
    path = tmp_path / "plan.json"
    path.write_text(before + new + after)
    with pytest.raises(InputError) as error:
        read_plan(path)
    assert (error.value.line, error.value.field) == (before.count("\n") + 1, field)
    assert words in str(error.value)


@pytest.mark.parametrize("field", ["tasks", "schema", "options", "lower_bound", "solve_seconds"])
def test_missing_fields(tmp_path, field):
    raw = json.loads(plan_to_json(PLAN))
    del raw[field]
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(InputError, match="is missing") as error:
        read_plan(path)
    assert error.value.field == field


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not valid JSON"),
        (b"{\n\n oops}", "plan.json:3"),
        (b'{"schema": NaN}', "NaN"),
        (b'{"schema": 1, "schema": 2}', "twice"),
        (b"[]", "one JSON object"),
        (b"\xff\xfe{}", "UTF-8"),
        (b"[" * 100_000, "nests too deep"),
        (b"schema: planner/graph@1", "is not valid JSON"),
    ],
)
def test_no_plan_at_all(tmp_path, content, words):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_plan(path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_are_finite(tmp_path, number):
    """Everywhere, in rows and in options too."""
    for old in ('"solve_seconds": 1.25', '"start": 0.1, "end": 0.2', '"gap": 1e-06'):
        text = plan_to_json(PLAN)
        assert old in text
        path = tmp_path / "plan.json"
        path.write_text(text.replace(old, old.rsplit(" ", 1)[0] + " " + number))
        with pytest.raises(InputError):
            read_plan(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_plan(tmp_path / "none.json")


def test_nan_is_never_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        plan_to_json(replace(PLAN, makespan=float("nan")))


# -- whole files --------------------------------------------------------------------------------------------


def test_a_file_appears_whole(tmp_path):
    """The old content is replaced at once, its permissions stay, nothing else is left behind."""
    path = tmp_path / "out.txt"
    path.write_text("old")
    path.chmod(0o640)
    ensure_writable(path)
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["out.txt"]


def test_new_files_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "out.txt", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out.txt").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "x"


def test_failure_leaves_the_old_content(tmp_path, monkeypatch):
    """A full disk or a signal in the middle: the old file is whole, no temporary file stays."""
    path = tmp_path / "out.txt"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written: no space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("write", [ensure_writable, lambda path: write_whole(path, "x")])
def test_unwritable(tmp_path, write):
    for path in (tmp_path / "none" / "out.txt", tmp_path, Path("/proc/none/out.txt")):
        with pytest.raises(InputError, match="cannot be written"):
            write(path)


def test_devices_are_written_to():
    ensure_writable("/dev/null")
    write_whole("/dev/null", "x")
    assert not Path("/dev/null").is_file()


ORIGIN = MadeFrom("m", sequence=100, tensor=2, tied=True, recompute="full", flops_per_token=6e9)
IN_TOKENS = Throughput(4, 1, 100, 250.0, 62.5, 4e12, 0.375)


def test_what_the_graph_was_made_from(tmp_path):
    """The origin and the step in tokens stand in a plan only where they are known, and are read again."""
    plan = replace(PLAN, graph=replace(PLAN.graph, mode="training", origin=ORIGIN), throughput=IN_TOKENS)
    path = tmp_path / "plan.json"
    write_whole(path, plan_to_json(plan))
    assert read_plan(path) == plan
    raw = json.loads(path.read_text())
    jsonschema.validate(raw, plan_schema())
    stated = {"model": "m", "sequence": 100, "tensor": 2, "recompute": "full", "tied": True, "flops_per_token": 6e9}
    assert raw["graph"] == {"name": "tiny", "sha256": "a" * 64, "mode": "training", "origin": stated}
    assert raw["throughput"] == {
        "gpus": 4,
        "sequences": 1,
        "tokens": 100,
        "tokens_per_second": 250.0,
        "tokens_per_second_per_gpu": 62.5,
        "peak_flops": 4e12,
        "mfu": 0.375,
    }
    unknown = json.loads(plan_to_json(replace(plan, throughput=replace(IN_TOKENS, peak_flops=None, mfu=None))))
    assert list(unknown["throughput"]) == list(raw["throughput"])[:5]
    del raw["graph"]["origin"], raw["throughput"]
    assert list(raw) == list(json.loads(plan_to_json(PLAN)))


@pytest.mark.parametrize(
    ("where", "value", "field"),
    [
        ("origin", {"model": "m", "tensor": 0}, "graph.origin.tensor"),
        ("origin", {"tensor": 2}, "graph.origin.model"),
        ("origin", {"model": "m", "cut": "anywhere"}, "graph.origin.cut"),
        ("throughput", {**asdict(IN_TOKENS), "tokens_per_second_per_gpu": 0.0}, "throughput.tokens_per_second_per_gpu"),
    ],
)
def test_origins_that_are_none(where, value, field, tmp_path):
    raw = json.loads(plan_to_json(PLAN))
    (raw if where == "throughput" else raw["graph"])[where] = value
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(InputError, match=field):
        read_plan(path)


def test_a_plan_knows_every_field_of_an_origin():
    assert list(OriginRow.__annotations__) == [field.name for field in fields(MadeFrom)]
