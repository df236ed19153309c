"""Masked language modelling on target texts: what is hidden, what is asked, what learns."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from tlcourse import models, shift
from tlcourse.shift.target_pretraining import NOT_ASKED

TEXTS = [
    f"the {animal} sat on the {thing} and saw the {animal}" for animal in ("cat", "dog") for thing in ("mat", "bed")
]


@pytest.fixture(scope="module")
def tiny() -> models.TextBackbone:
    """Two narrow layers under MiniLM's tokenizer."""
    from transformers import BertConfig, BertModel

    reader = models.text(pretrained=False)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=len(reader.tokenizer),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = BertModel(config, add_pooling_layer=False)
    return models.TextBackbone("tiny", net, reader.tokenizer).eval()


def test_what_is_hidden(tiny):
    ids = tiny.collate(TEXTS * 200)["input_ids"]
    inputs, wanted = shift.hide(ids, tiny.tokenizer, generator=torch.Generator().manual_seed(0))
    asked = wanted != NOT_ASKED
    special = torch.isin(ids, torch.tensor(tiny.tokenizer.all_special_ids))
    assert not (asked & special).any()
    assert asked[~special].float().mean() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(wanted[asked], ids[asked])
    assert torch.equal(inputs[~asked], ids[~asked])
    masked = inputs[asked] == tiny.tokenizer.mask_token_id
    kept = inputs[asked] == ids[asked]
    assert masked.float().mean() == pytest.approx(0.8, abs=0.03)
    assert kept.float().mean() == pytest.approx(0.1, abs=0.03)
    assert len(inputs[asked][~masked & ~kept].unique()) > 50


def test_one_token_at_least_is_asked(tiny):
    ids = tiny.collate(["cat"])["input_ids"]
    for seed in range(20):
        _, wanted = shift.hide(ids, tiny.tokenizer, rate=0.01, generator=torch.Generator().manual_seed(seed))
        assert (wanted != NOT_ASKED).sum() == 1


def test_the_loss_is_cross_entropy_at_the_hidden_places_through_the_tied_embeddings(tiny):
    head = shift.MaskedTokenHead(tiny.net.get_input_embeddings())
    batch = tiny.collate(TEXTS)
    batch["input_ids"], wanted = shift.hide(
        batch["input_ids"], tiny.tokenizer, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        logits = head(tiny.net(**batch).last_hidden_state.flatten(0, 1)).reshape(*wanted.shape, -1)
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=NOT_ASKED)
        found = shift.masked_token_loss(tiny, head, batch, wanted)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    normed = torch.nn.functional.layer_norm(torch.nn.functional.gelu(hidden), (32,))  # the map begins as the identity
    torch.testing.assert_close(head(hidden), normed @ tiny.net.get_input_embeddings().weight.T)
    assert head.embeddings.weight.data_ptr() == tiny.net.get_input_embeddings().weight.data_ptr()


def test_it_learns_the_texts_and_changes_the_backbone(tiny):
    backbone = copy.deepcopy(tiny)
    state = torch.get_rng_state()
    losses = shift.pretrain_on_texts(backbone, TEXTS, steps=60, batch_size=4, lr=3e-3, head_lr=3e-3)
    assert losses[0] > 0.8 * math.log(len(tiny.tokenizer))
    assert sum(losses[-10:]) / 10 < losses[0] / 2
    assert not backbone.training
    assert torch.equal(state, torch.get_rng_state())
    with torch.no_grad():
        assert not torch.allclose(backbone(backbone.collate(TEXTS)), tiny(tiny.collate(TEXTS)), atol=0.01)
    moved = {n for n, p in backbone.named_parameters() if not torch.equal(p, dict(tiny.named_parameters())[n])}
    assert len(moved) == len(dict(tiny.named_parameters()))


