"""Centred kernel alignment (Kornblith, Norouzi, Lee and Hinton 2019, arXiv:1905.00414)."""

from jaxtyping import Float
from torch import Tensor

from tlcourse.concepts.inputs import centred, paired_features


def linear_cka(first: Float[Tensor, "n d1"], second: Float[Tensor, "n d2"]) -> float:
    """How alike two networks see the same n examples: 0 (nothing in common) to 1 (the same up to rotation and scale).

    Linear CKA = ‖Yᵀ X‖²_F / (‖Xᵀ X‖_F ‖Yᵀ Y‖_F) for centred features X and Y (Section 3, after Eq. 4). It is computed
    from the n × n Gram matrices when that is the smaller product.

    Raises ValueError when the rows do not match, or the features of one side do not vary.
    """
    x, y = (centred(side, name) for side, name in zip(paired_features(first, second), ("first", "second"), strict=True))
    if len(x) < min(x.shape[1], y.shape[1]):
        gram_x, gram_y = x @ x.T, y @ y.T
        shared, norm_x, norm_y = (gram_x * gram_y).sum(), gram_x.norm(), gram_y.norm()
    else:
        shared, norm_x, norm_y = (y.T @ x).square().sum(), (x.T @ x).norm(), (y.T @ y).norm()
    return float(shared / (norm_x * norm_y))
