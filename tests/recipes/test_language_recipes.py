"""The recipes of lessons 08, 09 and 11: a few steps of each, and what they measure."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch

from tlcourse import data
from tlcourse.foundation import train_bpe
from tlcourse.recipes import course_gpt, emoji_contrastive, emoji_pairs, results, scaling_family

TEXTS = ("the cat sat on the mat.", "a dog ran to the house!", "she liked the film", "they hated the dull play") * 30


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The course's GPT and BERT, but tiny, on a few sentences, in a folder of their own."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for name, value in {"VOCABULARY": 300, "CONTEXT": 16, "WIDTH": 32, "LAYERS": 1, "HEADS": 2, "DROPOUT": 0.1}.items():
        monkeypatch.setattr(course_gpt, name, value)
    monkeypatch.setattr(course_gpt, "STEPS", 60)
    monkeypatch.setattr(course_gpt, "EVERY", 30)
    monkeypatch.setattr(course_gpt, "RATES", {"gpt": 1e-2, "bert": 1e-2})
    monkeypatch.setattr(course_gpt, "TUNING_STEPS", 4)
    monkeypatch.setattr(course_gpt, "texts", lru_cache(lambda part: TEXTS if part == "train" else TEXTS[:8] * 40))
    monkeypatch.setattr(course_gpt, "tokenizer", lru_cache(lambda: train_bpe(TEXTS, vocabulary=300)))
    monkeypatch.setattr(course_gpt, "stream", lru_cache(course_gpt.stream.__wrapped__))
    return tmp_path


def test_gpt_and_bert_train_in_pieces_and_are_shipped(small) -> None:
    jobs = [job for job in course_gpt.jobs() if job["phase"] in ("train", "measure")]
    assert [(job["model"], job["phase"]) for job in jobs] == [
        *[("gpt", "train")] * 2,
        *[("bert", "train")] * 2,
        ("gpt", "measure"),
        ("bert", "measure"),
    ]
    rows = [course_gpt.work(job, []) for job in jobs]
    assert rows[1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[3]["loss"] < rows[2]["loss"]
    assert 1 < rows[4]["perplexity"] < 300
    assert rows[4]["nats_per_character"] < rows[4]["loss"]
    tuned = course_gpt.work({"model": "bert", "phase": "choose", "task": "tweets", "rate": 1e-3}, [])
    assert 0 <= tuned["balanced_accuracy"] <= 1
    before = course_gpt.trained("gpt").state_dict()
    course_gpt.finish([], small)
    assert sorted(path.name for path in small.iterdir()) == ["course_gpt.safetensors", "course_gpt_tokenizer.json"]
    model, tokenizer = course_gpt.load_model("gpt")
    assert model.causal
    assert not course_gpt.load_model("bert")[0].causal
    assert len(tokenizer) == 300
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-2, atol=1e-3)


def test_a_piece_that_was_stopped_ends_with_the_same_weights(small) -> None:
    first, second = course_gpt.jobs()[:2]
    course_gpt.work(first, [])
    kept = (small / "course_gpt.part" / "gpt.pt").read_bytes()
    loss = course_gpt.work(second, [])
    weights = course_gpt.trained("gpt").state_dict()
    (small / "course_gpt.part" / "gpt.pt").write_bytes(kept)
    assert course_gpt.work(second, []) == loss
    assert all(torch.equal(value, weights[name]) for name, value in course_gpt.trained("gpt").state_dict().items())


def test_held_out_texts_do_not_train() -> None:
    assert not set(course_gpt.texts("train")) & set(course_gpt.texts("test"))
    for task in course_gpt.TASKS:
        parts = [set(course_gpt.labelled(task, part).texts) for part in ("train", "choice", "test")]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
        assert not parts[2] & set(course_gpt.texts("train"))


def test_rates_are_those_with_the_lowest_loss() -> None:
    rows = [
        {"phase": "choose", "model": "bert", "task": "tweets", "rate": rate, "loss": loss}
        for rate, loss in ((1e-3, 0.5), (2e-3, 0.4), (5e-4, 0.6))
    ]
    rows += [
        {"phase": "choose", "model": "gpt", "task": "tweets", "rate": 9.0, "loss": 0.1},
        {"phase": "train", "model": "bert"},
    ]
    assert course_gpt.best_rate(rows, "bert", "tweets") == 2e-3


def test_missing_models_name_the_command(small) -> None:
    with pytest.raises(FileNotFoundError, match="tlcourse recipe course_gpt"):
        course_gpt.load_model("gpt")
    with pytest.raises(KeyError, match="choose from: gpt, bert"):
        course_gpt.load_model("gpt2")


def test_the_family_trains_at_equal_tokens_and_equal_compute(monkeypatch) -> None:
    monkeypatch.setattr(scaling_family, "TOKENS", 60 * 2048)
    monkeypatch.setattr(scaling_family, "held_out", lru_cache(lambda: TEXTS[:40]))
    monkeypatch.setattr(scaling_family, "stream", lru_cache(scaling_family.stream.__wrapped__))
    monkeypatch.setattr(course_gpt, "texts", lru_cache(lambda part: TEXTS))
    row = scaling_family.work({"part": "equal tokens", "size": "16x1", "seed": 0}, [])
    assert row["tokens"] == 60 * 2048
    assert row["training_loss"] < 3.0  # log 259 = 5.6 without learning
    assert 0 < row["loss"] < 3.5
    one, other = (
        scaling_family.work({"part": "equal compute", "compute": 2e9, "size": size, "seed": 0}, [])
        for size in ("8x1", "16x1")
    )
    for each in (one, other):
        assert 6 * each["parameters"] * each["tokens"] == pytest.approx(2e9, rel=0.1)
    assert one["tokens"] > other["tokens"]


def test_sizes_grow_and_every_job_is_one_of_them() -> None:
    sizes = list(scaling_family.settings()["parameters"].values())
    assert len(sizes) >= 5
    assert sizes == sorted(sizes)
    assert sizes[-1] / sizes[0] > 30
    assert len({str(job) for job in scaling_family.jobs()}) == len(scaling_family.jobs())


def test_a_phone_book_is_learned_by_heart() -> None:
    little, much = (scaling_family.recited(12, 0, steps=steps) for steps in (20, 200))
    assert much["loss"] < 0.7 * little["loss"]
    assert much["digits"] > little["digits"] + 0.1
    assert much["numbers"] <= much["digits"]
    book = scaling_family.phone_book(0)
    assert len({tuple(entry[:2].tolist()) for entry in book}) == scaling_family.ENTRIES
    assert not torch.equal(book, scaling_family.phone_book(1))


@pytest.fixture
def few_emoji(monkeypatch, tmp_path):
    """Real emoji, but few."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)

    def few(style: str, part: str, size: int | None = None) -> data.Images:
        pictures = data.emoji(style, size=64, part=part, label="name")
        kept = [
            i for i, name in enumerate(pictures.meta["subgroup"]) if name in ("animal-bird", "animal-mammal", "drink")
        ]
        chosen = pictures.take(torch.tensor(kept[:24]))
        return chosen.relabel("name")

    monkeypatch.setattr(emoji_pairs, "pictures", few)
    monkeypatch.setattr(emoji_pairs, "MAP", (192, 2, 2))
    monkeypatch.setattr(emoji_pairs, "COPIES", 1)
    monkeypatch.setattr(emoji_contrastive, "TAIL_STEPS", 2)
    for name in ("held_out", "training_pairs", "training_views"):
        monkeypatch.setattr(emoji_pairs, name, lru_cache(getattr(emoji_pairs, name).__wrapped__))
    for name in ("names", "stored"):
        monkeypatch.setattr(emoji_contrastive, name, lru_cache(getattr(emoji_contrastive, name).__wrapped__))
    return tmp_path


