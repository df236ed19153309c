"""Lesson 10: a text-to-image model in miniature, latent diffusion on emoji (under 2 hours on one core).

It is trained on faces, hearts, animals, plants, food and drink in four styles, but for the Fluent drawings of a fifth
of the names, which `emoji_autoencoder` has not seen either. The autoencoder has to be there first.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from tlcourse import data, models, training
from tlcourse.foundation import (
    Condition,
    NoiseSchedule,
    UNet,
    averaged,
    cosine_schedule,
    denoising_loss,
    drop,
    sample,
    to_bytes,
    to_unit,
)
from tlcourse.recipes import emoji_autoencoder, pieces, results
from tlcourse.recipes.emoji_autoencoder import SIZE, STYLES, is_withheld
from tlcourse.recipes.results import FOLDER

NAME = "emoji_diffusion"
CATEGORIES = ("Smileys & Emotion", "Animals & Nature", "Food & Drink")
WIDTHS, BLOCKS = (64, 128), 2
STEPS, EVERY, BATCH, RATE, WARMUP, DECAY = 9_000, 250, 64, 1e-3, 0.01, 0.999
DROPPED, TEXT_NOISE = 0.1, 0.02
GUIDANCE, SAMPLING = 2.0, 40
SHAPE = (emoji_autoencoder.CHANNELS, SIZE // 4, SIZE // 4)
STATE = FOLDER / f"{NAME}.part" / "state.pt"


def settings() -> dict[str, Any]:
    """What the weights depend on; `autoencoder` is the hash of the recipe that made the latents."""
    return {
        "categories": CATEGORIES,
        "styles": STYLES,
        "withheld": [emoji_autoencoder.WITHHELD_STYLE, emoji_autoencoder.WITHHELD_SHARE],
        "pictures": len(training_rows()),
        "size": SIZE,
        "latents": SHAPE,
        "widths": WIDTHS,
        "blocks": BLOCKS,
        "steps": STEPS,
        "batch": BATCH,
        "rate": RATE,
        "warmup": WARMUP,
        "decay": DECAY,
        "dropped": DROPPED,
        "text_noise": TEXT_NOISE,
        "autoencoder": results.load(emoji_autoencoder.NAME)["card"]["hash"],
    }


def jobs() -> list[dict[str, Any]]:
    """The pieces of the training, then what comes of combinations that it saw and of those that it did not."""
    return pieces.cut(STEPS, EVERY) + [{"phase": "measure", "combinations": kind} for kind in ("seen", "withheld")]


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train one piece, or measure the weights as they will be shipped."""
    if job["phase"] == "measure":
        return measured(load_weights(network(), final_weights()), withheld=job["combinations"] == "withheld")
    home = training.device()
    model = network().to(home).to(memory_format=torch.channels_last)
    average = averaged(model, decay=DECAY)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), fused=True)
    rates = training.LearningRates(optimizer, training.warmup(WARMUP, fall=training.cosine), STEPS)
    clean, wishes, seen = latents(), conditions(), training_rows()

    def step(k: int, generator: torch.Generator) -> float:
        rates.set(k)
        rows = seen[torch.randint(len(seen), (BATCH,), generator=generator)]
        batch = clean[rows].to(home, memory_format=torch.channels_last)
        wish = drop(blurred(wishes.take(rows), generator), DROPPED, generator=generator)
        wish = Condition(wish.text.to(home), wish.style.to(home))
        loss = denoising_loss(model, batch, wish, schedule=noise_schedule(), generator=generator)
        value = training.update(model, optimizer, loss, clip=1.0)
        average.update_parameters(model)
        return value

    return pieces.train(job, STATE, parts={"model": model, "average": average, "optimizer": optimizer}, step=step)


def blurred(wish: Condition, generator: torch.Generator) -> Condition:
    """The embeddings with a little noise, so that words close to a name mean the same."""
    return wish._replace(text=wish.text + TEXT_NOISE * torch.randn(wish.text.shape, generator=generator))


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """The averaged weights in one file, as half-precision numbers."""
    save_file(final_weights(), folder / f"{NAME}.safetensors")
    STATE.unlink()
    STATE.parent.rmdir()


def draw(
    words: Sequence[str],
    styles: str | Sequence[str] = "noto",
    *,
    guidance: float | int = GUIDANCE,
    steps: int = SAMPLING,
    seed: int = 0,
) -> UInt8[Tensor, "n 3 size size"]:
    """A picture for each text by the shipped model, in one style or in a style each.

    Raises KeyError for an unknown style; ValueError for no or empty words, for another number of styles than of words,
    and for guidance below 0.
    """
    return drawn(trained(), wish_for(words, styles), guidance=guidance, steps=steps, seed=seed)


