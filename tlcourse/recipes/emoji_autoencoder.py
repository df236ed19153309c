"""Lesson 10: the autoencoder whose latents diffusion works on (about 20 minutes on one core).

It is trained on emoji of all four styles at 32 × 32 and measured on Unicode subgroups that it never saw. The Fluent
drawings of a fifth of all names, chosen at random, are withheld: they are what `emoji_diffusion` has to compose.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from tlcourse import data, training
from tlcourse.foundation import Autoencoder, autoencoder_loss, psnr, to_bytes, to_unit
from tlcourse.recipes import pieces
from tlcourse.recipes.results import FOLDER

NAME = "emoji_autoencoder"
STYLES = ("noto", "twemoji", "openmoji", "fluent")
SIZE, CHANNELS, WIDTHS, BLOCKS = 32, 12, (32, 128), (1, 3, 2)
STEPS, EVERY, BATCH, RATE, WARMUP, KL_WEIGHT = 6000, 250, 16, 2e-3, 0.03, 3e-4
WITHHELD_STYLE, WITHHELD_SHARE = "fluent", 0.2
REACH = 2  # pixels that a picture is moved by, at most
STATE = FOLDER / f"{NAME}.part" / "state.pt"


def settings() -> dict[str, Any]:
    """What the weights depend on."""
    return {
        "styles": STYLES,
        "size": SIZE,
        "channels": CHANNELS,
        "widths": WIDTHS,
        "blocks": BLOCKS,
        "steps": STEPS,
        "batch": BATCH,
        "rate": RATE,
        "warmup": WARMUP,
        "kl_weight": KL_WEIGHT,
        "withheld": [WITHHELD_STYLE, WITHHELD_SHARE],
    }


def jobs() -> list[dict[str, Any]]:
    """The pieces of the training, then one measurement a style."""
    return pieces.cut(STEPS, EVERY) + [{"phase": "measure", "style": style} for style in ("all", *STYLES)]


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train one piece, or measure the weights as they will be shipped."""
    if job["phase"] == "measure":
        model = network()
        model.load_state_dict(pieces.widened(final_weights()))
        return measured(model.eval(), STYLES if job["style"] == "all" else (job["style"],))
    model, pictures = network(), to_unit(examples().pixels)
    if job["from"] == 0:
        model.start_from_pca(pictures[::4])
    model = model.to(training.device()).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), fused=True)
    rates = training.LearningRates(optimizer, training.warmup(WARMUP, fall=training.cosine), STEPS)

    def step(k: int, generator: torch.Generator) -> float:
        rates.set(k)
        rows = torch.randint(len(pictures), (BATCH,), generator=generator)
        batch = varied(pictures[rows], generator).to(training.device(), memory_format=torch.channels_last)
        loss = autoencoder_loss(model, batch, kl_weight=KL_WEIGHT, generator=generator)
        return training.update(model, optimizer, loss, clip=1.0)

    return pieces.train(job, STATE, parts={"model": model, "optimizer": optimizer}, step=step)


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """The weights in one file, as half-precision numbers."""
    save_file(final_weights(), folder / f"{NAME}.safetensors")
    STATE.unlink()
    STATE.parent.rmdir()


def trained() -> Autoencoder:
    """The shipped autoencoder, in evaluation mode. Raises FileNotFoundError when the recipe has not been run."""
    model = network()
    model.load_state_dict(pieces.widened(_shipped()))
    return model.eval()


def network() -> Autoencoder:
    """The architecture with its first weights."""
    return Autoencoder(CHANNELS, widths=WIDTHS, blocks=BLOCKS, seed=0)


def final_weights() -> dict[str, Tensor]:
    """The weights after the last step, with the spread of the training pictures' latents, as they are shipped."""
    model = network().to(training.device())
    pieces.load(STATE, {"model": model})
    model.calibrate(to_unit(examples().pixels[::4]).to(training.device()))
    return pieces.halved(model.state_dict())


@lru_cache(maxsize=1)
def examples() -> data.Images:
    """What trains: the subgroups of the training part, without the withheld drawings."""
    emoji = data.emoji(STYLES, size=SIZE, part="train")
    return emoji.where(~is_withheld(emoji))


def is_withheld(emoji: data.Images) -> Bool[Tensor, " n"]:
    """Which pictures neither the autoencoder nor the diffusion model is trained on."""
    names = withheld_names()
    drawn = zip(emoji.meta["name"], emoji.meta["style"], strict=True)
    return torch.tensor([style == WITHHELD_STYLE and name in names for name, style in drawn])


@lru_cache(maxsize=1)
def withheld_names() -> frozenset[str]:
    """A fifth of all names, drawn once at random."""
    names = data.emoji(STYLES[0], size=SIZE).meta["name"]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))
    return frozenset(names[i] for i in order[: round(WITHHELD_SHARE * len(names))].tolist())


def varied(pictures: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """A batch moved by up to REACH pixels, and half the batches mirrored."""
    down, right, mirror = (torch.rand(3, generator=generator) * torch.tensor([2 * REACH + 1, 2 * REACH + 1, 2])).long()
    moved = torch.roll(pictures, (int(down) - REACH, int(right) - REACH), (-2, -1))
    return moved.flip(-1) if mirror else moved


def measured(model: Autoencoder, styles: Sequence[str]) -> dict[str, float]:
    """PSNR in dB of pictures that trained, and of subgroups that did not: of all errors together, and the mean."""
    result = {}
    for part in ("train", "test"):
        pixels = data.emoji(styles, size=SIZE, part=part).pixels[::2]
        ratios = psnr(rebuilt(model, pixels), to_unit(pixels))
        result[f"{part}_psnr"] = round(-10 * torch.log10((10 ** (-ratios / 10)).mean()).item(), 2)
        result[f"{part}_mean_psnr"] = round(ratios[ratios.isfinite()].mean().item(), 2)
    return result


def rebuilt(model: Autoencoder, pixels: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The pictures through their latents, rounded to bytes as a viewer sees them."""
    parts = [model.to_pictures(model.to_latents(to_unit(batch))) for batch in pixels.split(128)]
    return to_unit(to_bytes(torch.cat(parts)))


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Tensor]:
    path = FOLDER / f"{NAME}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not there; make it with: tlcourse recipe {NAME}")
    return load_file(path)
