"""One training, on one process or on many, with the same weights at the end.

    python examples/distributed_fit.py --out one.safetensors
    accelerate launch --multi_gpu --num_processes 2 examples/distributed_fit.py --out two.safetensors

`training.fit` splits each batch between the processes of `accelerate launch`, on one machine or several; nothing in a
script says how many there are. The second line also works without a GPU (or with TLCOURSE_DEVICE=cpu), over gloo;
torchrun does as well. Beware of `accelerate launch --cpu --num_processes 2`: it needs MPI, and quietly starts a single
process without it. The number of processes is printed at the end.

BatchNorm and dropout are what differs: each process has the statistics and the masks of its own share of the batch,
so the network here has neither.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from tlcourse import models, training


def digits() -> TensorDataset:
    """1,797 handwritten digits of 8x8 pixels, scaled to 0…1."""
    bunch = load_digits()
    return TensorDataset(torch.from_numpy(bunch.data).float() / 16, torch.from_numpy(bunch.target).long())


def main() -> None:
    """Train, and save the weights once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the trained weights go (.safetensors)")
    parser.add_argument("--steps", type=int, default=60, help="updates of the weights (default: 60)")
    parser.add_argument("--batch-size", type=int, default=100, help="examples of all processes together (default: 100)")
    parser.add_argument("--accumulate", type=int, default=1, help="batches for each update (default: 1)")
    arguments = parser.parse_args()

    model = models.MLP([64, 32, 10])
    history = training.fit(
        model,
        digits(),
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        accumulate=arguments.accumulate,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.2, momentum=0.9),
        schedule=training.cosine,
    )
    if training.is_main_process():
        save_file({name: tensor.cpu() for name, tensor in model.state_dict().items()}, arguments.out)
        accuracy = training.evaluate(model, digits()).accuracy
        processes = os.environ.get("WORLD_SIZE", "1")
        print(
            f"processes {processes}, steps {history.steps}, last loss {history.losses[-1]:.6f}, accuracy {accuracy:.1%}"
        )


if __name__ == "__main__":
    main()
