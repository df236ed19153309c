"""Part 1: when transfer helps, what it is that transfers, and whether one can tell beforehand."""

from tlcourse.concepts.a_distance import proxy_a_distance
from tlcourse.concepts.cka import linear_cka
from tlcourse.concepts.few_label import (
    as_table,
    fine_tuned,
    from_scratch,
    frozen,
    labels_saved,
    probe_curve,
    raw_pixels,
)
from tlcourse.concepts.h_score import h_score
from tlcourse.concepts.leep import leep
from tlcourse.concepts.log_me import log_me
from tlcourse.concepts.negative_transfer import pooled_accuracy, transfer_gain
from tlcourse.concepts.ranking import mean_rank_correlation

__all__ = [
    "as_table",
    "fine_tuned",
    "from_scratch",
    "frozen",
    "h_score",
    "labels_saved",
    "leep",
    "linear_cka",
    "log_me",
    "mean_rank_correlation",
    "pooled_accuracy",
    "probe_curve",
    "proxy_a_distance",
    "raw_pixels",
    "transfer_gain",
]
