"""One training loop, evaluation, features of frozen backbones, probes, intervals, seeds and devices."""

from __future__ import annotations

from tlcourse.training.devices import device, is_main_process, seed_everything, threads
from tlcourse.training.evaluation import Evaluation, evaluate
from tlcourse.training.extraction import features, stage_features
from tlcourse.training.history import History
from tlcourse.training.loop import fit
from tlcourse.training.probing import Probe, probe
from tlcourse.training.schedules import LearningRates, cosine, warmup
from tlcourse.training.statistics import Interval, bootstrap, interval
from tlcourse.training.updates import update

__all__ = [
    "Evaluation",
    "History",
    "Interval",
    "LearningRates",
    "Probe",
    "bootstrap",
    "cosine",
    "device",
    "evaluate",
    "features",
    "fit",
    "interval",
    "is_main_process",
    "probe",
    "seed_everything",
    "stage_features",
    "threads",
    "update",
    "warmup",
]
