"""A document of ``planner strategy`` as a search would write it: made up, seeded, in size and shape a real one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

GIB = 2.0**30
CAP = 76 * GIB
COUNTED = {"invalid": "invalid", "out of memory": "out_of_memory", "pruned": "pruned_by_bound", "solved": "solved"}


def document(seed: int = 1, gpus: int = 64, most: int | None = None, **other: Any) -> dict[str, Any]:
    """The space of a model of 70 B weights: every split of the GPUs, some solved, the others out for a reason."""
    rng = random.Random(seed)
    points = list(_points(rng, gpus))
    rng.shuffle(points)
    points = points[:most]
    solved = sorted((p for p in points if p["state"] == "solved"), key=lambda p: p["seconds"])
    best = solved[0]["seconds"] if solved else None
    bound = min((p["lower_bound"] for p in points if p["lower_bound"] is not None), default=None)
    states = Counter(point["state"] for point in points)
    table = [
        {
            **{key: value for key, value in point.items() if key not in ("state", "reason", "least_bytes")},
            "rank": rank,
            "tokens_per_second_per_gpu": 512 * 8192 / point["seconds"] / gpus,
            "mfu": 4.5e11 * 512 * 8192 / point["seconds"] / gpus / 989e12,
            "bubble_ratio": rng.uniform(0.02, 0.2),
            "exposed_seconds": rng.uniform(0.1, 1.5),
        }
        for rank, point in enumerate(solved[:10], 1)
    ]
    return {
        "format": "planner-strategy",
        "model": "llama-3.1-70b",
        "cluster": f"h100:{gpus // 8}x8",
        "gpus": gpus,
        "mode": "training",
        "global_batch": 512,
        "sequence": 8192,
        "runtime": "megatron",
        "schedules": "runnable",
        "precision": "bf16",
        "space": {"strategies": len(points)} | {key: states[state] for state, key in COUNTED.items()},
        "best_seconds": best,
        "lower_bound": bound,
        "gap": None if best is None or bound is None else (best - bound) / best,
        "strategies": table,
        "neighbours": _neighbours(rng, table[0]) if table else [],
        "points": points,
        "unrestricted": None if best is None else {"seconds": 0.94 * best, "lower_bound": 0.91 * best},
        "assumptions": [
            "Kernels take what the calibration of h100 says; collectives take the rates of the cluster file.",
            "Ranks of a stage run in lockstep, so that one of them is planned.",
        ],
        **other,
    }


def _points(rng: random.Random, gpus: int) -> Iterator[dict[str, Any]]:
    powers = [2**k for k in range(12)]
    for tp, cp, pp, mbs, zero, vpp in product(powers[:4], powers[:3], powers[:6], powers[:4], (0, 1, 2, 3), (1, 2, 5)):
        if gpus % (tp * cp * pp) or (vpp > 1 and pp == 1):
            continue
        dp = gpus // (tp * cp * pp)
        for recompute in ("none", "choose", "full"):
            point: dict[str, Any] = {"gpus": gpus, "tp": tp, "cp": cp, "ep": 1, "pp": pp, "dp": dp, "vpp": vpp}
            point |= {"mbs": mbs, "zero": zero, "recompute": recompute}
            point |= {"schedule": ("interleaved-1f1b" if vpp > 1 else "1f1b") if pp > 1 else None}
            yield point | _outcome(rng, point)


def _outcome(rng: random.Random, p: dict[str, Any]) -> dict[str, Any]:
    nothing: dict[str, Any] = {
        "seconds": None,
        "lower_bound": None,
        "peak_bytes": None,
        "least_bytes": None,
        "reason": "",
    }
    tp, cp, pp, dp, mbs, zero = (p[key] for key in ("tp", "cp", "pp", "dp", "mbs", "zero"))
    microbatches = 512 / dp / mbs
    if microbatches < pp or 80 % (pp * p["vpp"]):
        reason = (
            f"80 layers do not divide into {pp} x {p['vpp']} chunks" if 80 % (pp * p["vpp"]) else "too few microbatches"
        )
        return nothing | {"state": "invalid", "reason": reason}
    state = 18 / (tp * pp) if zero == 0 else (6 + 12 / (dp * cp)) / (tp * pp) if zero < 3 else 18 / (tp * pp * dp * cp)
    kept = {"none": 34.0, "choose": 14.0, "full": 4.0}[p["recompute"]]
    held = 70e9 * state + kept * 8192 * 8192 * mbs * 80 / (tp * cp) * min(1.0, 1.1 / p["vpp"] + 0.2)
    bound = 11.5 * (1 + 0.04 * tp + 0.06 * cp + 0.02 * zero + 0.5 / mbs / 8) * (1 + (pp - 1) / microbatches / p["vpp"])
    bound *= {"none": 1.0, "choose": 1.03, "full": 1.3}[p["recompute"]] * rng.uniform(1, 1.05)
    if held > CAP:
        reason = f"a rank of the first stage holds {held / GIB:.1f} GiB at least, {CAP / GIB:g} GiB are there"
        known = None if held > 20 * CAP else bound
        return nothing | {"state": "out of memory", "least_bytes": held, "lower_bound": known, "reason": reason}
    if bound > 16:
        return nothing | {"state": "pruned", "lower_bound": bound, "least_bytes": held}
    if bound > 15.8:
        return nothing | {"state": "open", "lower_bound": bound, "least_bytes": held}
    found = {"seconds": bound * rng.uniform(1.005, 1.08), "lower_bound": bound}
    return nothing | found | {"state": "solved", "peak_bytes": held * rng.uniform(1.0, 1.2) if held < CAP / 2 else held}


def _neighbours(rng: random.Random, best: dict[str, Any]) -> list[dict[str, Any]]:
    step = best["seconds"]
    return [
        {
            "change": "tp 4 -> 8, dp 2 -> 1",
            "state": "solved",
            "seconds": 1.07 * step,
            "lower_bound": 1.06 * step,
            "reason": "",
        },
        {"change": "pp 4 -> 8, dp 2 -> 1", "state": "pruned", "seconds": None, "lower_bound": 1.2 * step, "reason": ""},
        {
            "change": "recompute none -> full",
            "state": "pruned",
            "seconds": None,
            "lower_bound": 1.3 * step,
            "reason": "",
        },
        {
            "change": "mbs 1 -> 2",
            "state": "out of memory",
            "seconds": None,
            "lower_bound": None,
            "reason": f"a rank holds {rng.uniform(80, 90):.1f} GiB at least",
        },
        {"change": "zero 1 -> 3", "state": "solved", "seconds": 1.02 * step, "lower_bound": 1.01 * step, "reason": ""},
        {
            "change": "vpp 2 -> 4",
            "state": "invalid",
            "seconds": None,
            "lower_bound": None,
            "reason": "80 layers do not divide",
        },
    ]
