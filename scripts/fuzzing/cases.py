"""Command lines over all commands, with the files that they need; a seed and a number make a case."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

import typer.main

from fuzzing.mutate import mutated
from fuzzing.seeds import SOURCES, Problem, problems
from planner.baselines import BASELINES
from planner.commands.app import app
from planner.exporters.registry import EXPORTERS
from planner.importers.registry import IMPORTERS

WORDS = (
    *("", " ", "-", "--", "-1", "0", "1", "2", "3", "4", "8", "9", "64", "0.5", "1e-6", "1e400", "nan", "inf", "-inf"),
    *(
        "10%",
        "200%",
        "all",
        "none",
        "auto",
        "a,b",
        ",",
        "1f1b,zbv",
        "gpipe",
        "dualpipe",
        "zbv",
        "linear",
        "bidirectional",
    ),
    *(
        "1 ms",
        "0 s",
        "80GiB",
        "1 GB",
        "20",
        "5 parsec",
        "gpu0=2",
        "gpu0=0",
        "gpu0:gpu1=2",
        "*:gpu1=3",
        "x=1",
        "=",
        "a=b=c",
    ),
    *("é", "\udcff", "a\nb", "x" * 300, "99999999999999999999", "١", "None", "true", "json", "text", "torch", "int8"),
    *("missing.yaml", "folder", "missing/x", "out.json", "/dev/null", "/dev/full", "graph.yaml", "cluster.yaml"),
    *("plan.json", "plan0.json", "folder/below", "base", "fast", "b0=1", "h100"),
)
"""Values of options, for those that take them and for those that do not."""

SENSIBLE: Mapping[str, Sequence[str]] = {
    "N": ("1", "2", "3", "4", "6", "8", "16"),
    "K": ("1", "2", "3"),
    "V": ("1", "2", "3"),
    "S": ("0", "7"),
    "T": ("1", "2"),
    "SECONDS": ("10 ms", "1", "2", "20", "100"),
    "SIZE": ("1", "20", "40", "1 GB", "3 GiB", "8GiB", "100 GB"),
    "R": ("0", "0.1", "20%", "1"),
    "G": ("0", "1e-6", "5%"),
    "GRAPH": ("graph.yaml",),
    "CLUSTER": ("cluster.yaml",),
    "PLAN": ("plan0.json", "plan1.json"),
    "FILE": ("out.json", "out2", "there.json"),
    "A,B|all|none": ("all", "none", "1f1b", "gpipe,zbv,dualpipe"),
    "NAME=X": ("gpu0=2", "m0=0.5", "old=3"),
    "FROM:TO=X": ("gpu0:gpu1=2", "*:gpu0=3"),
    "NAME": ("1f1b", "dualpipe", "gpipe", "base"),
}
"""Values that an option of this metavar takes."""

OUTPUTS = (
    "out.json",
    "out.json",
    "out.json",
    "there.json",
    "-",
    "missing/x",
    "folder",
    "/dev/null",
    "/dev/full",
    "é.json",
)
THERE = b"what was there before\n"
"""The content of ``there.json``, which a case may replace as a whole."""


@dataclass(frozen=True)
class Case:
    """A command line, and the files in its folder. ``mutated``: those that are not valid any more, or may not be."""

    arguments: Sequence[str]
    files: Mapping[str, bytes]
    stdin: bytes | None = b""
    mutated: Sequence[str] = ()
    options_mutated: bool = False

    @property
    def command(self) -> str:
        """Its first word, which may be none that planner knows."""
        return self.arguments[0] if self.arguments else ""

    def __str__(self) -> str:
        return "planner " + shlex.join(each.encode("utf-8", "replace").decode() for each in self.arguments)


@dataclass
class Draft:
    """A case in the making."""

    random: Random
    problem: Problem
    files: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def needs(self, *names: str) -> list[str]:
        """Put these files of the problem into the folder."""
        of = {"graph.yaml": self.problem.graph, "cluster.yaml": self.problem.cluster}
        of |= {f"plan{k}.json": text for k, text in enumerate(self.problem.plans)}
        self.texts |= {name: of[name] for name in names}
        return list(names)

    def maybe(self, *words: str, share: float = 0.5) -> list[str]:
        """The words, or none."""
        return list(words) if self.random.random() < share else []

    def inputs(self) -> list[str]:
        """Graph and cluster as options."""
        graph, cluster = self.needs("graph.yaml", "cluster.yaml")
        return ["--graph", graph, "--cluster", cluster]

    def output(self, share: float = 0.6) -> list[str]:
        """An option that names an output, possibly a bad one."""
        return self.maybe(self.random.choice(["-o", "--output"]), self.random.choice(OUTPUTS), share=share)

    def plan(self) -> str:
        """One of the plans."""
        return self.needs(f"plan{self.random.randrange(len(self.problem.plans))}.json")[0]


Template = Callable[[Draft], list[str]]


def _solve(draft: Draft) -> list[str]:
    limits = ["--time-limit", "2", "--effort", draft.random.choice(["1", "10", "40"])]
    objective = draft.maybe("--objective", draft.random.choice(["memory", "period", "utilization"]), share=0.2)
    copies = draft.maybe("--copies", "2", share=0.2)
    return [*draft.needs("graph.yaml", "cluster.yaml"), *limits, *objective, *copies, *draft.output()]


def _sweep(draft: Draft) -> list[str]:
    limits = ["--time-limit", "1", "--effort", draft.random.choice(["1", "5"]), "--processes", "1"]
    grid = draft.maybe("--memory-cap", draft.random.choice(["1,100 GB", "1GiB:3GiB:1GiB"]))
    out = draft.random.choice(["out", "out", "there.json", "folder", "/dev/null"])
    return [*draft.needs("graph.yaml", "cluster.yaml"), *limits, *grid, "-o", out]


def _baseline(draft: Draft) -> list[str]:
    return [draft.random.choice(list(BASELINES)), *draft.needs("graph.yaml", "cluster.yaml"), *draft.output()]


def _compare(draft: Draft) -> list[str]:
    flags = [*draft.maybe("--any"), *draft.maybe("--svg", "out.svg"), *draft.maybe("--fail-if-slower", "2%")]
    if draft.random.random() < 0.3:
        flags += draft.inputs()
    return [draft.plan(), draft.plan(), *flags, *draft.maybe("--format", "markdown", share=0.3)]


def _verify(draft: Draft) -> list[str]:
    return [draft.plan(), *draft.inputs()]


def _stretch(draft: Draft) -> list[str]:
    more = draft.random.choice(["1", "4", "5", "8", "12", "20", "100"])
    return [draft.plan(), *draft.inputs(), "--microbatches", more, *draft.output()]


def _show(draft: Draft) -> list[str]:
    pictures = [*draft.maybe("--svg", "out.svg", share=0.3), *draft.maybe("--html", "out.html", share=0.3)]
    others = draft.maybe("--baseline-plan", draft.plan(), share=0.3) if pictures else []
    return [draft.plan(), *pictures, *others, *(draft.inputs() if draft.random.random() < 0.3 and pictures else [])]


def _export(draft: Draft) -> list[str]:
    to = draft.random.choice(list(EXPORTERS))
    return [draft.plan(), "--to", to, *draft.output(), *(draft.inputs() if draft.random.random() < 0.5 else [])]


def _explain(draft: Draft) -> list[str]:
    limits = ["--effort", draft.random.choice(["0", "2"]), "--time-limit", "1"]
    return [draft.plan(), *draft.inputs(), *limits]


def _simulate(draft: Draft) -> list[str]:
    return [draft.plan(), "--runs", "3", *(draft.inputs() if draft.random.random() < 0.4 else [])]


def _import(draft: Draft) -> list[str]:
    name = draft.random.choice(list(IMPORTERS))
    source = draft.random.choice(list(SOURCES[name]))
    draft.texts[source] = SOURCES[name][source]
    return [name, source, *(["--into", *draft.needs("graph.yaml")] if name == "profile" else []), *draft.output()]


STRATEGIES = "gpus,tp,pp,dp,mbs,gbs,seq,zero,note\n,1,1,,1,8,128,1,plain\n2,1,2,1,1,8,128,0,\n,3,,,,8,128,,bad\n"


def _predict(draft: Draft) -> list[str]:
    source = draft.random.choice(list(SOURCES["hf"]))
    draft.texts |= {source: SOURCES["hf"][source], "strategies.csv": STRATEGIES}
    return [source, *draft.needs("cluster.yaml"), "strategies.csv", *draft.output()]


def _strategy(draft: Draft) -> list[str]:
    source = draft.random.choice(list(SOURCES["hf"]))
    draft.texts |= {source: SOURCES["hf"][source]}
    training = ["--global-batch", "4", "--sequence", "128", "--processes", "1", "--time-limit", "1"]
    serving = ["--mode", "inference", "--prompt", "64", "--output-length", draft.random.choice(["8", "0"])]
    what = training if draft.random.random() < 0.3 else serving
    fixed = draft.maybe("--fix", draft.random.choice(["tp=1", "tp=2,pp=1", "tp", "zero=9"]))
    out = draft.maybe("-o", draft.random.choice(["out", "there.json", "folder"]))
    return [source, *draft.needs("cluster.yaml"), *what, *fixed, *out]


def _configs(draft: Draft) -> list[str]:
    names = draft.random.sample(["dualpipe-4x8", "a100-8", "h100", "jobshop-ft06", ""], draft.random.randrange(3))
    return [*names, *draft.maybe("--copy", draft.random.choice(["new", "folder", "there.json", "new/er"]))]


TEMPLATES: Mapping[str, tuple[int, Template]] = {
    "solve": (16, _solve),
    "sweep": (2, _sweep),
    "baseline": (14, _baseline),
    "compare": (8, _compare),
    "verify": (12, _verify),
    "predict": (8, _predict),
    "strategy": (3, _strategy),
    "stretch": (10, _stretch),
    "show": (10, _show),
    "export": (10, _export),
    "simulate": (8, _simulate),
    "explain": (4, _explain),
    "import": (14, _import),
    "init": (2, lambda draft: draft.maybe(draft.random.choice(["new", "folder", "there.json"]))),
    "configs": (2, _configs),
    "schema": (1, lambda draft: [draft.random.choice(["graph", "cluster", "plan"])]),
    "warmup": (0, lambda draft: []),  # compiles for a second, and reads nothing
    "calibrate": (0, lambda draft: []),  # reads tables alone, which tests/costs/test_calibrate.py breaks
}
"""How often a command comes, and how its command line begins before it is mutated."""

FORMATTED = (
    "solve",
    "sweep",
    "baseline",
    "compare",
    "verify",
    "show",
    "simulate",
    "explain",
    "stretch",
    "configs",
    "strategy",
)
"""Those that have ``--format``."""


@cache
def _parameters(*path: str) -> tuple[Any, ...]:
    """The options of a command, or of a command of a group."""
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
        command = command.load() if hasattr(command, "load") else command
    return tuple(each for each in command.params if each.param_type_name == "option" and each.name != "help")


def _option(path: Sequence[str], random: Random) -> list[str]:
    """An option of the command with a value that may be none of it; now and then an option that it does not have."""
    if random.random() < 0.05:
        return [random.choice(["--frob", "-x", "--help", "--version", "--graph", "--quiet=1", "-o"])]
    known = _parameters(*path)
    if not known:
        return [random.choice(WORDS)]
    chosen = random.choice(known)
    if getattr(chosen, "is_flag", False):
        return [chosen.opts[0]]
    sensible = SENSIBLE.get(chosen.metavar or "")
    if sensible and random.random() < 0.7:
        return [chosen.opts[0], random.choice(sensible)]
    choices = list(getattr(chosen.type, "choices", ()))
    value = (
        str(getattr(pick := random.choice(choices), "value", pick))
        if choices and random.random() < 0.8
        else random.choice(WORDS)
    )
    return [chosen.opts[0], value]


def case_of(seed: int, number: int) -> Case:
    """The case of this number; the same for the same seed."""
    random = Random(f"{seed}:{number}")
    draft = Draft(random, random.choice(problems()))
    name = random.choices(list(TEMPLATES), [weight for weight, _ in TEMPLATES.values()])[0]
    words = TEMPLATES[name][1](draft)
    path = [name, words[0]] if name == "import" else [name]
    files = {file: text.encode("utf-8") for file, text in draft.texts.items()}
    changed: list[str] = []
    options, stdin = False, b""
    if files and random.random() < 0.65:
        for file in random.sample(sorted(files), min(len(files), random.choice([1, 1, 1, 1, 2]))):
            files[file] = mutated(file, draft.texts[file], random)
            changed.append(file)
    if random.random() < 0.45:
        options = True
        for _ in range(random.choice([1, 1, 2, 3])):
            extra = _option(path, random)
            k = random.choice([len(words), len(words), random.randrange(len(path) - 1, len(words) + 1)])
            words[k:k] = extra
    if files and random.random() < 0.1:
        options = True
        file = random.choice([word for word in words if word in files] or [""])
        if file:
            instead = random.choice(
                ["-", "-", "missing.yaml", "folder", "/dev/null", "loop", "\udcff", file + "\n", "~"]
            )
            if instead == "-":
                stdin = files[file] if random.random() < 0.9 else None
            words = [instead if word == file else word for word in words]
    if name in FORMATTED:
        words += draft.maybe("--format", "json", share=0.2)
    if random.random() < 0.02:
        options = True
        words = words[: random.randrange(len(words) + 1)]
    if name == "solve" and options:  # whatever came, it ends
        words += ["--time-limit", "2"]
    command = "frob" if random.random() < 0.005 else name
    return Case([command, *words], files, stdin, changed, options)
