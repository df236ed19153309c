"""The long runs behind lessons 05 to 07: nothing is chosen on what is tested, and every way trains what it says."""

from functools import lru_cache, partial

import pytest
import torch

from tlcourse import models, peft, recipes
from tlcourse.recipes import language_adapters, peft_family

RECIPES = [peft_family, language_adapters]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__.rsplit(".", 1)[-1])
def test_rates_are_chosen_on_reviews_that_neither_train_nor_test(recipe, monkeypatch):
    train, choice, test = (set(recipe.reviews(part).texts) for part in ("train", "choice", "test"))
    assert not choice & train
    assert not choice & test
    assert not train & test
    rows = recipes.load(recipe.__name__.rsplit(".", 1)[-1])["rows"]
    for row in rows:
        if row["part"] in ("family", "tuned") and row["arm"] in recipe.RATES:
            assert row["rate"] == recipe.best_rate(rows, row["arm"])


def test_the_best_rate_is_the_most_accurate_or_the_least_surprised():
    rows = [
        {"part": "choose", "arm": "LoRA", "rate": rate, "balanced_accuracy": accuracy, "loss": loss}
        for rate, accuracy, loss in ((1e-3, 0.8, 0.5), (2e-3, 0.9, 0.4), (4e-3, 0.9, 0.3))
    ]
    assert peft_family.best_rate(rows, "LoRA") == 2e-3  # the lower one of two equals
    assert language_adapters.best_rate(rows, "LoRA") == 4e-3


@pytest.mark.parametrize("arm", peft_family.RATES)
def test_every_way_trains_what_it_says(arm):
    model = peft_family.adapted(arm, seed=0)
    trained = peft.count_parameters(model)[0]
    shipped = {row["arm"]: row["trained"] for row in recipes.load("peft_family")["rows"] if row["part"] == "family"}
    assert trained == shipped[arm]
    assert all(parameter.requires_grad for parameter in model.head.parameters())
    if arm not in ("full", "head only"):
        assert 0 < trained - 770 < 0.02 * shipped["full"]
        assert peft.adapters(model.backbone) == ("default",)


def test_a_short_run_of_the_family_learns(monkeypatch):
    monkeypatch.setattr(peft_family, "train", partial(peft_family.train, steps=8))
    monkeypatch.setattr(peft_family, "LABELS", 8)
    monkeypatch.setattr(peft_family, "reviews", lru_cache(lambda part: _few(part)))
    rows = [{"part": "choose", "arm": arm, "rate": 4e-3, "balanced_accuracy": 0.5} for arm in ("LoRA", "full")]
    row = peft_family.work({"part": "rank", "alpha": "16", "rank": 2, "seed": 0}, rows)
    assert row["rate"] == 4e-3
    assert row["trained"] == 2 * 6 * (4 * 2 * 384 + 2 * (384 + 1536)) + 770
    assert row["last_loss"] < 0.75
    model = peft_family.adapted("LoRA", seed=0, rank=2, alpha=16.0)
    assert {m.scale for m in model.modules() if isinstance(m, peft.LoRALinear)} == {8.0}


def test_the_update_is_taken_apart_and_put_together_again(monkeypatch):
    monkeypatch.setattr(peft_family, "train", partial(peft_family.train, steps=4))
    monkeypatch.setattr(peft_family, "LABELS", 8)
    monkeypatch.setattr(peft_family, "reviews", lru_cache(lambda part: _few(part)))
    everything, seen = peft_family.linear_weights, []  # three of the 36 layers are enough to see
    monkeypatch.setattr(peft_family, "linear_weights", lambda model: dict(list(everything(model).items())[:3]))
    evaluation = peft_family.training.evaluate
    monkeypatch.setattr(
        peft_family.training,
        "evaluate",
        lambda model, texts: (
            seen.append({n: w.clone() for n, w in peft_family.linear_weights(model).items()})
            or evaluation(model, texts)
        ),
    )
    row = peft_family.update(1e-4, seed=0)
    order = ["full", *peft_family.kept_directions()]
    weights = dict(zip(order, seen, strict=True))
    bare = peft_family.linear_weights(models.Classifier(peft_family.minilm(), 2))
    name = next(iter(bare))
    assert torch.equal(weights["none"][name], bare[name])
    torch.testing.assert_close(weights["all"][name], weights["full"][name], atol=1e-5, rtol=0)
    change = weights["first 4"][name] - bare[name]
    assert torch.linalg.matrix_rank(change, atol=1e-4 * float(change.norm())) == 4
    rest = weights["without 4"][name] - bare[name]
    torch.testing.assert_close(change + rest, weights["full"][name] - bare[name], atol=1e-5, rtol=0)
    assert row["energy"] == sorted(row["energy"])
    assert row["energy"][3] > 3 * row["random"][3]


def test_a_threshold_gets_most_labels_right():
    margin = torch.tensor([0.1, 0.5, 0.9, 1.4, 2.0])
    labels = torch.tensor([0, 0, 1, 1, 1])
    assert language_adapters.best_threshold(margin, labels) == pytest.approx(0.7)
    noisy = torch.tensor([0, 0, 1, 0, 1])
    border = language_adapters.best_threshold(margin, noisy)
    assert int(((margin > border).long() == noisy).sum()) == 4


def test_smollm2_is_left_as_it_was():
    few = language_adapters.reviews("choice").take(torch.arange(0, 100, 25))
    before = language_adapters.margins(few)
    model = language_adapters.adapted("prompt", seed=0)
    with torch.no_grad():
        moved = model(model.collate(few.texts))
    assert not torch.allclose(moved[:, 1] - moved[:, 0], before, atol=1e-2)
    language_adapters.scores(model, few)
    torch.testing.assert_close(language_adapters.margins(few), before, atol=1e-4, rtol=0)


def _few(part: str):
    """Sixteen reviews of each part."""
    from tlcourse import data

    return data.sentiment("movies", part="test" if part == "test" else "train").few(8, seed=0)
