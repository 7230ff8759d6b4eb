"""``origin`` of graph.yaml: what the graph was made from."""

from __future__ import annotations

from planner.files.shapes import Choice, Entry, Field, Flag, Name, Quantity, Record, Whole
from planner.problem.made_from import MadeFrom
from planner.problem.quantities import FLOP

_DEGREE = Whole(1, 1_000_000)
_COUNT = Whole(0, 1_000_000)

ORIGIN = Record(
    "origin",
    "What the graph was made from. Plans do not depend on it; exports and throughput do.",
    {
        "model": Field(Name(), "The model.", required=True),
        "family": Field(Name(), "Its family, as model_type of a Hugging Face config."),
        "rules": Field(Name(), "Its layers, as export --layers takes them: E=embed,t=layer.*,L=head."),
        "layers": Field(_COUNT, "Layers of the decoder."),
        "experts": Field(_COUNT, "Routed experts of a layer. Default 0."),
        "mtp": Field(_COUNT, "Layers of multi-token prediction. Default 0."),
        "sequence": Field(Whole(1, 10**9), "Tokens of a sequence."),
        "micro_batch": Field(_DEGREE, "Sequences of a microbatch, on one replica. Default 1."),
        "tensor": Field(_DEGREE, "Tensor parallel ranks. Default 1."),
        "context": Field(_DEGREE, "Context (sequence) parallel ranks. Default 1."),
        "expert": Field(_DEGREE, "Ranks over which experts are spread. Default 1."),
        "data": Field(_DEGREE, "Data parallel replicas of the pipeline. Default 1."),
        "pipeline": Field(_DEGREE, "Pipeline stages that it is meant for. Default: as many as there are devices."),
        "precision": Field(Name(), "Of matrix products. Default bf16."),
        "optimizer": Field(Name(), "The optimizer."),
        "zero": Field(Whole(0, 3), "Stage of ZeRO. Default 0."),
        "recompute": Field(Name(), "What backward computes again. Default none."),
        "cut": Field(Choice(("operator", "part", "layer")), "Where stages may end. Default operator."),
        "tied": Field(Flag(), "Whether embedding and head share a matrix. Default false."),
        "flops_per_token": Field(Quantity(FLOP), "FLOP of the model for a token and step, each once, for MFU."),
    },
)


def made_from(entry: Entry | None) -> MadeFrom | None:
    """``origin`` of the file, its degrees checked against each other."""
    if entry is None:
        return None
    found = MadeFrom(**entry.values)
    if (found.data * found.context) % found.expert:
        entry.at("expert").fail(
            f"experts are spread over the data x context ranks of a stage: {found.expert} must divide {found.data} x "
            f"{found.context}"
        )
    return found
