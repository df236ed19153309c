"""Lesson 16: what learning to learn gains over learning (about a quarter of an hour on one core).

Two worlds. *Sinusoids* (Finn et al. 2017, Section 5.1): ten points of a curve, and the rest of it is wanted. *Emoji*:
five concepts of unseen Unicode subgroups, one picture of each, and drawings by other teams are to be told apart. In
either world all methods get the same number of passes, one pass being an example that goes forward and backward once;
MAML goes backward twice through its support set, and pays for it.

The rate of the steps on a new task is chosen for each network, on tasks of its own (emoji: on subgroups that are kept
out of the training part). Widths, training rates and the shifts come from trials on those, with seed 0.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlcourse import meta, models, training
from tlcourse.recipes.emoji_episodes import QUERIES, SHIFT, WAY, StridedNet, episodes, pictures, shifted

SEEDS = (0, 1, 2)
SHOWN = (0, 1, 5, 10)  # steps on a new task after which there is a number
CURVES, POINTS, MET = 600, 10, 25  # tasks to test on, examples of each, tasks of one update
EPISODES, CHOOSING, EMOJI_MET = 600, 100, 4
PASSES = {"sinusoid": 4_500_000, "emoji": 120_000}
RATES = {"sinusoid": (0.003, 0.01, 0.02), "emoji": (0.003, 0.01, 0.04, 0.1, 0.4, 1.0)}
SINUSOID = {
    "MAML": meta.InnerLoop(0.01, loss=F.mse_loss),
    "FOMAML": meta.InnerLoop(0.01, loss=F.mse_loss, first_order=True),
    "Reptile": meta.InnerLoop(0.02, steps=5, loss=F.mse_loss),
    "joint": meta.InnerLoop(0.01, steps=0, loss=F.mse_loss),
}
EMOJI = {
    "MAML": meta.InnerLoop(0.4),
    "FOMAML": meta.InnerLoop(0.2, first_order=True),
    "ANIL": meta.InnerLoop(0.4, only="head."),
    "Reptile": meta.InnerLoop(0.1, steps=5),
    "supervised": meta.InnerLoop(0.1, steps=0),
    "untrained": meta.InnerLoop(0.1, steps=0),
}
RATE = {"sinusoid": 3e-3, "emoji": 1e-3}  # Adam's
BATCH, DECAY = 64, 0.3


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    inner = {"sinusoid": SINUSOID, "emoji": EMOJI}
    return {
        "seeds": SEEDS,
        "passes": PASSES,
        "rates": RATES,
        "updates": {f"{world}, {m}": updates(world, m) for world, methods in inner.items() for m in methods},
        "inner": {f"{world}, {m}": [i.lr, i.steps] for world, methods in inner.items() for m, i in methods.items()},
        "adam": RATE,
        "batch": BATCH,
        "decay": DECAY,
        "shift": SHIFT,
        "episodes": EPISODES,
        "pictures": {part: len(pictures(part)) for part in ("fit", "choose", "test")},
    }


def jobs() -> list[dict[str, Any]]:
    """Each method in its world with each seed."""
    worlds = {"sinusoid": SINUSOID, "emoji": EMOJI}
    return [{"world": w, "method": m, "seed": seed} for w, methods in worlds.items() for m in methods for seed in SEEDS]


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train one network, choose its rate, and measure it on the test tasks after 0, 1, 5 and 10 steps."""
    world, method, seed = job["world"], job["method"], job["seed"]
    model = train_sinusoid(method, seed=seed) if world == "sinusoid" else train_emoji(method, seed=seed)
    measure = errors if world == "sinusoid" else accuracies
    only = EMOJI[method].only if world == "emoji" else ""
    tried = {rate: float(measure(model, rate, "choose", only=only)[-1].mean()) for rate in RATES[world]}
    rate = min(tried, key=lambda r: tried[r]) if world == "sinusoid" else max(tried, key=lambda r: tried[r])
    found = measure(model, rate, "test", only=only)
    _part(world, method, seed).parent.mkdir(exist_ok=True)
    save_file(model.state_dict(), _part(world, method, seed))
    return {
        "updates": updates(world, method),
        "tried": {str(r): round(value, 4) for r, value in tried.items()},
        "rate": rate,
        "after": {str(step): round(float(found[step].mean()), 4) for step in SHOWN},
        "half": {
            str(step): round(training.interval(found[step]).high - float(found[step].mean()), 4) for step in SHOWN
        },
    }


def updates(world: str, method: str) -> int:
    """How many updates the passes pay for. An ANIL task passes its support set once, as the features stay."""
    if method == "untrained":
        return 0
    inner = (SINUSOID if world == "sinusoid" else EMOJI)[method]
    if world == "sinusoid":
        support, query, tasks, batch = POINTS, POINTS, MET, 2 * POINTS * MET
    else:
        support, query, tasks, batch = WAY, WAY * QUERIES, EMOJI_MET, BATCH
    if method == "Reptile":
        return PASSES[world] // (tasks * inner.steps * 10)
    if method in ("joint", "supervised"):
        return PASSES[world] // batch
    twice = 1 if inner.first_order or inner.only else 2
    return PASSES[world] // (tasks * (twice * support + query))


def curve_network(seed: int) -> models.MLP:
    """The paper's network for sinusoids, untrained."""
    return models.MLP([1, 40, 40, 1], seed=seed)


