"""What frozen features save once they are kept: `python -m benchmarks probe_sweep`.

The sweep: a linear probe for each of several penalties, on features that were computed once. The peer: one epoch of
forward and backward passes through the whole network for each penalty, which is the least that a search by training
can cost. Features come from the cache, as they do in every lesson after its first run.
"""

from __future__ import annotations

import time

from tlcourse import data, models, training

Row = tuple[str, str, str, float, str]

AIM = 1 / 20
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)


def main() -> list[Row]:
    """Seconds of the sweep with cached features over seconds of as many end-to-end epochs."""
    pictures = data.emoji("noto", size=64, part="train").few(20, seed=0)
    backbone = models.vision()
    training.features(backbone, pictures)
    begun = time.perf_counter()
    features = training.features(backbone, pictures)
    for penalty in PENALTIES:
        training.probe(features, pictures.labels, l2=penalty, scaling="common")
    sweep = time.perf_counter() - begun
    model = models.Classifier(backbone, pictures.n_classes)
    begun = time.perf_counter()
    training.fit(model, pictures, epochs=1, lr=1e-4)
    epochs = (time.perf_counter() - begun) * len(PENALTIES)
    setting = (
        f"as many epochs of training the whole network; {len(PENALTIES)} penalties, {len(pictures)} pictures at 64 px"
    )
    return [("probe sweep, cached features", f"{sweep:.2f} s", f"{epochs:.1f} s", sweep / epochs, setting)]


def failures(rows: list[Row]) -> list[str]:
    return [f"{name}: {1 / ratio:.0f} times faster, aim {1 / AIM:.0f}" for name, _, _, ratio, _ in rows if ratio > AIM]