def test_towers_learn_and_are_shipped(few_emoji, monkeypatch) -> None:
    for arm in emoji_contrastive.SHIPPED:
        model, losses = emoji_contrastive.trained(arm, seed=0, steps=30)
        assert len(losses) == (30 if arm == "one linear map" else 32)
        assert sum(losses[20:30]) < 0.8 * sum(losses[:10])
        again = [emoji_contrastive.trained(arm, seed=0, steps=3)[1] for _ in range(2)]
        assert again[0] == again[1]
        found = emoji_contrastive.pictures(model, arm, "fluent")
        numbers = emoji_contrastive.measured(found, emoji_contrastive.names(), emoji_pairs.descriptions("test"))
        assert numbers["top1"] <= numbers["top5"]
        assert numbers["top5"] > 5 / 24 - 0.1
        path = emoji_contrastive._part(arm, 0)
        path.parent.mkdir(exist_ok=True)
        emoji_contrastive.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    monkeypatch.setattr(emoji_contrastive, "ARMS", emoji_contrastive.SHIPPED)
    monkeypatch.setattr(emoji_contrastive, "SEEDS", (0,))
    for part in ("few-shot concepts", "few-shot kinds"):
        row = emoji_contrastive.work({"part": part, "shots": 1, "seed": 0}, [])
        assert row["chance"] < 1
        assert set(row) == {"chance", "frozen", "towers"}
    before = emoji_contrastive.stored("+ last blocks", 0).state_dict()
    emoji_contrastive.finish([], few_emoji)
    assert [path.name for path in few_emoji.iterdir()] == ["emoji_contrastive.safetensors"]
    assert (few_emoji / "emoji_contrastive.safetensors").stat().st_size < 8e6
    for name, value in emoji_contrastive.load_towers().state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-2, atol=1e-3)
    with pytest.raises(KeyError, match="is not shipped"):
        emoji_contrastive.load_towers("+ tags")