def train_sinusoid(method: str, *, seed: int, steps: int | None = None) -> models.MLP:
    """Meet 25 new sinusoids in each update. `steps`: fewer updates than the budget pays for."""
    model, inner = curve_network(seed), SINUSOID[method]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE["sinusoid"], fused=True)
    for _ in range(updates("sinusoid", method) if steps is None else steps):
        tasks = meta.sample_sinusoids(MET, generator=generator)
        draw = partial(tasks.points, generator=generator)
        if method == "Reptile":
            x, y = (part.unflatten(1, (inner.steps, 10)) for part in draw(inner.steps * 10))
            meta.set_gradient(model, meta.reptile_gradient(model, x, y, inner=inner))
            optimizer.step()
        elif method == "joint":
            x, y = draw(2 * POINTS)
            training.update(model, optimizer, F.mse_loss(model(x.flatten(0, 1)), y.flatten(0, 1)))
        else:
            training.update(model, optimizer, meta.meta_loss(model, draw(POINTS), draw(POINTS), inner=inner))
    return model


def errors(model: nn.Module, rate: float, part: str, *, only: str = "") -> Float[Tensor, "steps tasks"]:
    """Squared error on a grid over the whole range after 0 … 10 steps on ten points, of each test sinusoid."""
    generator = torch.Generator().manual_seed(10_000 + (part == "test"))
    tasks = meta.sample_sinusoids(CURVES, generator=generator)
    grid = torch.linspace(-5, 5, 100).reshape(1, -1, 1).expand(CURVES, -1, -1)
    inner = meta.InnerLoop(rate, steps=max(SHOWN), loss=F.mse_loss, only=only)
    outputs = meta.outputs_by_step(model, tasks.points(POINTS, generator=generator), grid, inner=inner)
    return (outputs - tasks.at(grid)).square().mean(dim=(2, 3)).nan_to_num(nan=1e6, posinf=1e6)


def train_emoji(method: str, *, seed: int) -> models.Classifier:
    """Train on the drawings of 833 concepts, as episodes or as one classification, each picture shifted at random.

    The result has five outputs; those of "supervised" start at zero, and its batch norm keeps what it saw in training.
    """
    inner, fit = EMOJI[method], pictures("fit")
    generator = torch.Generator().manual_seed(seed)
    supervised = method == "supervised"
    backbone = StridedNet(seed=seed, running=supervised)
    model = models.Classifier(backbone, fit.n_classes if supervised else WAY, seed=seed)
    decay = DECAY if supervised else 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE["emoji"], weight_decay=decay, fused=True)
    for _ in range(updates("emoji", method)):
        if supervised:
            rows = torch.randint(len(fit), (BATCH,), generator=generator)
            loss = F.cross_entropy(model(shifted(fit.pixels[rows], generator)), fit.labels[rows])
            training.update(model, optimizer, loss)
            continue
        support, query = episodes("fit", EMOJI_MET, generator)
        if method == "Reptile":
            x, y = (torch.cat(both, dim=1) for both in zip(support, query, strict=True))
            orders = [torch.randperm(x.shape[1], generator=generator) for _ in range(inner.steps)]
            taken = torch.cat([order[:10] for order in orders])
            x, y = (part[:, taken].unflatten(1, (inner.steps, 10)) for part in (x, y))
            meta.set_gradient(model, meta.reptile_gradient(model, x, y, inner=inner))
            optimizer.step()
        else:
            training.update(model, optimizer, meta.meta_loss(model, support, query, inner=inner))
    if supervised:
        model = models.Classifier(backbone, WAY)
        nn.init.zeros_(model.head.weight)
        nn.init.zeros_(model.head.bias)
        model.eval()
    return model


def accuracies(model: nn.Module, rate: float, part: str, *, only: str = "") -> Float[Tensor, "steps episodes"]:
    """Accuracy on the queries after 0 … 10 steps on five pictures, of each episode."""
    n = EPISODES if part == "test" else CHOOSING
    support, (queries, labels) = episodes(part, n, torch.Generator().manual_seed(10_000))
    inner = meta.InnerLoop(rate, steps=max(SHOWN), only=only)
    outputs = meta.outputs_by_step(model, support, queries, inner=inner, chunk=25)
    return (outputs.argmax(dim=-1) == labels).double().mean(dim=2)


def load_network(world: str, method: str, seed: int) -> nn.Module:
    """A trained network. Raises KeyError for one that was not shipped."""
    prefix = f"{world}/{method}/{seed}/"
    weights = {name.removeprefix(prefix): w for name, w in _weights().items() if name.startswith(prefix)}
    if not weights:
        there = sorted({name.rsplit("/", 1)[0] for name in _weights()})
        raise KeyError(f"no network {prefix[:-1]!r}; choose from: {', '.join(there)}")
    model: nn.Module = curve_network(seed)
    if world == "emoji":
        running = any(name.endswith("running_mean") for name in weights)
        model = models.Classifier(StridedNet(seed=seed, running=running), WAY).train(not running)
    model.load_state_dict(weights)
    return model


@lru_cache(maxsize=1)
def _weights() -> dict[str, Tensor]:
    return load_file(Path(__file__).parent / "results" / "maml_family.safetensors")


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """All networks of the sinusoids and, of the emoji's, those with seed 0, in one file."""
    tensors: dict[str, Tensor] = {}
    for row in rows:
        part = _part(row["world"], row["method"], row["seed"])
        if row["world"] == "sinusoid" or row["seed"] == 0:
            key = f"{row['world']}/{row['method']}/{row['seed']}"
            tensors |= {f"{key}/{name}": weight for name, weight in load_file(part).items()}
        part.unlink()
    part.parent.rmdir()
    save_file(tensors, folder / "maml_family.safetensors")


def _part(world: str, method: str, seed: int) -> Path:
    return Path(__file__).parent / "results" / "maml_family.part" / f"{world}-{method}-{seed}.safetensors"
