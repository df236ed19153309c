"""The recipes behind lesson 10: both learn, go on where they were stopped, and hold back what they say they do."""

from __future__ import annotations

from functools import lru_cache, partial
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tlcourse import data
from tlcourse.foundation import NO_STYLE, Autoencoder, Condition, UNet
from tlcourse.recipes import emoji_autoencoder, emoji_diffusion, pieces
from tlcourse.recipes.emoji_autoencoder import is_withheld, withheld_names


def small_autoencoder() -> Autoencoder:
    return Autoencoder(12, widths=(8, 16), blocks=(1, 1, 1))


def few(emoji: data.Images, n: int = 64) -> data.Images:
    return emoji.take(torch.randperm(len(emoji), generator=torch.Generator().manual_seed(0))[:n])


@pytest.fixture
def short(monkeypatch, tmp_path):
    """The autoencoder's recipe with a small network, few pictures, and a folder of its own."""
    monkeypatch.setattr(emoji_autoencoder, "STEPS", 24)
    monkeypatch.setattr(emoji_autoencoder, "EVERY", 8)
    monkeypatch.setattr(emoji_autoencoder, "STATE", tmp_path / "part" / "state.pt")
    monkeypatch.setattr(emoji_autoencoder, "network", small_autoencoder)
    chosen = few(emoji_autoencoder.examples())
    monkeypatch.setattr(emoji_autoencoder, "examples", lambda: chosen)
    return tmp_path


@pytest.fixture
def short_diffusion(monkeypatch, tmp_path):
    """The diffusion recipe with a small network on latents that a linear autoencoder makes."""
    encoder = small_autoencoder()
    encoder.start_from_pca(emoji_autoencoder.to_unit(few(emoji_autoencoder.examples()).pixels))
    encoder.calibrate(emoji_autoencoder.to_unit(few(emoji_autoencoder.examples()).pixels))
    every = emoji_diffusion.pictures()
    part = every.where(torch.tensor([name.startswith(("cat", "red", "grinning")) for name in every.meta["name"]]))
    monkeypatch.setattr(emoji_autoencoder, "trained", lambda: encoder)
    monkeypatch.setattr(emoji_diffusion, "pictures", lambda: part)
    for name in ("latents", "conditions"):
        monkeypatch.setattr(emoji_diffusion, name, lru_cache(getattr(emoji_diffusion, name).__wrapped__))
    for name, value in {"STEPS": 30, "EVERY": 10, "BATCH": 32, "RATE": 3e-3}.items():
        monkeypatch.setattr(emoji_diffusion, name, value)
    monkeypatch.setattr(emoji_diffusion, "STATE", tmp_path / "part" / "state.pt")
    monkeypatch.setattr(emoji_diffusion, "network", lambda: UNet(12, n_styles=4, widths=(16, 16), blocks=1))
    return tmp_path


def trained(recipe) -> list[dict]:
    return [recipe.work(job, []) for job in recipe.jobs() if job["phase"] == "train"]


def test_pieces_cover_all_steps_once():
    jobs = pieces.cut(25, 10)
    assert [(job["from"], job["to"]) for job in jobs] == [(0, 10), (10, 20), (20, 25)]


def walk(state, steps: list[int], stop: int | None = None):
    """A training of one number, which each step moves at random; stopped within a piece where asked."""
    weight = SimpleNamespace(value=torch.zeros(()))
    weight.state_dict = lambda: {"value": weight.value}
    weight.load_state_dict = lambda saved: setattr(weight, "value", saved["value"])

    def step(k: int, generator: torch.Generator) -> float:
        if k == stop:
            raise KeyboardInterrupt
        weight.value = weight.value + torch.randn((), generator=generator)
        steps.append(k)
        return float(k)

    return lambda job: (pieces.train(job, state, parts={"weight": weight}, step=step), weight.value)


def test_a_stopped_training_ends_with_the_same_numbers(tmp_path):
    jobs, steps = pieces.cut(12, 4), []
    whole = [walk(tmp_path / "a" / "state.pt", steps)(job) for job in jobs]
    assert steps == list(range(12))
    assert whole[0][0] == {"loss": 1.5}, "the mean of 0, 1, 2 and 3"

    state = tmp_path / "b" / "state.pt"
    walk(state, [])(jobs[0])
    with pytest.raises(KeyboardInterrupt):
        walk(state, [], stop=6)(jobs[1])
    again = []
    rows = [walk(state, again)(job) for job in jobs[1:]]
    assert again == list(range(4, 12))
    assert rows[-1][0] == whole[-1][0]
    assert torch.equal(rows[-1][1], whole[-1][1])


def test_a_piece_whose_row_was_lost_is_not_trained_twice(tmp_path):
    jobs, steps = pieces.cut(12, 4), []
    for job in jobs[:2]:
        row, value = walk(tmp_path / "state.pt", [])(job)
    assert walk(tmp_path / "state.pt", steps)(jobs[1]) == (row, value)
    assert steps == []


