"""One block for both uses: equal to transformers' GPT-2, blind for the future, blind for padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from tlcourse.foundation import PAD, Transformer, count_parameters
from tlcourse.foundation.transformer import visible_tokens

SIZES = {"context": 24, "width": 32, "layers": 3, "heads": 4}
VOCABULARY = 71


def ids(n: int = 3, tokens: int = 17, seed: int = 0) -> Tensor:
    return torch.randint(3, VOCABULARY, (n, tokens), generator=torch.Generator().manual_seed(seed))


def model(*, causal: bool, **others: float) -> Transformer:
    """With weights far from their start, so that every part of it matters."""
    net = Transformer(VOCABULARY, causal=causal, **SIZES, **others).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return net


def as_gpt2(ours: Transformer) -> GPT2LMHeadModel:
    """transformers' GPT-2 with our weights; its linear layers are stored the other way round."""
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=SIZES["context"],
        n_embd=SIZES["width"],
        n_layer=SIZES["layers"],
        n_head=SIZES["heads"],
        bos_token_id=0,
        eos_token_id=1,
    )
    theirs = GPT2LMHeadModel(config).eval()
    body = theirs.transformer
    body.wte.weight.data.copy_(ours.tokens.weight)
    body.wpe.weight.data.copy_(ours.positions.weight)
    body.ln_f.load_state_dict(ours.norm.state_dict())
    for block, other in zip(ours.blocks, body.h, strict=True):
        other.ln_1.load_state_dict(block.norm1.state_dict())
        other.ln_2.load_state_dict(block.norm2.state_dict())
        pairs = [
            (block.attention.qkv, other.attn.c_attn),
            (block.attention.out, other.attn.c_proj),
            (block.mlp[0], other.mlp.c_fc),
            (block.mlp[2], other.mlp.c_proj),
        ]
        for mine, conv in pairs:
            conv.weight.data.copy_(mine.weight.T)
            conv.bias.data.copy_(mine.bias)
    return theirs


@torch.no_grad()
def test_causal_logits_are_those_of_gpt2() -> None:
    ours = model(causal=True)
    theirs = as_gpt2(ours)
    torch.testing.assert_close(ours(ids()), theirs(ids()).logits, rtol=1e-4, atol=1e-5)
    mask = torch.arange(17) < torch.tensor([17, 9, 4])[:, None]
    found, wanted = ours(ids(), mask), theirs(ids(), attention_mask=mask.long()).logits
    torch.testing.assert_close(found[mask], wanted[mask], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_as_many_parameters_as_gpt2() -> None:
    ours = model(causal=True)
    assert count_parameters(ours) == sum(p.numel() for p in as_gpt2(ours).parameters())


@torch.no_grad()
@pytest.mark.parametrize("place", [0, 8, 16])
def test_future_tokens_have_no_say(place: int) -> None:
    changed = ids()
    changed[:, place] = (changed[:, place] - 3 + 5) % (VOCABULARY - 3) + 3
    causal, both = model(causal=True), model(causal=False)
    before, after = causal(ids()), causal(changed)
    assert torch.equal(before[:, :place], after[:, :place])
    assert (before[:, place:] - after[:, place:]).abs().amax(dim=(0, 2)).min() > 1e-3
    if place:
        assert (both(ids())[:, 0] - both(changed)[:, 0]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_padding_has_no_say(causal: bool) -> None:
    net = model(causal=causal)
    short = ids(1, 6)
    padded = torch.cat([short, torch.full((1, 5), PAD)], dim=1)
    other = torch.cat([short, torch.full((1, 5), 9)], dim=1)
    mask = torch.arange(11)[None] < 6
    torch.testing.assert_close(net(padded, mask)[:, :6], net(short), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net(other, mask)[:, :6], net(short), rtol=1e-4, atol=1e-5)
    if not causal:
        assert (net(padded)[:, :6] - net(short)).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_a_full_mask_changes_nothing(causal: bool) -> None:
    net = model(causal=causal)
    torch.testing.assert_close(net(ids(), torch.ones(3, 17, dtype=torch.bool)), net(ids()), rtol=1e-4, atol=1e-5)


def test_who_sees_whom() -> None:
    mask = torch.tensor([[True, True, False]])
    assert visible_tokens(mask, causal=False)[0, 0].tolist() == [[True, True, False]] * 3
    assert visible_tokens(mask, causal=True)[0, 0].tolist() == [
        [True, False, False],
        [True, True, False],
        [True, True, False],
    ]


def test_the_start_of_training() -> None:
    net = Transformer(VOCABULARY, causal=True, seed=3, **SIZES)
    loss = nn.functional.cross_entropy(net(ids()).flatten(0, 1), ids(seed=9).flatten()).item()
    assert abs(loss - torch.log(torch.tensor(float(VOCABULARY))).item()) < 0.3  # it knows nothing, and says so
    usual = 0.02 * (768 / 32) ** 0.5
    assert net.tokens.weight.std().item() == pytest.approx(usual, rel=0.05)
    assert net.blocks[0].attention.out.weight.std().item() == pytest.approx(usual / 6**0.5, rel=0.05)
    again, other = (Transformer(VOCABULARY, causal=True, seed=seed, **SIZES) for seed in (3, 4))
    assert torch.equal(net.tokens.weight, again.tokens.weight)
    assert not torch.equal(net.tokens.weight, other.tokens.weight)


def test_dropout_acts_in_training_only() -> None:
    net = model(causal=True, dropout=0.5)
    assert torch.equal(net(ids()), net(ids()))
    net.train()
    assert not torch.equal(net(ids()), net(ids()))


@pytest.mark.usefixtures("unchecked")
def test_errors() -> None:
    net = model(causal=True)
    with pytest.raises(ValueError, match="25 tokens and the context is 24; cut it"):
        net(ids(1, 25))
    with pytest.raises(ValueError, match="at least one of each"):
        net(torch.zeros(1, 0, dtype=torch.int64))
    with pytest.raises(ValueError, match="the vocabulary has 71 tokens"):
        net(torch.tensor([[5, 71]]))
    with pytest.raises(ValueError, match="fill texts up at their end"):
        net(ids(1, 3), torch.tensor([[False, True, True]]))
    with pytest.raises(ValueError, match="heads=5; give a divisor"):
        Transformer(9, context=4, width=32, layers=1, heads=5, causal=True)
    with pytest.raises(ValueError, match="layers=0: each must be 1 or more"):
        Transformer(9, context=4, width=32, layers=0, heads=4, causal=True)
