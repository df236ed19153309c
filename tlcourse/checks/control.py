"""A laboratory of fakes: did a comparison give pre-trained model and control the same budget?"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from tlcourse.checks.draws import Rules, follow
from tlcourse.checks.expect import close, expect, number


class Model(nn.Module):
    """Stands in for a classifier, and notes what is done to it."""

    def __init__(self, kind: str, seed: object) -> None:
        super().__init__()
        self.kind, self.seed = kind, seed
        self.steps = 0
        self.train_seeds: list[object] = []


@dataclass(frozen=True)
class Run:
    """What had been done to a model when it was evaluated."""

    kind: str
    seed: object
    steps: int
    train_seeds: list[object]
    training: bool


@dataclass
class Lab:
    """The functions that a comparison is given; `scores` says what each kind of model will reach."""

    scores: dict[str, float]
    runs: list[Run] = field(default_factory=list)

    def make_pretrained(self, seed: object) -> Model:
        """A new model of the kind "pretrained"."""
        return Model("pretrained", seed)

    def make_random(self, seed: object) -> Model:
        """A new model of the kind "random"."""
        return Model("random", seed)

    def train(self, model: object, steps: int, seed: object) -> None:
        """Note the steps and the seed; leaves the model in training mode, as a real loop does."""
        known = _model(model, "train")
        known.train()
        known.steps += steps
        known.train_seeds.append(seed)

    def evaluate(self, model: object) -> float:
        """Note a run, and return the score of the model's kind."""
        known = _model(model, "evaluate")
        self.runs.append(Run(known.kind, known.seed, known.steps, list(known.train_seeds), known.training))
        return self.scores[known.kind]


def _model(model: object, user: str) -> Model:
    expect(
        isinstance(model, Model),
        tried="calling your code",
        got=f"`{user}` was given {type(model).__name__}, not a model",
        misconception="`train` changes the model itself and returns nothing: do not write `model = train(…)`.",
    )
    assert isinstance(model, Model)
    return model


def check_runs(lab: Lab, *, steps: int, seed: int, tried: str) -> None:
    """CheckFailed unless each kind was made, trained and evaluated in the same way, as asked."""
    runs = {run.kind: run for run in lab.runs}
    rules: Rules = [
        (
            len(runs) == 2,
            f"the models evaluated came from: {', '.join(run.kind for run in lab.runs) or 'nowhere'}",
            "A model that is trained a second time starts from trained weights. Make one of each kind, once.",
        )
    ]
    if len(runs) == 2:
        rules += _same(runs["pretrained"], runs["random"]) + _as_asked(runs["pretrained"], steps, seed)
    follow(rules, tried=tried)


def _same(transfer: Run, control: Run) -> Rules:
    return [
        (
            transfer.steps == control.steps,
            f"the pre-trained model had {transfer.steps} steps before its evaluation, the control {control.steps}",
            "With another budget the gap shows what training does, not what pre-training does.",
        ),
        (
            transfer.seed == control.seed,
            f"the pre-trained model was made with seed {transfer.seed}, the control with {control.seed}",
            "Another seed is another head, and the gap holds the luck of the heads as well. Make both with `seed`.",
        ),
        (
            transfer.train_seeds == control.train_seeds,
            f"`train` had seed {transfer.train_seeds} for the pre-trained model, {control.train_seeds} for the control",
            "The seed of `train` chooses the labels and their order. Both models should learn from the same ones.",
        ),
        (
            not transfer.training and not control.training,
            "`model.training` was still True at an evaluation",
            "In training mode dropout drops and batch norm looks at the test batch. Call `model.eval()` first.",
        ),
    ]


def _as_asked(run: Run, steps: int, seed: int) -> Rules:
    """Both sides agree; are they what was asked for?"""
    return [
        (run.steps == steps, f"both were evaluated after {run.steps} steps", "Train with `steps`, then evaluate."),
        (
            run.seed == seed and set(run.train_seeds) == {seed},
            f"both were made with seed {run.seed} and trained with {run.train_seeds}",
            "`seed` is not what they used, so that every repeat would be the same run.",
        ),
    ]


def check_scores(result: object, *, transfer: float, scratch: float, tried: str) -> None:
    """CheckFailed unless `result` is (transfer, scratch, transfer − scratch)."""
    fits = isinstance(result, (tuple, list)) and len(result) == 3
    expect(
        fits, tried=tried, got=type(result).__name__, misconception="Return three numbers: transfer, scratch and gain."
    )
    first, second, gain = (number(value, tried=tried) for value in result)  # type: ignore[attr-defined]
    seen = f"when transfer scores {transfer:.3f} and scratch {scratch:.3f}"
    expect(
        (first, second) != (scratch, transfer),
        tried=tried,
        got=f"({first:.3f}, {second:.3f}, …) {seen}",
        misconception="The two scores have changed places: transfer comes first.",
    )
    expect(
        abs(gain + transfer - scratch) > 1e-9,
        tried=tried,
        got=f"a gain of {gain:+.3f} {seen}",
        misconception="The sign is the wrong way round. Transfer helps when the gain is above zero: transfer − scratch."
        if transfer > scratch
        else "Transfer can hurt, and then the gain is below zero. Do not take its absolute value.",
    )
    wanted = {"transfer": transfer, "scratch": scratch, "gain": transfer - scratch}
    for value, (name, right) in zip((first, second, gain), wanted.items(), strict=True):
        close(value, right, tried=tried, misconception=f"{name}: hand on what `evaluate` returns, without rounding.")