def drawn(
    model: UNet, wish: Condition, *, guidance: float | int = GUIDANCE, steps: int = SAMPLING, seed: int = 0
) -> UInt8[Tensor, "n 3 size size"]:
    """A picture for each wish, through the shipped autoencoder."""
    made = sample(model, wish, shape=SHAPE, schedule=noise_schedule(), steps=steps, guidance=guidance, seed=seed)
    return to_bytes(emoji_autoencoder.trained().to(made.device).to_pictures(made)).cpu()


def wish_for(words: Sequence[str], styles: str | Sequence[str]) -> Condition:
    """The condition that words and styles make; errors as in `draw`."""
    texts = [words] if isinstance(words, str) else list(words)
    if not texts or not all(text.strip() for text in texts):
        raise ValueError(f"words are {texts}; give at least one text, and none of them empty")
    names = [styles] * len(texts) if isinstance(styles, str) else list(styles)
    if len(names) != len(texts):
        raise ValueError(f"{len(texts)} words and {len(names)} styles; give one style for all, or one each")
    numbers = [STYLES.index(data.choices.one_of("styles", name, STYLES)) for name in names]
    return Condition(embedded(texts), torch.tensor(numbers))


def embedded(texts: Sequence[str]) -> Float[Tensor, "n 384"]:
    """Sentence embeddings of MiniLM with length 1."""
    backbone = _text_backbone()
    with torch.no_grad():
        return F.normalize(backbone(backbone.collate(texts)).float().cpu(), dim=1)


def trained() -> UNet:
    """The shipped U-Net, in evaluation mode. Raises FileNotFoundError when the recipe has not been run."""
    return load_weights(network(), _shipped())


def network() -> UNet:
    """The architecture with its first weights."""
    return UNet(SHAPE[0], n_styles=len(STYLES), widths=WIDTHS, blocks=BLOCKS, seed=0)


def noise_schedule() -> NoiseSchedule:
    """The schedule that the model was trained with, to predict velocities."""
    return cosine_schedule(1000)


def load_weights(model: UNet, weights: Mapping[str, Tensor]) -> UNet:
    """The model with shipped weights, in evaluation mode."""
    model.load_state_dict(pieces.widened(weights))
    return model.eval()


def final_weights() -> dict[str, Tensor]:
    """The average after the last step, as it is shipped."""
    average = averaged(network().to(training.device()))
    pieces.load(STATE, {"average": average})
    return pieces.halved(average.module.state_dict())


@lru_cache(maxsize=1)
def pictures() -> data.Images:
    """All drawings of the categories, style by style, those withheld too."""
    emoji = data.emoji(STYLES, size=SIZE)
    return emoji.where(torch.tensor([category in CATEGORIES for category in emoji.meta["category"]]))


def training_rows() -> Tensor:
    """Which of `pictures` the model is trained on."""
    return (~is_withheld(pictures())).nonzero().flatten()


@lru_cache(maxsize=1)
def latents() -> Float[Tensor, "n c h w"]:
    """Latents of all pictures: the autoencoder is frozen, so they are computed once."""
    encoder = emoji_autoencoder.trained()
    return torch.cat([encoder.to_latents(to_unit(batch)) for batch in pictures().pixels.split(128)])


@lru_cache(maxsize=1)
def conditions() -> Condition:
    """Name and style of all pictures."""
    names = pictures().meta["name"]
    each = list(dict.fromkeys(names))
    text = torch.cat([embedded(each[i : i + 64]) for i in range(0, len(each), 64)])
    rows = torch.tensor([each.index(name) for name in names])
    return Condition(text[rows], torch.tensor([STYLES.index(style) for style in pictures().meta["style"]]))


def measured(model: UNet, *, withheld: bool, most: int = 96) -> dict[str, float | int]:
    """How often a sample's nearest real picture, among all of the Fluent style, is the one that was asked for.

    Pictures are compared at 8 × 8 pixels. The wishes are Fluent drawings, withheld ones or as many that were trained.
    """
    style = torch.tensor([name == emoji_autoencoder.WITHHELD_STYLE for name in pictures().meta["style"]])
    asked = (style & (is_withheld(pictures()) == withheld)).nonzero().flatten()
    asked = asked[torch.randperm(len(asked), generator=torch.Generator().manual_seed(0))[:most]]
    made = drawn(model, conditions().take(asked))
    real = style.nonzero().flatten()
    distances = torch.cdist(_coarse(made), _coarse(pictures().pixels[real]))
    own = distances.gather(1, torch.searchsorted(real, asked)[:, None])
    rank = (distances < own).sum(dim=1)
    top = {f"top{k}": round((rank < k).float().mean().item(), 3) for k in (1, 5)}
    return {"wishes": len(asked), "candidates": len(real), **top}


def _coarse(pixels: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    return F.avg_pool2d(to_unit(pixels), SIZE // 8).flatten(1)


@lru_cache(maxsize=1)
def _text_backbone() -> models.TextBackbone:
    return models.text()


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Tensor]:
    path = FOLDER / f"{NAME}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not there; make it with: tlcourse recipe {NAME}")
    return load_file(path)
