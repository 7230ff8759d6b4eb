"""A strategy: how the ranks of a cluster share a model. From a row of text, with defaults and checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from planner.baselines.registry import SCHEDULES
from planner.common.messages import did_you_mean, shown
from planner.files.graph_file import MAX_MICROBATCHES
from planner.importers.transformer.setting import Precision, Recompute
from planner.runtimes.registry import RUNTIMES

COLUMNS = (
    *("gpus", "tp", "cp", "ep", "pp", "dp", "vpp", "mbs", "gbs", "seq"),
    *("recompute", "zero", "precision", "schedule", "runtime"),
)
"""The columns of a table of strategies that mean something; any others pass through."""

REQUIRED = ("gbs", "seq")
"""Those without a default."""

LARGEST = 10**9
"""Of any number in a row."""

PRECISIONS = {"fp16": Precision.BF16, **{each.value: each for each in Precision}}
"""What a row may name. FP16 takes the time and the bytes of BF16."""


class BadStrategy(ValueError):
    """A row that is no strategy, or one that the cluster or the runtime cannot run; the message is one sentence."""


@dataclass(frozen=True)
class Strategy:
    """How the ranks share a model, and what they run: ``tp`` x ``cp`` x ``pp`` x ``dp`` = ``gpus``.

    ``mbs``: sequences a microbatch and replica. ``gbs``: sequences a step. ``seq``: tokens a sequence. ``vpp``: stages
    a pipeline rank. ``ep``: ranks over which routed experts spread, among the ``cp`` x ``dp`` of a stage. ``zero``: the
    ZeRO stage. ``schedule``: a name of ``planner.baselines``. ``runtime``: a name of ``planner.runtimes``.
    """

    gpus: int
    tp: int
    cp: int
    ep: int
    pp: int
    dp: int
    vpp: int
    mbs: int
    gbs: int
    seq: int
    recompute: str
    zero: int
    precision: str
    schedule: str
    runtime: str

    @property
    def microbatches(self) -> int:
        """Microbatches that a replica runs in a step."""
        return self.gbs // (self.mbs * self.dp)


def strategy_of(row: Mapping[str, str], gpus_of_cluster: int) -> Strategy:
    """The strategy of a row; a column that is missing or empty has its default.

    Defaults: ``gpus`` all of the cluster, ``dp`` what is left of them, other degrees and ``mbs`` 1, ``recompute`` none,
    ``zero`` 1, ``precision`` bf16, ``schedule`` 1f1b, or interleaved-1f1b with ``vpp`` above 1, ``runtime`` megatron.
    A schedule that has several stages on a rank has two where the row names no ``vpp``.

    Raises ``BadStrategy``.
    """
    given = {name: row.get(name, "").strip() for name in COLUMNS}
    runtime = _choice(given, "runtime", RUNTIMES, "megatron")
    schedule, vpp = _schedule(given)
    gpus = _number(given, "gpus", gpus_of_cluster)
    tp, cp, ep, pp, mbs = (_number(given, name, 1) for name in ("tp", "cp", "ep", "pp", "mbs"))
    strategy = Strategy(
        gpus=gpus,
        tp=tp,
        cp=cp,
        ep=ep,
        pp=pp,
        dp=_number(given, "dp") if given["dp"] else _left(gpus, tp, cp, pp),
        vpp=vpp,
        mbs=mbs,
        gbs=_number(given, "gbs"),
        seq=_number(given, "seq"),
        recompute=_recompute(given),
        zero=_number(given, "zero", 1, least=0, most=3),
        precision=PRECISIONS[_choice(given, "precision", PRECISIONS, Precision.BF16.value)].value,
        schedule=schedule,
        runtime=runtime,
    )
    _check_degrees(strategy, gpus_of_cluster)
    _check_order(strategy)
    return strategy


def _number(
    given: Mapping[str, str], name: str, default: int | None = None, least: int = 1, most: int = LARGEST
) -> int:
    """A whole number; ``8.0`` is one, as spreadsheets write it. Without a default it is required."""
    text = given[name]
    if not text:
        if default is None:
            raise BadStrategy(f"{name} is missing")
        return default
    value = int(text.split(".")[0]) if re.fullmatch(r"\+?[0-9]{1,12}(\.0*)?", text, re.ASCII) else -1
    if not least <= value <= most:
        what = "a positive whole number" if most == LARGEST else f"a whole number from {least} to {most}"
        what += f" of at most {LARGEST:,}" if value > LARGEST == most else ""
        raise BadStrategy(f"{name} must be {what}, not {shown(text)}")
    return value


def _choice(given: Mapping[str, str], name: str, known: Mapping[str, object], default: str) -> str:
    text = given[name] or default
    if text not in known:
        raise BadStrategy(f"{name} {shown(text)} is not known: {did_you_mean(text, known)}")
    return text


def _left(gpus: int, tp: int, cp: int, pp: int) -> int:
    """The data-parallel degree that uses all of ``gpus``."""
    ranks = tp * cp * pp
    if gpus % ranks:
        raise BadStrategy(f"tp {tp} x cp {cp} x pp {pp} = {ranks} must divide gpus {gpus}, where dp is not given")
    return gpus // ranks


def _recompute(given: Mapping[str, str]) -> str:
    text = _choice(given, "recompute", {each.value: each for each in Recompute}, Recompute.NONE.value)
    if text == Recompute.CHOOSE.value:
        raise BadStrategy("recompute choose leaves it to a plan: name none, selective or full here")
    return text


def _schedule(given: Mapping[str, str]) -> tuple[str, int]:
    """Schedule and stages a rank; each has a default that depends on the other."""
    if given["schedule"] == "best":
        raise BadStrategy("schedule best leaves it to a search: name a schedule here, such as 1f1b")
    if given["schedule"]:
        name = _choice(given, "schedule", SCHEDULES, "")
        return name, _number(given, "vpp", SCHEDULES[name].chunks)
    vpp = _number(given, "vpp", 1)
    return "1f1b" if vpp == 1 else "interleaved-1f1b", vpp


def _check_degrees(strategy: Strategy, gpus_of_cluster: int) -> None:
    """Whether the degrees multiply and divide as they must. Raises ``BadStrategy``."""
    s = strategy
    if s.gpus > gpus_of_cluster:
        raise BadStrategy(f"gpus {s.gpus} are more than the {gpus_of_cluster} of the cluster")
    ranks = s.tp * s.cp * s.pp * s.dp
    if ranks != s.gpus:
        raise BadStrategy(f"tp {s.tp} x cp {s.cp} x pp {s.pp} x dp {s.dp} = {ranks} must be gpus {s.gpus}")
    if (s.cp * s.dp) % s.ep:
        raise BadStrategy(f"ep {s.ep} must divide cp {s.cp} x dp {s.dp} = {s.cp * s.dp}, over which experts spread")
    if s.gbs % (s.mbs * s.dp):
        raise BadStrategy(f"mbs {s.mbs} x dp {s.dp} = {s.mbs * s.dp} must divide gbs {s.gbs}")
    if s.microbatches > MAX_MICROBATCHES:
        raise BadStrategy(
            f"gbs {s.gbs} is {s.microbatches:,} microbatches of mbs {s.mbs} x dp {s.dp}, at most "
            f"{MAX_MICROBATCHES:,} may be"
        )
    if s.seq % s.cp:
        raise BadStrategy(f"cp {s.cp} must divide seq {s.seq}")


def _check_order(strategy: Strategy) -> None:
    """Whether schedule, stages and runtime go together. Raises ``BadStrategy``."""
    s, schedule, runtime = strategy, SCHEDULES[strategy.schedule], RUNTIMES[strategy.runtime]
    if runtime.schedules and s.schedule not in runtime.schedules:
        raise BadStrategy(f"runtime {s.runtime} does not run {s.schedule}: it runs {', '.join(runtime.schedules)}")
    if s.pp > 1 and not runtime.pipeline:
        raise BadStrategy(f"runtime {s.runtime} has no pipeline: pp must be 1, not {s.pp}")
    if s.vpp > 1 and schedule.chunks == 1:
        raise BadStrategy(f"schedule {s.schedule} has one stage a rank: vpp must be 1, not {s.vpp}")
    if schedule.chunks == 2 and schedule.family == "vshape" and s.vpp != 2:
        raise BadStrategy(f"schedule {s.schedule} has two stages a rank: vpp must be 2, not {s.vpp}")
    if s.vpp > 1 and s.pp == 1:
        raise BadStrategy(f"vpp {s.vpp} needs a pipeline: pp must be above 1")
    if schedule.even_ranks and s.pp % 2:
        raise BadStrategy(f"schedule {s.schedule} needs an even number of ranks: pp must be even, not {s.pp}")
