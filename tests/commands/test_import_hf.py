"""``planner import hf`` as a command: what it writes, says and refuses, and that its page tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hf_models import CONFIGS

from planner.commands.app import main
from planner.files import read_graph
from planner.importers.huggingface.families import FAMILIES


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["import", "hf", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    "flags",
    [
        "--ep 64 --interconnect 50GB/s --tp 2 --tensor-interconnect 160GB/s --precision fp8 --no-mtp --zero 2",
        "--dp 8 --data-interconnect 12.5GB/s --zero 3 --recompute choose --weight-grad never --no-clip-gradients",
        "--dp 8 --no-whole-step",
    ],
)
def test_command_writes_the_same_graph_from_its_own_header(
    flags: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flags in the comment make the file again, byte for byte."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_bytes((CONFIGS / "deepseek-v3.json").read_bytes())
    assert run(capsys, "config.json", *flags.split(), "-o", "graph.yaml")[0] == 0
    lines = Path("graph.yaml").read_text(encoding="utf-8").splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("# made by: planner import hf"))
    made = " ".join(line.lstrip("# ") for line in lines[begin:] if line.startswith("#"))
    again = made.removeprefix("made by: planner import hf ").split()
    code, out, err = run(capsys, *again, "--quiet")
    assert (code, err) == (0, "")
    assert out == Path("graph.yaml").read_text(encoding="utf-8")
    assert read_graph(Path("graph.yaml")).name == tmp_path.name


def test_command_says_what_it_counted(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, str(CONFIGS / "mixtral-8x7b.json"))
    assert code == 0
    assert out.startswith("# A mixtral model in training, from mixtral-8x7b.json.")
    assert "46.7 B weights, 12.88 B of them met by a token" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"model_type": "falcon"}', "c.json:1: model_type: 'falcon' is not known"),
        ("{", "c.json:1: is not valid JSON"),
        ("[1]", "must be a JSON object"),
        ("{}", "model_type: is missing"),
        ('{"model_type": "llama",\n "hidden_size": "wide"}', "intermediate_size: is missing"),
        ('{"model_type": "gpt2",\n "n_embd": "wide"}', "c.json:2: n_embd: must be a whole number"),
        ('{"model_type": "gpt2",\n "n_embd": 0}', "c.json:2: n_embd: must be a whole number from 1"),
        (
            '{"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 2, "vocab_size": 9,\n'
            ' "intermediate_size": 9, "num_attention_heads": 7}',
            "c.json:2: num_attention_heads: must divide hidden_size 4096",
        ),
        ('{"model_type": "llava", "vision_config": 3}', "c.json:1: vision_config: must be an object"),
        (
            '{"model_type": "llava", "text_config": {},\n "vision_config": {"model_type": "siglip"}}',
            "c.json:2: vision_config.model_type: 'siglip' is not known",
        ),
    ],
)
def test_wrong_files(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json"
    path.write_text(text, encoding="utf-8")
    code, out, err = run(capsys, str(path), "-o", str(tmp_path / "graph.yaml"))
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "graph.yaml").exists()


def test_a_shipped_model_goes_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any case, and the header's command makes the file again; a file of that name wins."""
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "LLaMA-3.1-70B", "--sequence", "8192")
    assert code == 0 and "70.55 B weights" in err
    assert "from llama-3.1-70b.\n" in out and "planner import hf llama-3.1-70b --micro-batch" in out
    assert run(capsys, "llama-3.1-70b", "--sequence", "8192")[1] == out
    assert "name: llama-3.1-70b\n" in out and "  model: llama-3.1-70b\n" in out
    Path("llama-3.1-70b").write_bytes((CONFIGS / "gpt2.json").read_bytes())
    assert "124.4 M weights" in run(capsys, "llama-3.1-70b", "--sequence", "1024")[2]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("llama-3.1-70", "did you mean 'llama-3.1-70b'? (planner configs lists them)"),
        ("x" * 5000, "no model of that name comes along: there are: bert-large"),
        ("nope.json", "nope.json: no such file: check the path"),
        ("folder/llama-3.1-70b", "llama-3.1-70b: no such file: check the path"),
    ],
)
def test_names_of_no_model(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, name)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert words in err


def test_unknown_types_are_read_as_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json"
    path.write_text((CONFIGS / "qwen3-8b.json").read_text(encoding="utf-8").replace("qwen3", "new"), encoding="utf-8")
    assert run(capsys, str(path))[0] == 2
    code, _, err = run(capsys, str(path), "--family", "qwen3")
    assert code == 0
    assert "8.191 B weights" in err
    code, _, err = run(capsys, str(path), "--family", "qwen9")
    assert code == 2
    assert "--family qwen9 is not known" in err


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "import.md").read_text(encoding="utf-8")


def test_the_page_names_every_flag_and_family(capsys: pytest.CaptureFixture[str]) -> None:
    main(["import", "hf", "--help"])
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help", "--quiet", "--output", "--name"}
    assert [flag for flag in sorted(flags - {"--mtp"}) if f"`{flag}" not in PAGE and f" {flag}" not in PAGE] == []
    listed = PAGE.split("Known `model_type`s:")[1].split("`--family")[0]
    assert set(re.findall(r"[a-z0-9_]+", listed)) == set(FAMILIES)


def test_the_page_shows_what_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A layer of the first command, the variants of its MLP at 4096 tokens, and the step of a larger model."""
    shown = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    commands = (
        ("llama-3-8b", "--sequence 8192"),
        ("llama-3-8b", "--sequence 4096 --recompute choose"),
        ("llama-3.1-70b", "--tp 8 --dp 4 --interconnect 50GB/s"),
    )
    for text, (name, flags) in zip(shown, commands, strict=True):
        assert text in run(capsys, str(CONFIGS / f"{name}.json"), *flags.split(), "--quiet")[1]


def test_the_command_says_what_it_lacks_for_a_whole_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a bandwidth between data ranks: on stderr and in the comment; with one, or one rank, it is silent."""
    config = str(CONFIGS / "llama-3-8b.json")
    words = "the reduction of gradients and gathering the weights over 4 ranks with the same weights"
    code, out, err = run(capsys, config, "--dp", "4")
    assert code == 0
    assert f"planner: not counted: {words} (it needs --interconnect)" in err
    assert f"Not counted: {words}" in out.replace("\n# ", " ")
    for flags in ("", "--dp 4 --interconnect 50GB/s", "--dp 4 --no-whole-step", "--dp 4 --mode inference"):
        assert "not counted" not in run(capsys, config, *flags.split())[2]


def test_choose_is_written_with_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """The variants are named as the flag's values, and the comment says how to make the file again."""
    config = str(CONFIGS / "mixtral-8x7b.json")
    _, out, _ = run(capsys, config, "--recompute", "choose", "--weight-grad", "fitting", "--quiet")
    assert "--recompute choose --weight-grad fitting" in " ".join(out.split("\n# "))
    assert set(re.findall(r"- name: (selective|full)\n", out)) == {"selective", "full"}
    assert "--weight-grad" not in run(capsys, config, "--quiet")[1]


def test_the_command_of_the_page_for_deepseek(capsys: pytest.CaptureFixture[str]) -> None:
    command = re.search(r"planner import hf DeepSeek-V3/config.json (.*?) -o graph.yaml", PAGE, re.DOTALL)
    assert command is not None
    flags = command[1].replace("\\\n", " ").split()
    code, out, _ = run(capsys, str(CONFIGS / "deepseek-v3.json"), *flags)
    assert code == 0
    assert "  - block: layer_moe\n    repeat: 58\n" in out
