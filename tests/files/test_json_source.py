"""JSON files: a value is found again in the text, however the text is laid out."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.files import InputError
from planner.files.json_source import read_json_source

values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=4)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)),
    max_leaves=20,
)


def places(value, steps=()):
    """The steps to every value in a document."""
    yield list(steps)
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, each in inside:
        yield from places(each, (*steps, step))


@settings(max_examples=150, deadline=None)
@given(values, st.data())
def test_the_line_of_every_value(tmp_path_factory, document, data):
    """Put a mark at one place of a document: its line is the one that is named."""
    steps = data.draw(st.sampled_from(list(places(document))))
    path = tmp_path_factory.mktemp("json") / "a.json"
    outer = {"document": copy.deepcopy(document)}
    inner, last = outer, "document"
    for step in steps:
        inner, last = inner[last], step
    inner[last] = "MARK"
    text = json.dumps(outer, indent=1)
    path.write_text(text)
    error = read_json_source(path, 10**6).error(["document", *steps], "is marked")
    assert error.line == 1 + text.count("\n", 0, text.index('"MARK"'))


def test_what_is_missing_is_where_it_belongs(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{\n "a": [\n  {},\n  {"b": 1}\n ]\n}')
    source = read_json_source(path, 1000)
    assert source.error(["a", 1, "c"], "is missing").line == 4
    assert source.error(["c"], "is missing").line == 1
    assert str(source.error(["a", 1, "b"], "is odd")) == f"{path}:4: a[1].b: is odd"


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ('{"a": ["NaN, 1e999", false, true, null],\n "b": [0, -Infinity]}', 2, "b[1]"),
        ('{"a": {"x": 1},\n "b": {"x": 2,\n "x": 3}}', 3, "b.x"),
        ('[[],\n[{"a\\"b": 1e400}]]', 2, "[1][0]['a\"b']"),
        ("NaN", 1, None),
    ],
)
def test_what_the_standard_forbids(tmp_path, text, line, field):
    """Only where it is asked for: other programs write such numbers."""
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_json_source(path, 1000)
    assert (error.value.line, error.value.field) == (line, field)
    read_json_source(path, 1000, strict=False)