def test_views_and_captions(few_emoji) -> None:
    plain = emoji_pairs.training_pairs(tags=False, augmented=False, maps=False)
    rich = emoji_pairs.training_pairs(tags=True, augmented=True, maps=True)
    assert plain.pictures.shape == (24, 3, 1280)
    assert rich.pictures.shape == (24, 6, 768)
    assert [len(rows) for rows in plain.captions] == [1] * 24
    assert max(len(rows) for rows in rich.captions) == 3
    torch.testing.assert_close(
        emoji_pairs.through_tail(rich.pictures[:, 0]), plain.pictures[:, 0], rtol=1e-2, atol=1e-2
    )
    direct = emoji_pairs.vision()(emoji_pairs.pictures("noto", "train").pixels[:3])
    torch.testing.assert_close(plain.pictures[:3, 0], direct, rtol=2e-2, atol=2e-2)
    assert not torch.equal(rich.pictures[:, 0], rich.pictures[:, 1])
    texts = emoji_pairs.embed(["a bird", "a drink", "a bird"])
    assert torch.equal(texts[0], texts[2])
    assert not torch.equal(texts[0], texts[1])
    pairs, unseen = emoji_pairs.split_at_random(10, seed=0)
    assert len(pairs) == 38
    assert len(unseen.names) == len(set(unseen.names)) == len(unseen.pictures["fluent"]) == 10


def test_augmented_pictures_are_the_same_thing_on_white() -> None:
    pixels = data.emoji("noto", size=32, part="train").pixels[:6]
    changed = emoji_pairs.moved_and_tinted(pixels, seed=0)
    assert changed.shape == pixels.shape
    assert not torch.equal(changed, pixels)
    assert torch.equal(changed, emoji_pairs.moved_and_tinted(pixels, seed=0))
    assert (changed[:, :, 0, 0] > 200).float().mean() > 0.5  # corners stay white
    blank = torch.full((2, 3, 32, 32), 255, dtype=torch.uint8)
    assert torch.equal(emoji_pairs.moved_and_tinted(blank, seed=1), blank)


def test_the_unseen_style_and_the_held_out_concepts_do_not_train() -> None:
    assert emoji_pairs.UNSEEN not in emoji_pairs.STYLES
    train, test = (data.emoji("noto", size=32, part=part, label="name").meta for part in ("train", "test"))
    assert not set(train["name"]) & set(test["name"])
    assert not set(train["subgroup"]) & set(test["subgroup"])
    counts = [test["subgroup"].count(kind) for kind in emoji_pairs.KINDS]
    assert min(counts) >= 12
    assert {kind for kind in set(test["subgroup"]) if test["subgroup"].count(kind) >= 12} == set(emoji_pairs.KINDS)
