"""A transformer that learns linear regression in its prompt (Garg, Tsipras, Liang and Valiant 2022, arXiv:2208.01066).

It is trained over tasks, as every meta-learner is: each prompt holds examples of a new linear function. Afterwards it
predicts for functions that it has never seen, and no weight changes any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse import training
from tlcourse.models.drawing import drawn_by


@dataclass(frozen=True, eq=False)
class RegressionTasks:
    """Prompts of linear functions: inputs, and targets with noise; one row for each task."""

    inputs: Float[Tensor, "tasks examples dim"]
    targets: Float[Tensor, "tasks examples"]


def sample_regression_tasks(
    n: int, examples: int, *, dim: int, noise: float, generator: torch.Generator, scale: float = 1.0
) -> RegressionTasks:
    """y = w·x + noise · ε with w, x and ε from unit normals (Section 2); a new w for each task.

    `scale` multiplies the inputs: 1 is what a network is trained on here.
    Raises ValueError for fewer than one task, example or dimension, or a noise below 0.
    """
    if min(n, examples, dim) < 1:
        raise ValueError(f"n, examples and dim are {n}, {examples} and {dim}; give 1 or more of each")
    if noise < 0:
        raise ValueError(f"noise is {noise}; give a standard deviation of 0 or more")
    device = generator.device
    inputs = scale * torch.randn(n, examples, dim, generator=generator, device=device)
    weights = torch.randn(n, dim, generator=generator, device=device)
    errors = torch.randn(n, examples, generator=generator, device=device)
    return RegressionTasks(inputs, torch.einsum("nkd,nd->nk", inputs, weights) + noise * errors)


def least_squares(tasks: RegressionTasks) -> Float[Tensor, "tasks examples"]:
    """Prediction of each target from the examples before it: the shortest w with the smallest squared error.

    The first is 0, as nothing is known yet.
    """
    return _from_past(tasks, lambda x, y: torch.linalg.pinv(x) @ y[..., None])


def ridge(tasks: RegressionTasks, penalty: float) -> Float[Tensor, "tasks examples"]:
    """w = (XᵀX + penalty · I)⁻¹ Xᵀy from the examples before each. With penalty = noise² it is the mean of the
    posterior for w from a unit normal: no predictor has a smaller expected squared error.

    Raises ValueError for a penalty that is not above 0.
    """
    if not penalty > 0:
        raise ValueError(f"penalty is {penalty}; give a number above 0, or use least_squares")
    identity = penalty * torch.eye(tasks.inputs.shape[2], dtype=tasks.inputs.dtype, device=tasks.inputs.device)
    return _from_past(tasks, lambda x, y: torch.linalg.solve(x.mT @ x + identity, x.mT @ y[..., None]))


def _from_past(tasks: RegressionTasks, fit: Callable[[Tensor, Tensor], Tensor]) -> Float[Tensor, "tasks examples"]:
    predictions = torch.zeros_like(tasks.targets)
    for k in range(1, tasks.targets.shape[1]):
        weights = fit(tasks.inputs[:, :k], tasks.targets[:, :k])
        predictions[:, k] = (tasks.inputs[:, k, None] @ weights).flatten()
    return predictions


class RegressionTransformer(nn.Module):
    """Reads x₁, y₁, x₂, y₂, … and predicts each y at the place of its x (Section 3).

    `longest` examples at most. The weights are drawn by `seed`.
    """

    def __init__(
        self, dim: int, longest: int, *, width: int = 64, layers: int = 4, heads: int = 4, seed: int = 0
    ) -> None:
        super().__init__()
        if min(dim, longest, width, layers, heads) < 1 or width % heads:
            raise ValueError(
                f"dim, longest, width, layers and heads are {dim}, {longest}, {width}, {layers} and {heads}; "
                "give 1 or more of each, and a width that the heads divide"
            )
        self.dim, self.longest = dim, longest
        with drawn_by(seed):
            self.read_in = nn.Linear(dim + 1, width)
            self.places = nn.Parameter(0.02 * torch.randn(2 * longest, width))
            layer = nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
            # TransformerEncoder copies one layer: draw each anew, or all would begin the same.
            for parameter in self.layers.layers.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)
            self.read_out = nn.Linear(width, 1)

    def forward(self, tasks: RegressionTasks) -> Float[Tensor, "tasks examples"]:
        """The prediction for each example, from the examples before it and its own x.

        Raises ValueError for inputs of another width, or more examples than `longest`.
        """
        n, examples, dim = tasks.inputs.shape
        if dim != self.dim or examples > self.longest:
            raise ValueError(
                f"prompts have {examples} examples of {dim} numbers; this network reads at most {self.longest} of "
                f"{self.dim}"
            )
        tokens = tasks.inputs.new_zeros(n, examples, 2, dim + 1)
        tokens[:, :, 0, :dim] = tasks.inputs
        tokens[:, :, 1, dim] = tasks.targets
        hidden = self.read_in(tokens.flatten(1, 2)) + self.places[: 2 * examples]
        mask = nn.Transformer.generate_square_subsequent_mask(2 * examples, device=hidden.device, dtype=hidden.dtype)
        hidden = self.layers(hidden, mask=mask, is_causal=True)
        return self.read_out(hidden[:, 0::2])[..., 0]


def regression_loss(model: RegressionTransformer, tasks: RegressionTasks) -> Float[Tensor, ""]:
    """Mean squared error over all places of the prompt (Eq. 2): every length of a prompt is trained at once."""
    return (model(tasks) - tasks.targets).square().mean()


def train_regression(
    model: RegressionTransformer, *, steps: int, batch: int, noise: float, lr: float = 1e-3, seed: int = 0
) -> list[float]:
    """Train over tasks, new ones at every step, with Adam and a rate that falls to 0 along a cosine; the losses.

    Raises ValueError for fewer than one step, FloatingPointError when the loss is not finite.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; give 1 or more")
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        drawn = sample_regression_tasks(batch, model.longest, dim=model.dim, noise=noise, generator=generator)
        loss = regression_loss(model, RegressionTasks(drawn.inputs.to(device), drawn.targets.to(device)))
        losses.append(training.update(model, optimizer, loss, clip=1.0))
        schedule.step()
    return losses


@torch.no_grad()
def errors_by_examples(predictions: Tensor, tasks: RegressionTasks) -> Float[Tensor, " examples"]:
    """Mean squared error of the prediction after 0, 1, 2, … examples."""
    return (predictions - tasks.targets).square().mean(dim=0)
