import hashlib
import math

import pytest

from planner.files.errors import InputError
from planner.files.yaml_source import MAX_DEPTH, parse_yaml, read_source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2e12", 1.2e12),
        ("1e3", 1000.0),
        ("1E6", 1e6),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("12", 12),
        ("+12", 12),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("n", "n"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("0b11", "0b11"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ("!!int '1'", 1),
        ("!!float 1", 1.0),
        ("4.37 ms", "4.37 ms"),
        ("9" * 5000, math.inf),
        ("0x" + "9" * 5000, math.inf),
        ("1e400", math.inf),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, expected):
    """Plain scalars resolve by the core schema of YAML 1.2, not by PyYAML's 1.1."""
    value = parse_yaml(f"key: {text}", "f")["key"]
    assert value == expected
    assert type(value) is type(expected)


def test_nan_is_a_number():
    """`.nan` reaches the quantities, which refuse it."""
    assert math.isnan(parse_yaml("key: .nan", "f")["key"])


def test_anchors_and_merge_keys():
    """Aliases repeat a value; own keys win over merged ones, and an earlier mapping over a later one."""
    data = parse_yaml(
        "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 9\nd: {<<: *a}\ne: &s 5\nf: *s\n",
        "f",
    )
    assert data["c"] == {"x": 9, "y": 2, "z": 4}
    assert data["c"].lines == {"x": 5, "y": 1, "z": 2}
    assert data["d"] == {"x": 1, "y": 2}
    assert data["f"] == 5
    assert parse_yaml('"<<": 1', "f") == {"<<": 1}


def test_lines_are_kept():
    """Mappings know the line of each key, lists that of each item."""
    data = parse_yaml("# note\na: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", "f")
    assert data.lines == {"a": 2, "b": 3}
    assert data["b"].lines == [4, 5]
    assert data["b"][1].lines == {"c": 5, "d": 6}


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("", 1, None, "is empty"),
        ("# only a note\n", 1, None, "is empty"),
        ("---\n...\n", 1, None, "is empty"),
        ("a: 1\n---\nb: 2\n", 2, None, "second document"),
        ("a: 1\nb: 2\na: 3\n", 3, "a", "stands twice in one mapping (first in line 1)"),
        ("a:\n  - {b: 1, b: 2}\n", 2, "a[0].b", "stands twice"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "a", "!!python/object/apply:os.system"),
        ("\na: !mine 1\n", 2, "a", "'!mine'"),
        ("a: !!set {x}\n", 1, "a", "tag"),
        ("a: !!binary aGk=\n", 1, "a", "tag"),
        ("a: !!map [1]\n", 1, "a", "tag"),
        ("a: !!int x\n", 1, "a", "is no int"),
        ("a: [1\nb: 2\n", 2, None, "not valid YAML"),
        ("a:\n\t- 1\n", 2, None, "not valid YAML"),
        ("a: 'x\n", 2, None, "not valid YAML"),
        ("a: *b\n", 1, "a", "has no anchor of this name"),
        ("a: &a [*a]\n", 1, "a[0]", "inside what it names"),
        ("1: 2\n", 1, None, "the key 1 is not text: put it in quotes"),
        ("true: 2\n", 1, None, "the key true is not text"),
        ("a: {[x]: 1}\n", 1, "a", "cannot be a key"),
        ("a: {<<: 1}\n", 1, "a", "merge key"),
        ("a: {<<: {b: 1}, <<: {c: 1}}\n", 1, "a", "second merge key"),
        ("a: 1\nb: \x07\n", 2, None, "U+0007"),
        (LAUGHS, 7, "a6[4]", "fewer aliases"),
        ("[" * 100_000, 1, None, None),
        ("a: " + "{a: " * 5000, 1, None, None),
        ("- " * 5000, 1, None, None),
        ("".join(" " * i + "a:\n" for i in range(500)), MAX_DEPTH + 1, None, None),
    ],
)
def test_bad_yaml_is_one_error_with_its_line(text, line, field, words):
    """Every way to break YAML gives an InputError at the right line, quickly and without recursion."""
    with pytest.raises(InputError) as error:
        parse_yaml(text, "f.yaml")
    assert error.value.line == line
    if words is None:
        assert f"deeper than {MAX_DEPTH}" in str(error.value)
    else:
        assert error.value.field == field
        assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    """A missing file, a directory, a null byte in the path and other encodings are plain errors."""
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\nname: caf\xe9\n".encode("latin-1"))
    wide = tmp_path / "wide.yaml"
    wide.write_bytes("a: 1\n".encode("utf-16"))
    text = tmp_path / "list.yaml"
    text.write_text("\n- 1\n")
    for path, line, words in [
        (tmp_path / "none.yaml", None, "no such file"),
        (tmp_path, None, "is a directory"),
        (tmp_path / "a\0b", None, "cannot be read"),
        (tmp_path / ("x" * 5000), None, "cannot be read"),
        (latin, 2, "not UTF-8 (byte 0xe9)"),
        (wide, 1, "not UTF-8"),
        (text, 2, "must be a mapping"),
    ]:
        with pytest.raises(InputError) as error:
            read_source(path)
        assert error.value.line == line
        assert error.value.field is None
        assert words in str(error.value)
        assert "\n" not in str(error.value)


def test_an_unreadable_file_is_an_error(tmp_path, monkeypatch):
    """The reason that the system gives is passed on."""

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match=r"f\.yaml: cannot be read: Permission denied"):
        read_source(tmp_path / "f.yaml")


def test_the_hash_is_of_the_bytes(tmp_path):
    """SHA-256 of the file as it is on disk, a byte order mark and line ends included."""
    path = tmp_path / "f.yaml"
    content = "\ufeffa: 1\r\nb: é\r\n".encode()
    path.write_bytes(content)
    source = read_source(path)
    assert source.sha256 == hashlib.sha256(content).hexdigest()
    assert source.root == {"a": 1, "b": "é"}
    assert source.root.lines == {"a": 1, "b": 2}


def test_an_error_survives_pickle():
    """Errors may cross a process boundary."""
    import pickle

    error = pickle.loads(pickle.dumps(InputError("f.yaml", 3, "a.b", "is wrong")))
    assert str(error) == "f.yaml:3: a.b: is wrong"