def test_the_seed_decides(tiny):
    losses = [shift.pretrain_on_texts(copy.deepcopy(tiny), TEXTS, steps=2, seed=seed) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_texts_are_cut(tiny):
    seen = []
    backbone = copy.deepcopy(tiny)
    backbone.net.register_forward_pre_hook(lambda _, a, k: seen.append(k["input_ids"].shape), with_kwargs=True)
    shift.pretrain_on_texts(backbone, ["word " * 60] * 3, steps=1, batch_size=2, max_length=10)
    assert seen == [(2, 10)]


def test_the_steps_are_those_of_adamw_with_warmup(tiny):
    """The same by hand: decay 0.01, gradients of norm 1 at most, and rates that rise for a tenth of the steps."""
    texts, steps = TEXTS * 9, 3
    found, expected = copy.deepcopy(tiny), copy.deepcopy(tiny)
    heads = [shift.MaskedTokenHead(net.net.get_input_embeddings()) for net in (found, expected)]
    losses = shift.pretrain_on_texts(found, texts, steps=steps, head=heads[0], seed=5)
    own = [heads[1].map.weight, heads[1].map.bias, heads[1].norm.weight, heads[1].norm.bias, heads[1].bias]
    body = list(expected.parameters())
    rule = torch.optim.AdamW([{"params": body}, {"params": own}], weight_decay=0.01)
    generator = torch.Generator().manual_seed(5)
    order = torch.randperm(36, generator=generator)[:32]
    expected.train()
    by_hand = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)  # for dropout
        for step, factor in enumerate((1 / 2, 1.0, 1 / 2)):  # one step up, then down over the two that are left
            if step:
                order = torch.randperm(36, generator=generator)[:32]
            for group, rate in zip(rule.param_groups, (5e-5, 1e-3), strict=True):
                group["lr"] = factor * rate
            batch = expected.collate([texts[i] for i in order.tolist()])
            batch["input_ids"], wanted = shift.hide(batch["input_ids"], tiny.tokenizer, rate=0.15, generator=generator)
            loss = shift.masked_token_loss(expected, heads[1], batch, wanted)
            rule.zero_grad()
            loss.backward()
            norm = torch.cat([p.grad.flatten() for p in (*body, *own) if p.grad is not None]).norm()
            for parameter in (*body, *own):
                if parameter.grad is not None:
                    parameter.grad /= max(1.0, float(norm))
            rule.step()
            by_hand.append(loss.item())
    assert losses == pytest.approx(by_hand, rel=1e-5)
    for one, other in zip((*found.parameters(), *heads[0].parameters()), (*body, *heads[1].parameters()), strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-4)


def test_a_batch_has_32_texts_of_48_tokens_and_one_text_is_enough(tiny):
    seen = []
    backbone = copy.deepcopy(tiny)
    backbone.net.register_forward_pre_hook(lambda _, a, k: seen.append(k["input_ids"].shape), with_kwargs=True)
    shift.pretrain_on_texts(backbone, ["word " * 60] * 40, steps=1)
    shift.pretrain_on_texts(backbone, ["one text"], steps=1)
    assert seen == [(32, 48), (1, 4)]


def test_progress_is_shown_when_asked(tiny, capsys):
    backbone = copy.deepcopy(tiny)
    shift.pretrain_on_texts(backbone, TEXTS, steps=1)
    assert capsys.readouterr().err == ""
    shift.pretrain_on_texts(backbone, TEXTS, steps=1, progress=True)
    assert "1/1" in capsys.readouterr().err


def test_what_is_not_asked_is_what_pytorch_ignores(tiny):
    ids = tiny.collate(TEXTS)["input_ids"]
    _, wanted = shift.hide(ids, tiny.tokenizer, generator=torch.Generator().manual_seed(0))
    logits = torch.randn(wanted.numel(), len(tiny.tokenizer), generator=torch.Generator().manual_seed(0))
    asked = wanted.flatten() != NOT_ASKED
    expected = torch.nn.functional.cross_entropy(logits[asked], wanted.flatten()[asked])
    torch.testing.assert_close(torch.nn.functional.cross_entropy(logits, wanted.flatten()), expected)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.5, 1.5, math.nan])
def test_a_rate_is_between_0_and_1(tiny, rate: float):
    with pytest.raises(ValueError, match="rate is"):
        shift.hide(torch.tensor([[1000]]), tiny.tokenizer, rate=rate, generator=torch.Generator())


def test_bad_input(tiny, unchecked):
    with pytest.raises(ValueError, match="steps is 0"):
        shift.pretrain_on_texts(tiny, TEXTS, steps=0)
    for nothing in ([], "one text"):
        with pytest.raises(ValueError, match="texts must be a list"):
            shift.pretrain_on_texts(tiny, nothing, steps=1)
    with pytest.raises(ValueError, match=r"rate is 1\.0"):
        shift.hide(torch.tensor([[1000]]), tiny.tokenizer, rate=1.0, generator=torch.Generator())
    with pytest.raises(ValueError, match="no ordinary token"):
        shift.hide(torch.tensor([[101, 102]]), tiny.tokenizer, generator=torch.Generator())
    without = copy.copy(tiny.tokenizer)
    maskless = models.TextBackbone("causal", tiny.net, without)
    without.mask_token = None
    with pytest.raises(ValueError, match="tokenizer of 'causal' has no mask token"):
        shift.pretrain_on_texts(maskless, TEXTS, steps=1)
