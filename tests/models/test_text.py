"""Text backbones: real MiniLM, and a DistilBERT in the hub's format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tlcourse import models, training
from tlcourse.models import text_backbone

TEXTS = ["The cat sat on the mat.", "A dog slept.", "Shares fell after the bank raised its interest rate again."]


@pytest.fixture(scope="module")
def minilm() -> models.TextBackbone:
    return models.text()


@torch.no_grad()
def test_like_texts_are_near(minilm: models.TextBackbone):
    found = minilm(minilm.collate(["A man is eating food.", "A man eats a meal.", "The stock market crashed."]))
    similar, different = (torch.cosine_similarity(found[0], found[i], dim=0) for i in (1, 2))
    assert found.shape == (3, minilm.dim) == (3, 384)
    assert similar > 0.7 > 0.2 > different


@torch.no_grad()
def test_padding_has_no_say(minilm: models.TextBackbone):
    together = minilm(minilm.collate(TEXTS))
    for row, sentence in zip(together, TEXTS, strict=True):
        torch.testing.assert_close(minilm(minilm.collate([sentence]))[0], row, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_stages_go_from_the_embeddings_to_the_output(minilm: models.TextBackbone):
    batch = minilm.collate(TEXTS)
    found = minilm.stage_features(batch)
    assert tuple(found) == minilm.stages == ("embeddings", *(f"layer.{i}" for i in range(6)))
    torch.testing.assert_close(found["layer.5"], minilm(batch))
    assert not torch.allclose(found["layer.4"], found["layer.5"])


def test_long_texts_are_cut(minilm: models.TextBackbone):
    assert minilm.collate(["word " * 1000])["input_ids"].shape == (1, 128)


def test_every_parameter_is_used(minilm: models.TextBackbone):
    model = models.text(pretrained=False)
    model(model.collate(TEXTS)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert set(model.state_dict()) == set(minilm.state_dict())


def test_random_weights_by_seed(minilm: models.TextBackbone):
    one, same, other = (models.text(pretrained=False, seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert one.fingerprint() != minilm.fingerprint()


def test_masked_mean_of_a_row_without_tokens_is_zero():
    hidden = torch.randn(2, 3, 4)
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    found = text_backbone.masked_mean(hidden, mask)
    torch.testing.assert_close(found[0], hidden[0, :2].mean(dim=0))
    assert found[1].abs().max() == 0


def test_a_classifier_learns_texts(tiny_distilbert: Path):
    class Reviews:
        inputs = ("the good film", "a bad film", "good", "bad cat") * 4
        labels = torch.tensor([1, 0, 1, 0] * 4)

        def __len__(self) -> int:
            return len(self.inputs)

    model = models.Classifier(models.text("distilbert", checkpoint=tiny_distilbert), 2)
    training.fit(model, Reviews(), epochs=15, lr=5e-3)
    assert training.evaluate(model, Reviews()).accuracy == 1.0


@torch.no_grad()
def test_distilbert_from_a_checkpoint(tiny_distilbert: Path):
    from transformers import AutoModel

    ours = models.text(source="hub", checkpoint=tiny_distilbert)
    theirs = AutoModel.from_pretrained(tiny_distilbert).eval()
    batch = ours.collate(["the cat sat", "good film"])
    assert (ours.name, ours.dim) == ("distilbert", 32)
    assert ours.stages == ("embeddings", "layer.0", "layer.1")
    hidden = theirs(**batch).last_hidden_state
    torch.testing.assert_close(ours(batch)[0], hidden[0].mean(dim=0))
    torch.testing.assert_close(ours(batch)[1], hidden[1, :2].mean(dim=0))
    torch.testing.assert_close(ours.stage_features(batch)["layer.1"], ours(batch))


def test_loading_is_silent(tiny_distilbert: Path, capfd: pytest.CaptureFixture[str]):
    models.text()
    models.text("distilbert", checkpoint=tiny_distilbert)
    assert capfd.readouterr() == ("", "")


def test_bad_arguments(tmp_path: Path, tiny_distilbert: Path):
    with pytest.raises(KeyError, match="did you mean minilm"):
        models.text("minlm")
    with pytest.raises(ValueError, match="leave one of them out"):
        models.text(pretrained=False, checkpoint=tiny_distilbert)
    with pytest.raises(ValueError, match="save_pretrained"):
        models.text("distilbert", checkpoint=tmp_path)


def test_a_checkpoint_with_missing_weights_is_refused(tmp_path: Path, tiny_distilbert: Path):
    folder = tmp_path / "deeper"
    shutil.copytree(tiny_distilbert, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "n_layers": 3}))
    with pytest.raises(ValueError, match="no fitting weights"):
        models.text("distilbert", checkpoint=folder)


def test_bad_texts(minilm: models.TextBackbone):
    with pytest.raises(ValueError, match="at least one text"):
        minilm.collate([])
    with pytest.raises(ValueError, match="into a list"):
        minilm.collate("a single text")
    with pytest.raises(ValueError, match="collate"):
        minilm({"input_ids": torch.zeros(1, 2, dtype=torch.int64)})
