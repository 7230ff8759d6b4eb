"""Mirrored copies: two copies on mirrored devices that run alike, scheduled as one on half of the devices.

Where copy 1 runs every operator on the mirror image of copy 0's device (DualPipe's placement), a schedule in which
copy 1 does on each device what copy 0 does on its image is decided by copy 0 alone. Device and image become one:
what copy 0 does on either of them happens on both, by one copy or the other, so the two streams (and two mirrored
channels) share one stream of the mirrored problem. Mirrored DualPipe is the V shape of DualPipe-V. A mirrored schedule
stands for a schedule of the whole problem. The whole problem may have better ones, so nothing is proven.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.scheduling.classes import Classes, Floats, Hold, Ints


@dataclass(frozen=True)
class Mirror:
    """``classes``: copy 0 on mirrored resources. ``image[a]``: the class of copy 1 that runs as class a does."""

    full: Classes
    classes: Classes
    image: Ints
    device_image: Ints

    def expand(self, start: Floats) -> Floats:
        """Starts of all classes, from those of copy 0."""
        whole = np.full((self.full.n, start.shape[1]), np.nan)
        whole[: self.classes.n] = start
        whole[self.image] = start
        return whole

    def restrict(self, start: Floats) -> Floats:
        """Starts of copy 0, from those of all classes."""
        return np.ascontiguousarray(start[: self.classes.n])


def mirror(classes: Classes) -> Mirror | None:
    """Mirror a problem with two mirrored copies; None where the copies do not mirror each other.

    The exchange of the copies must map devices onto each other, none onto itself, and leave durations, memory and
    counts as they are.
    """
    device_image = _device_image(classes)
    image = None if device_image is None else _class_image(classes, device_image)
    if device_image is None or image is None:
        return None
    half = len(image)
    representative = np.arange(classes.n_resources)
    for a in range(half):
        for r, q in zip(classes.resources[a], classes.resources[image[a]], strict=True):
            representative[r] = representative[q] = min(r, q)
    own = {int(b): a for a, b in enumerate(image)}  # of a class of copy 1, the one of copy 0 that runs as it does
    side = np.minimum(np.arange(len(device_image)), device_image)
    mirrored = replace(
        classes,
        counts=classes.counts[:1],
        copy=classes.copy[:half],
        operator=classes.operator[:half],
        pass_=classes.pass_[:half],
        target=np.where(classes.target[:half] >= 0, side[classes.target[:half]], -1),
        device=side[classes.device[:half]],
        seconds=classes.seconds[:half],
        # a transfer between a device and its image occupies their one stream once
        resources=tuple(tuple(dict.fromkeys(int(representative[r]) for r in row)) for row in classes.resources[:half]),
        preds=tuple(tuple(dict.fromkeys(own.get(b, b) for b in row)) for row in classes.preds[:half]),
        holds=tuple(Hold(int(side[h.device]), h.size, h.alloc, h.releases) for h in classes.holds if h.alloc < half),
    )
    return Mirror(classes, mirrored, image, device_image)


def _device_image(classes: Classes) -> Ints | None:
    """The mirror image of each device; None where there is none. Devices without operators are their own."""
    if classes.placement.copies != 2 or classes.counts[0] != classes.counts[1]:
        return None
    if len(set(classes.placement.variant_of)) > 1:
        return None
    to: dict[int, int] = {}
    for a, b in zip(*classes.placement.device_of, strict=True):
        if a == b or to.setdefault(a, b) != b or to.setdefault(b, a) != a:
            return None
    exclusive = classes.problem.exclusive
    if any(classes.available[d] != classes.available[e] or exclusive[d] != exclusive[e] for d, e in to.items()):
        return None
    return np.array([to.get(d, d) for d in range(classes.problem.n_devices)])


def _class_image(classes: Classes, device_image: Ints) -> Ints | None:
    """The class of copy 1 that is like each class of copy 0; copy 0 comes first in the classes."""
    of = {name: a for a, name in enumerate(classes.names)}
    image = []
    for a in np.flatnonzero(classes.copy == 0).tolist():
        _, i, p, d, target = classes.names[a]
        like = of.get((1, i, p, int(device_image[d]), int(device_image[target]) if target >= 0 else -1))
        if like is None or classes.ticks[like] != classes.ticks[a]:
            return None
        image.append(like)
    return np.array(image) if 2 * len(image) == classes.n else None
