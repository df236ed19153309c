"""How well a score that needs no training predicts which network transfers best."""

from collections.abc import Mapping, Sequence

import numpy as np

from tlcourse.training import Interval


def mean_rank_correlation(
    scores: Mapping[str, Sequence[float]], accuracy: Mapping[str, Sequence[float]], *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Spearman's rank correlation between score and accuracy over candidate networks, averaged over target tasks.

    Both arguments give, for each target, one number for each candidate, in the same order. The interval is a bootstrap
    over candidates (the same resampled candidates on every target, because targets share them): it answers "would other
    networks have given the same correlation?"

    Raises ValueError for targets that do not match, or fewer than four candidates.
    """
    if set(scores) != set(accuracy) or not scores:
        raise ValueError(
            f"scores are about {sorted(scores)} and accuracy about {sorted(accuracy)}; name the same targets"
        )
    table = np.stack([np.stack([_row(scores[t]), _row(accuracy[t])]) for t in scores])
    candidates = table.shape[2]
    if candidates < 4:
        raise ValueError(f"{candidates} candidates; a rank correlation needs at least four")
    picks = np.random.default_rng(seed).integers(candidates, size=(draws, candidates))
    drawn = np.array([_mean_spearman(table[:, :, pick]) for pick in picks])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(_mean_spearman(table), float(low), float(high), candidates, float(drawn.std(ddof=1)))


def _row(values: Sequence[float]) -> np.ndarray:
    row = np.asarray(values, dtype=float)
    if row.ndim != 1 or not np.isfinite(row).all():
        raise ValueError("each target needs one finite number for each candidate")
    return row


def _mean_spearman(table: np.ndarray) -> float:
    """table: targets × (score, accuracy) × candidates."""
    from scipy.stats import rankdata

    ranks = rankdata(table, axis=2)
    ranks = ranks - ranks.mean(axis=2, keepdims=True)
    norms = np.sqrt((ranks**2).sum(axis=2)).prod(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.mean((ranks[:, 0] * ranks[:, 1]).sum(axis=1) / norms))
