"""The layers of a language model and their operators, from names or from the user's rules.

Megatron-Core knows four kinds of layers: the embedding (E), decoder layers (t), layers of multi-token prediction (m)
and the loss (L: final norm, output layer and loss).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from planner.exporters import CannotExport
from planner.files.errors import listed, shown

KINDS = {"E": "embedding", "t": "decoder layer", "m": "multi-token prediction", "L": "loss"}

EMBEDDING = re.compile(r"(.*_)?(embed|embeds|embedding|embeddings|embed_tokens|wte|wpe)(_.*)?", re.IGNORECASE)
LOSS = re.compile(
    r"(.*_)?(head|loss|logits|unembed|output_layer|cross_entropy|final_norm|final_layernorm|ln_f|norm_f|norm)"
    r"(_(input|weights|weights_again))?",
    re.IGNORECASE,
)
PREDICTION = re.compile(r"mtp(\d*)(_.*)?", re.IGNORECASE)
DECODER = re.compile(
    r"(layers?(?:_(?:dense|moe|window|full))?|blocks?|decoders?|transformers?|stages?|dense|moe|[hls])_?(\d+)?",
    re.IGNORECASE,
)
ANOTHER_TOWER = re.compile(r"(.*_)?(enc|encoders?|vision|visual|vit|audio|speech|image)(_.*)?", re.IGNORECASE)

GATHERED = re.compile(r"_(weights|weights_again|input)$")
"""Ends of the names of operators that gather the weights, or the input, of the operator named by what is before it."""

HINT = "--layers names them, such as --layers 'E=embed,t=layer.*,L=head'"


@dataclass(frozen=True)
class Layer:
    """A layer and its operators, in the plan's order."""

    kind: str
    name: str
    operators: tuple[str, ...]

    @property
    def recomputable(self) -> tuple[str, ...]:
        """The operators that Megatron can recompute: those of its transformer layers, without heads."""
        if self.kind in "EL":
            return ()
        heads = {name for name in self.operators if self.kind == "m" and LOSS.fullmatch(name.rpartition(".")[2])}
        return tuple(name for name in self.operators if name not in heads)

    def __str__(self) -> str:
        return f"{KINDS[self.kind]} {shown(self.name)}" if self.kind in "tm" else f"the {KINDS[self.kind]}"


@dataclass(frozen=True)
class Chunk:
    """The layers of one virtual stage, and the device that runs it."""

    device: str
    layers: tuple[Layer, ...]

    @property
    def letters(self) -> str:
        """The layers as Megatron writes them, nothing shortened."""
        return "".join(layer.kind for layer in self.layers)

    @property
    def decoder(self) -> list[Layer]:
        """The decoder layers."""
        return [layer for layer in self.layers if layer.kind == "t"]


@dataclass(frozen=True)
class Rule:
    """``t=layer.*``: operators whose first name parts match the dotted pattern form a layer, named by those parts.

    ``m=mtp*`` makes one layer of each module of multi-token prediction: all of ``mtp_join``, ``mtp_attn`` are ``mtp``,
    and ``mtp0_join``, ``mtp1_join`` are of two.
    """

    kind: str
    parts: tuple[str, ...]

    def layer_of(self, operator: str) -> str | None:
        """The name of the layer that the operator is a part of; None where the rule does not match."""
        have = operator.split(".")
        if len(have) < len(self.parts) or not all(map(fnmatchcase, have, self.parts)):
            return None
        named = have[: len(self.parts)]
        if self.kind == "m" and (stem := re.match(r"[^*?\[]*", self.parts[-1])) and self.parts[-1].endswith("*"):
            named[-1] = _module(named[-1], stem[0])
        return ".".join(named)


def _module(name: str, stem: str) -> str:
    """The module of multi-token prediction of which an operator is a part: ``mtp0`` of ``mtp0_attn``."""
    number = re.match(r"\d*", name[len(stem) :])
    return stem + (number[0] if number else "")


def parse_rules(text: str | None) -> tuple[Rule, ...]:
    """The rules of ``--layers``; raises ``CannotExport`` where the text has none."""
    rules = []
    for entry in (text or "").split(","):
        if not entry.strip():
            continue
        kind, _, pattern = (part.strip() for part in entry.partition("="))
        if kind not in KINDS or not pattern or not all(pattern.split(".")):
            kinds = ", ".join(f"{letter} {what}" for letter, what in KINDS.items())
            raise CannotExport(f"--layers: {shown(entry.strip())} is not KIND=PATTERN with a KIND of {kinds}")
        rules.append(Rule(kind, tuple(pattern.split("."))))
    return tuple(rules)


def layers_of(operators: Sequence[str], rules: Sequence[Rule], *, every_rule: bool = True) -> list[Layer]:
    """Embedding, decoder layers, multi-token prediction and loss, each kind in the order of the operators.

    ``operators`` is in the order in which they run. A rule comes before the names, an earlier rule before a later
    one. All embeddings are one layer, and so is all of the loss. What gathers weights for an operator is of its layer.
    Raises ``CannotExport`` for operators that neither assigns and, with ``every_rule``, for rules that assign none.
    """
    found: dict[tuple[str, str], list[str]] = {}
    strange, used, known = [], set(), set(operators)
    for operator in operators:
        served = GATHERED.sub("", operator)
        meant = served if served in known else operator
        rule = next((rule for rule in rules if rule.layer_of(meant) is not None), None)
        used.add(rule)
        key = _by_name(meant) if rule is None else (rule.kind, str(rule.layer_of(meant)))
        if key is None:
            strange.append(operator)
            continue
        kind, name = key
        found.setdefault((kind, KINDS[kind] if kind in "EL" else name), []).append(operator)
    unused = next((rule for rule in rules if every_rule and rule not in used), None)
    if unused is not None:
        pattern = ".".join(unused.parts)
        taken = any(unused.layer_of(operator) for operator in operators)
        why = "all that it matches is taken by rules before it" if taken else "it matches no operator"
        raise CannotExport(f"--layers: {unused.kind}={pattern}: {why}; there are {listed(operators, 6)}")
    if strange:
        raise CannotExport(f"it does not show which layers {listed(map(repr, strange), 4)} are parts of; {HINT}")
    order = list(KINDS)
    layers = [Layer(kind, name, tuple(members)) for (kind, name), members in found.items()]
    return sorted(layers, key=lambda layer: order.index(layer.kind))


def _by_name(operator: str) -> tuple[str, str] | None:
    """Kind and layer from the first part of the name that tells: ``model.layers.3.mlp`` is of ``model.layers.3``."""
    parts = operator.split(".")
    for k, part in enumerate(parts):
        prediction = PREDICTION.fullmatch(part)
        number = parts[k + 1 : k + 2] if parts[k + 1 : k + 2] and parts[k + 1].isdigit() else []
        if prediction:
            return "m", ".".join([*parts[:k], f"mtp{prediction[1]}", *number])
        if ANOTHER_TOWER.fullmatch(part):
            return None
        decoder = DECODER.fullmatch(part)
        if decoder and (decoder[2] or number):
            return "t", ".".join([*parts[: k + 1], *([] if decoder[2] else number)])
        if EMBEDDING.fullmatch(part):
            return "E", operator
        if LOSS.fullmatch(part):
            return "L", operator
    return None
