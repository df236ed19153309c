"""Labels in the place of names: few-shot baselines for `emoji_contrastive`, on the same held-out pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tlcourse import training
from tlcourse.foundation import top_k, zero_shot_scores, zero_shot_weights
from tlcourse.recipes import emoji_pairs
from tlcourse.recipes.emoji_pairs import KINDS, STYLES, UNSEEN

Spaces = Mapping[str, Mapping[str, Tensor]]
"""For each space (frozen features, common space) the held-out concepts in every style."""


def concepts(spaces: Spaces, shots: int, seed: int) -> dict[str, Any]:
    """Top-1 of naming concepts in the unseen style from a labelled picture of each in so many other styles.

    The nearest prototype by cosine, once the mean of all pictures is taken away.
    """
    chosen = torch.randperm(len(STYLES), generator=torch.Generator().manual_seed(seed))[:shots].tolist()
    result: dict[str, Any] = {}
    for space, styles in spaces.items():
        shown = torch.stack([styles[STYLES[i]] for i in chosen]).mean(dim=0)
        centre = shown.mean(dim=0)
        scores = zero_shot_scores(styles[UNSEEN] - centre, shown - centre)
        result[space] = round(top_k(scores, torch.arange(len(scores))), 4)
    return {"chance": round(1 / len(scores), 5), **result}


def kinds(spaces: Spaces, shots: int, seed: int) -> dict[str, Any]:
    """Balanced accuracy of naming the kind of thing, from so many labelled concepts of each kind in one style.

    A linear probe in each space, tested on all other concepts, in that style and in the unseen one.
    """
    rows, labels = emoji_pairs.kinds()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    few = torch.cat([order[labels[order] == kind][:shots] for kind in labels.unique().tolist()])
    rest = torch.tensor(sorted(set(range(len(rows))) - set(few.tolist())))
    result: dict[str, Any] = {"chance": round(1 / len(labels.unique()), 4)}
    for space, styles in spaces.items():
        known, unseen = styles[STYLES[0]][rows], styles[UNSEEN][rows]
        probe = training.probe(known[few], labels[few], scaling="common")
        result[space] = {
            STYLES[0]: round(probe.balanced_accuracy(known[rest], labels[rest]), 4),
            UNSEEN: round(probe.balanced_accuracy(unseen[rest], labels[rest]), 4),
        }
    return result


def zero_shot_kinds(found: Tensor, templates: Sequence[str]) -> float:
    """Balanced accuracy of naming the kind of thing by the words for it, without a label."""
    rows, labels = emoji_pairs.kinds()
    weights = zero_shot_weights(list(KINDS.values()), emoji_pairs.embed, templates=templates)
    predicted = zero_shot_scores(found[rows], weights).argmax(dim=1)
    return round(training.evaluation.balanced_accuracy(predicted, labels), 4)