def test_a_state_that_does_not_fit_is_refused_with_its_remedy(tmp_path):
    jobs = pieces.cut(12, 4)
    with pytest.raises(FileNotFoundError, match=r"delete the recipe's \.part\.jsonl"):
        walk(tmp_path / "state.pt", [])(jobs[1])
    walk(tmp_path / "state.pt", [])(jobs[0])
    with pytest.raises(RuntimeError, match="saved after step 4 and not 8"):
        walk(tmp_path / "state.pt", [])(jobs[2])


def test_shipped_tensors_are_half_precision_and_come_back():
    tensors = {"weight": torch.tensor([0.5, 1 / 3]), "count": torch.tensor(7)}
    shipped = pieces.halved(tensors)
    assert shipped["weight"].dtype == torch.float16
    assert shipped["count"].dtype == torch.int64
    back = pieces.widened(shipped)
    torch.testing.assert_close(back["weight"], tensors["weight"], atol=1e-3, rtol=1e-3)


def test_a_fifth_of_the_fluent_drawings_is_withheld_from_both_recipes():
    names = withheld_names()
    assert len(names) == round(0.2 * 1561)
    emoji = data.emoji(emoji_autoencoder.STYLES, size=32)
    held = is_withheld(emoji)
    assert int(held.sum()) == sum(emoji.meta["name"].count(name) // 4 for name in names)
    styles = {style for style, hidden in zip(emoji.meta["style"], held.tolist(), strict=True) if hidden}
    assert styles == {"fluent"}
    hidden = {picture.numpy().tobytes() for picture in emoji.pixels[held]}
    hidden -= {picture.numpy().tobytes() for picture in emoji.pixels[~held]}  # drawn alike under two names
    seen = emoji_diffusion.pictures().pixels[emoji_diffusion.training_rows()]
    for pixels in (emoji_autoencoder.examples().pixels, seen):
        assert not hidden & {picture.numpy().tobytes() for picture in pixels}


def test_the_autoencoder_is_not_trained_on_what_it_is_measured_on():
    test = set(data.emoji("noto", size=32, part="test").meta["subgroup"])
    assert not test & set(emoji_autoencoder.examples().meta["subgroup"])


def test_a_varied_batch_holds_moved_pictures():
    generator, x = torch.Generator().manual_seed(0), torch.zeros(1, 1, 16, 16)
    x[..., 5, 6] = 1
    places = [emoji_autoencoder.varied(x, generator).nonzero()[0, 2:].tolist() for _ in range(300)]
    assert {row for row, _ in places} == set(range(3, 8))
    assert {column for _, column in places} == {*range(4, 9), *range(7, 12)}, "moved, and mirrored or not"


def test_the_autoencoder_learns_within_a_few_steps(short):
    rows = trained(emoji_autoencoder)
    assert rows[-1]["loss"] < 0.97 * rows[0]["loss"]
    model = small_autoencoder()
    model.load_state_dict(pieces.widened(emoji_autoencoder.final_weights()))
    latents = model.to_latents(emoji_autoencoder.to_unit(emoji_autoencoder.examples().pixels))
    assert float(latents.square().mean()) == pytest.approx(1, abs=0.2), "calibrated"
    emoji_autoencoder.finish([], short)
    assert load_file(short / "emoji_autoencoder.safetensors")["latent_scale"].dtype == torch.float16
    assert not emoji_autoencoder.STATE.parent.exists()


def test_the_measure_is_of_what_was_asked(monkeypatch):
    emoji = data.emoji
    monkeypatch.setattr(emoji_autoencoder.data, "emoji", lambda *names, **options: few(emoji(*names, **options)))
    monkeypatch.setattr(emoji_autoencoder, "rebuilt", lambda model, pixels: emoji_autoencoder.to_unit(pixels) + 0.02)
    measured = emoji_autoencoder.measured(small_autoencoder(), ("noto",))
    assert measured == dict.fromkeys(("train_psnr", "train_mean_psnr", "test_psnr", "test_mean_psnr"), 40.0)


def test_the_diffusion_model_learns_within_a_few_steps(short_diffusion, monkeypatch):
    rows = trained(emoji_diffusion)
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    weights = emoji_diffusion.final_weights()
    assert all(value.dtype == torch.float16 for value in weights.values())
    model = emoji_diffusion.load_weights(emoji_diffusion.network(), weights)
    last = emoji_diffusion.network()
    pieces.load(emoji_diffusion.STATE, {"model": last})
    assert not torch.allclose(model.first.weight, last.first.weight, atol=1e-4), "the average is shipped"
    monkeypatch.setattr(emoji_diffusion, "drawn", partial(emoji_diffusion.drawn, steps=3))
    for withheld in (False, True):
        measured = emoji_diffusion.measured(model, withheld=withheld, most=4)
        assert 0 < measured["wishes"] <= 4
        assert 0 <= measured["top1"] <= measured["top5"] <= 1


def test_pictures_are_drawn_as_words_style_and_seed_say(short_diffusion, monkeypatch):
    model = emoji_diffusion.network()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    monkeypatch.setattr(emoji_diffusion, "trained", model.eval)
    first = emoji_diffusion.draw(["a red heart", "a cat"], "fluent", steps=2)
    assert first.shape == (2, 3, 32, 32)
    assert first.dtype == torch.uint8
    assert torch.equal(first, emoji_diffusion.draw(["a red heart", "a cat"], ["fluent", "fluent"], steps=2))
    for other in (
        emoji_diffusion.draw(["a blue car", "a dog"], "fluent", steps=2),
        emoji_diffusion.draw(["a red heart", "a cat"], "noto", steps=2),
        emoji_diffusion.draw(["a red heart", "a cat"], "fluent", steps=2, seed=1),
        emoji_diffusion.draw(["a red heart", "a cat"], "fluent", steps=2, guidance=7),
        emoji_diffusion.draw(["a red heart", "a cat"], "fluent", steps=3),
    ):
        assert not torch.equal(first[0], other[0])


def test_a_perfect_model_is_measured_as_one(short_diffusion, monkeypatch):
    emoji = emoji_diffusion.pictures()
    fluent = torch.tensor([style == "fluent" for style in emoji.meta["style"]])
    wishes = emoji_diffusion.conditions()

    def found(model, wish):
        same = (wishes.text[None] - wish.text[:, None]).abs().sum(dim=2) + (wishes.style != wish.style[:, None]) < 1e-4
        assert (same & fluent).any(dim=1).all(), "only Fluent drawings are asked for"
        return emoji.pixels[same.int().argmax(dim=1)]

    monkeypatch.setattr(emoji_diffusion, "drawn", found)
    for withheld in (False, True):
        measured = emoji_diffusion.measured(emoji_diffusion.network(), withheld=withheld)
        assert (measured["top1"], measured["top5"]) == (1, 1)
        asked = fluent & (is_withheld(emoji) == withheld)
        assert (measured["wishes"], measured["candidates"]) == (int(asked.sum()), int(fluent.sum()))


def test_conditions_are_name_and_style(short_diffusion):
    emoji, wishes = emoji_diffusion.pictures(), emoji_diffusion.conditions()
    last = len(emoji) - 1
    asked = emoji_diffusion.wish_for([emoji.meta["name"][last]], emoji.meta["style"][last])
    torch.testing.assert_close(wishes.text[last:], asked.text, atol=1e-5, rtol=1e-5)
    assert wishes.style[last:].tolist() == asked.style.tolist() == [3]
    torch.testing.assert_close(wishes.text.norm(dim=1), torch.ones(len(emoji)))


def test_noise_on_the_words_leaves_the_style_alone():
    wish = Condition(torch.zeros(500, 384), torch.arange(500) % 4)
    blurred = emoji_diffusion.blurred(wish, torch.Generator().manual_seed(0))
    assert float(blurred.text.std()) == pytest.approx(emoji_diffusion.TEXT_NOISE, rel=0.02)
    assert torch.equal(blurred.style, wish.style)


def test_wishes_in_one_style_or_in_one_each():
    assert emoji_diffusion.wish_for(["a cat", "a dog"], "openmoji").style.tolist() == [2, 2]
    assert emoji_diffusion.wish_for(["a cat", "a dog"], ["fluent", "noto"]).style.tolist() == [3, 0]
    assert NO_STYLE not in emoji_diffusion.wish_for("a cat", "noto").style


@pytest.mark.parametrize(
    ("words", "styles", "error", "message"),
    [
        ([], "noto", ValueError, "at least one text"),
        (["a cat", "  "], "noto", ValueError, "none of them empty"),
        (["a cat", "a dog"], ["noto"], ValueError, "2 words and 1 styles"),
        (["a cat"], "cubism", KeyError, "noto, twemoji, openmoji, fluent"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(words, styles, error, message):
    with pytest.raises(error, match=message):
        emoji_diffusion.wish_for(words, styles)


@pytest.mark.parametrize("recipe", [emoji_autoencoder, emoji_diffusion])
def test_a_network_that_was_not_made_names_the_command(recipe, monkeypatch, tmp_path):
    monkeypatch.setattr(recipe, "FOLDER", tmp_path)
    monkeypatch.setattr(recipe, "_shipped", lru_cache(recipe._shipped.__wrapped__))
    with pytest.raises(FileNotFoundError, match=f"tlcourse recipe {recipe.NAME}"):
        recipe.trained()


def test_the_shipped_files_stay_below_eight_megabytes():
    for recipe in (emoji_autoencoder, emoji_diffusion):
        weights = recipe.network().state_dict().values()
        assert 2 * sum(value.numel() for value in weights) < 8_000_000
