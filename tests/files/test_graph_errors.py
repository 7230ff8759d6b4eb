"""What is wrong with a graph file: one error, at its line and field."""

import pytest

from planner.files import InputError, read_graph

HEAD = "schema: planner/graph@1\n"
OPS = HEAD + "operators:\n"
T = "time: {forward: 1}"


def nested(depth):
    """Blocks in blocks, in flow style."""
    return f"{{block: b, repeat: 10, operators: [{nested(depth - 1) if depth else f'{{name: x, {T}}}'}]}}"


CASES = [
    # the file as a whole
    ("a: 1\n", 1, "schema", "is missing: the file starts with 'schema: planner/graph@1'"),
    ("schema: planner/graph@2\nfoo: 1\n", 1, "schema", "must be planner/graph@1 (got 'planner/graph@2')"),
    (
        "name: x\nschema: planner/cluster@1\n",
        2,
        "schema",
        "this is a cluster file where a graph file belongs",
    ),
    ("schema: [x]\n", 1, "schema", "got a list"),
    (HEAD, 1, "operators", "is missing"),
    (HEAD + "operators:\n", 2, "operators", "must be a list of operators (got nothing)"),
    (HEAD + "operators: []\n", 2, "operators", "must not be empty"),
    (HEAD + "operators: {a: 1}\n", 2, "operators", "must be a list"),
    (HEAD + "operator: []\n", 2, "operator", "did you mean 'operators'?"),
    (HEAD + "Mode: training\n", 2, "Mode", "did you mean 'mode'?"),
    (HEAD + "name: 3\n", 2, "name", "put it in quotes, '3'"),
    (HEAD + "name: ''\n", 2, "name", "must not be empty"),
    (HEAD + 'name: "a\\nb"\n', 2, "name", "control characters"),
    (HEAD + "name: " + "x" * 300 + "\n", 2, "name", "300 characters"),
    (HEAD + "name:\n", 2, "name", "got nothing"),
    (HEAD + "mode: train\n", 2, "mode", "did you mean 'training'?"),
    (HEAD + "mode: true\n", 2, "mode", "got true"),
    (HEAD + "microbatches: 0\n", 2, "microbatches", "from 1 to"),
    (HEAD + "microbatches: -3\n", 2, "microbatches", "got -3"),
    (HEAD + "microbatches: 1.5\n", 2, "microbatches", "whole number"),
    (HEAD + "microbatches: '4'\n", 2, "microbatches", "whole number"),
    (HEAD + "microbatches: true\n", 2, "microbatches", "got true"),
    (HEAD + "microbatches: .nan\n", 2, "microbatches", "whole number"),
    (HEAD + "microbatches: .inf\n", 2, "microbatches", "whole number"),
    (HEAD + "microbatches: 1e9\n", 2, "microbatches", "to 1,000,000"),
    # what it was made from
    (HEAD + "origin: llama\n", 2, "origin", "must be a mapping with keys such as model"),
    (HEAD + "origin: {layers: 4}\n", 2, "origin.model", "is missing"),
    (HEAD + "origin: {model: a, tensor: 0}\n", 2, "origin.tensor", "from 1 to"),
    (HEAD + "origin: {model: a, zero: 4}\n", 2, "origin.zero", "from 0 to 3"),
    (HEAD + "origin: {model: a, cut: layers}\n", 2, "origin.cut", "did you mean 'layer'?"),
    (
        HEAD + f"origin: {{model: a, expert: 4, data: 6}}\noperators: [{{name: a, {T}}}]\n",
        2,
        "origin.expert",
        "4 must divide 6 x 1",
    ),
    # an operator
    (OPS + f"  - {{name: a, {T}, collective: tensor}}\n", 3, "operators[0].collective", "give stream: comm"),
    (OPS + f"  - {{name: a, {T}, stream: comm, collective: p2p}}\n", 3, "operators[0].collective", "must be tensor or"),
    (OPS + "  - x\n", 3, "operators[0]", "must be a mapping with keys such as name, time, work"),
    (OPS + "  - {}\n", 3, "operators[0].name", "is missing"),
    (OPS + f"  - {{{T}}}\n", 3, "operators[0].name", "is missing"),
    (OPS + "  - name: a\n", 3, "operators[0].time", "give 'time' (seconds) or 'work'"),
    (
        OPS + f"  - name: a\n    {T}\n    work: {{forward: {{flops: 1}}}}\n",
        5,
        "operators[0].work",
        "remove one",
    ),
    (OPS + "  - name: a\n    tiem: {forward: 1}\n", 4, "operators[0].tiem", "did you mean 'time'?"),
    (OPS + f"  - name: a\n    {T}\n    repeat: 3\n", 5, "operators[0].repeat", "'block:' instead of 'name:'"),
    (
        OPS + "  - name: a\n    time: 3\n",
        4,
        "operators[0].time",
        "must be a mapping with keys such as forward",
    ),
    (OPS + "  - name: a\n    time: {input_grad: 1}\n", 4, "operators[0].time.forward", "is missing"),
    (
        OPS + "  - name: a\n    time:\n      forward: -1 ms\n",
        5,
        "operators[0].time.forward",
        "negative (got -1 ms)",
    ),
    (OPS + "  - name: a\n    time: {forward: null}\n", 4, "operators[0].time.forward", "got nothing"),
    (OPS + "  - name: a\n    time: {forward: true}\n", 4, "operators[0].time.forward", "got true"),
    (OPS + "  - name: a\n    time: {forward: .nan}\n", 4, "operators[0].time.forward", "finite"),
    (OPS + "  - name: a\n    time: {forward: .inf}\n", 4, "operators[0].time.forward", "finite"),
    (OPS + "  - name: a\n    time: {forward: 1e400}\n", 4, "operators[0].time.forward", "finite"),
    (OPS + "  - name: a\n    time: {forward: 1e31}\n", 4, "operators[0].time.forward", "absurd"),
    (OPS + "  - name: a\n    time: {forward: 1_000}\n", 4, "operators[0].time.forward", "unknown unit"),
    (OPS + "  - name: a\n    time: {forward: [1]}\n", 4, "operators[0].time.forward", "got a list"),
    (OPS + "  - name: a\n    time: {forward: 3 GiB}\n", 4, "operators[0].time.forward", "not of time"),
    (OPS + "  - name: a\n    time: {forward: {}}\n", 4, "operators[0].time.forward", "must not be empty"),
    (
        OPS + "  - name: a\n    time:\n      forward:\n        g: 1\n        h: -2\n",
        7,
        "operators[0].time.forward.h",
        "neg",
    ),
    (
        OPS + "  - name: a\n    time: {forward: {'': 1}}\n",
        4,
        "operators[0].time.forward['']",
        "must not be empty",
    ),
    (OPS + "  - name: a\n    time: {forward: {g: null}}\n", 4, "operators[0].time.forward.g", "got nothing"),
    (
        OPS + "  - name: a\n    time: {forward: 1, weight_grad: x}\n",
        4,
        "operators[0].time.weight_grad",
        "not a time",
    ),
    (
        OPS + "  - name: a\n    time: {forward: 1, backward: 2}\n",
        4,
        "operators[0].time.backward",
        "its two parts",
    ),
    (OPS + "  - name: a\n    work: {forward: 1e12}\n", 4, "operators[0].work.forward", "must be a mapping"),
    (OPS + "  - name: a\n    work: {forward: {}}\n", 4, "operators[0].work.forward", "must not be empty"),
    (OPS + "  - name: a\n    work: {forward: {flop: 1}}\n", 4, "operators[0].work.forward.flop", "'flops'?"),
    (
        OPS + "  - name: a\n    work: {forward: {flops: 1 TFLOPS}}\n",
        4,
        "operators[0].work.forward.flops",
        "rate of",
    ),
    (
        OPS + "  - name: a\n    work: {forward: {bytes: 1 s}}\n",
        4,
        "operators[0].work.forward.bytes",
        "one of time",
    ),
    (
        OPS + f"  - name: a\n    {T}\n    parameters: 1 ms\n",
        5,
        "operators[0].parameters",
        "one of time, not of size",
    ),
    (OPS + f"  - name: a\n    {T}\n    activation: -1\n", 5, "operators[0].activation", "negative"),
    (OPS + f"  - name: a\n    {T}\n    output:\n", 5, "operators[0].output", "got nothing"),
    (
        OPS + f"  - name: a\n    {T}\n    held_for_weight_grad: 2 MB\n    activation: 1 MiB\n",
        5,
        "operators[0].held_for_weight_grad",
        "larger than activation ('2 MB' of '1 MiB')",
    ),
    (
        OPS + f"  - name: a\n    {T}\n    held_for_weight_grad: 2\n",
        5,
        "operators[0].held_for_weight_grad",
        "(2 of 0)",
    ),
    (OPS + f"  - name: a\n    {T}\n    stream: com\n", 5, "operators[0].stream", "did you mean 'comm'?"),
    (
        OPS + f"  - name: a\n    {T}\n    colocate: [x]\n",
        5,
        "operators[0].colocate",
        "must be text (got a list)",
    ),
    (OPS + f"  - name: a\n    {T}\n    colocate: 1\n", 5, "operators[0].colocate", "put it in quotes"),
    (OPS + f"  - name: a\n    {T}\n    devices: []\n", 5, "operators[0].devices", "must not be empty"),
    (OPS + f"  - name: a\n    {T}\n    devices: gpu0\n", 5, "operators[0].devices", "write [gpu0]"),
    (
        OPS + f"  - name: a\n    {T}\n    devices:\n    - g\n    - 0\n",
        7,
        "operators[0].devices[1]",
        "must be text",
    ),
    # names and inputs
    (
        OPS + f"  - name: a\n    {T}\n    inputs: b\n",
        5,
        "operators[0].inputs",
        "must be a list of names: write [b]",
    ),
    (OPS + f"  - name: a\n    {T}\n    inputs:\n", 5, "operators[0].inputs", "got nothing"),
    (OPS + f"  - name: a\n    {T}\n    inputs: [1]\n", 5, "operators[0].inputs[0]", "must be text"),
    (
        OPS + f"  - {{name: embed, {T}}}\n  - name: b\n    {T}\n    inputs:\n      - embed\n      - embd\n",
        8,
        "operators[1].inputs[1]",
        "no operator or block is called 'embd': did you mean 'embed'?",
    ),
    (
        OPS + f"  - {{name: a, {T}}}\n  - {{name: a, {T}}}\n",
        4,
        "operators[1].name",
        "twice in one list (first in line 3)",
    ),
    (
        OPS + f"  - {{name: a, {T}}}\n  - block: a\n    operators: [{{name: x, {T}}}]\n",
        4,
        "operators[1].block",
        "twice in one list",
    ),
    (
        OPS + f"  - {{name: l.1.x, {T}}}\n  - block: l\n    repeat: 2\n    operators:\n    - {{name: x, {T}}}\n",
        7,
        "operators[1].operators[0].name",
        "'l.1.x' is used twice once blocks are unrolled (first in line 3)",
    ),
    (OPS + f"  - name: a\n    {T}\n    inputs: [a]\n", 5, "operators[0].inputs", "reads itself"),
    (
        OPS + f"  - {{name: s, {T}}}\n"
        f"  - {{name: c, {T}, inputs: [b, s]}}\n  - {{name: a, {T}, inputs: [c]}}\n  - {{name: b, {T}, inputs: [a]}}\n"
        f"  - {{name: d, {T}, inputs: [b]}}\n",
        4,
        "operators[1].inputs",
        "in a cycle: c reads b, b reads a, a reads c;",
    ),
    (
        OPS + f"  - block: l\n    repeat: 2\n    operators:\n    - {{name: x, {T}, inputs: [z]}}\n"
        f"  - {{name: z, {T}, inputs: [l]}}\n",
        6,
        "operators[0].operators[0].inputs",
        "l.1.x reads z, z reads l.1.x",
    ),
    # blocks
    (OPS + "  - block: l\n", 3, "operators[0].operators", "is missing"),
    (OPS + "  - block: l\n    operators: []\n", 4, "operators[0].operators", "must not be empty"),
    (OPS + "  - block: l\n    repeat: 0\n", 4, "operators[0].repeat", "from 1 to 1,000,000"),
    (OPS + "  - block: l\n    repeat: 1e12\n", 4, "operators[0].repeat", "from 1 to 1,000,000"),
    (OPS + "  - block: l\n    name: l\n", 4, "operators[0].name", "'block:' is already its name"),
    (OPS + f"  - block: l\n    {T}\n", 4, "operators[0].time", "set it on the operators of the block"),
    (
        OPS + f"  - block: l\n    output: atn\n    operators: [{{name: attn, {T}}}]\n",
        4,
        "operators[0].output",
        "no operator or block of this list is called 'atn': did you mean 'attn'?",
    ),
    (
        OPS + f"  - block: l\n    operators: [{{name: a, {T}, inputs: []}}]\n    inputs: [nowhere]\n",
        5,
        "operators[0].inputs[0]",
        "no operator or block is called 'nowhere'",
    ),
    (
        OPS + f"  - block: l\n    operators: [{{name: a, {T}}}]\n  - {{name: z, {T}, inputs: [a]}}\n",
        5,
        "operators[1].inputs[0]",
        "is called 'a'",
    ),
    (
        OPS + f"  - {{name: a, {T}}}\n  - block: l\n    repeat: 1000000\n    operators: [{{name: a, {T}}}]\n",
        5,
        "operators[1].repeat",
        "has 1000001 operators once its blocks are unrolled, at most 1,000,000",
    ),
    (OPS + f"  - {nested(30)}\n", 3, "operators[0].repeat", "at most 1,000,000"),
    (OPS + f"  - {nested(90)}\n", 3, None, "nests deeper"),
    # YAML
    (OPS + f"  - {{name: a, {T}}}\noperators: []\n", 4, "operators", "stands twice"),
    (OPS + f"  - {{name: a, {T}, name: b}}\n", 3, "operators[0].name", "stands twice"),
    (OPS + "  - !!python/object:os.x {}\n", 3, "operators[0]", "tag"),
]


@pytest.mark.parametrize(("text", "line", "field", "words"), CASES)
def test_bad_graphs_are_one_error_with_line_and_field(tmp_path, text, line, field, words):
    """Each mistake is reported where it stands, in one line of text, with what to do about it."""
    path = tmp_path / "graph.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_graph(path)
    message = str(error.value)
    assert words in message
    assert error.value.line == line
    if field is not None:
        assert error.value.field == field
        assert message.startswith(f"{path}:{line}: {field}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 500


def test_the_first_mistake_in_the_file_is_reported(tmp_path):
    """Of several mistakes of form, the one that stands first."""
    path = tmp_path / "graph.yaml"
    path.write_text(OPS + "  - {name: a, time: {forward: x}}\n  - {name: 3}\nmicrobatches: 0\n")
    with pytest.raises(InputError, match=r":3: operators\[0\]\.time\.forward: "):
        read_graph(path)
