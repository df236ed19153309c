"""The U-Net: what it is told counts, what it is told about one picture concerns that picture alone, and it learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tlcourse.foundation import (
    NO_STYLE,
    Condition,
    ContextAttention,
    UNet,
    cosine_schedule,
    denoising_loss,
)
from tlcourse.foundation.unet import TimeEmbedding
from tlcourse.peft import count_parameters, inject_lora, merge


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small(seed: int = 0) -> UNet:
    return UNet(3, n_styles=2, text_dim=6, widths=(8, 16), blocks=1, embedding=16, context=8, tokens=2, seed=seed)


def stirred(model: nn.Module) -> nn.Module:
    """Random numbers everywhere: layers that start at zero would hide what they do."""
    generator = torch.Generator().manual_seed(9)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def inputs(n: int = 3) -> tuple[torch.Tensor, torch.Tensor, Condition]:
    return drawn(n, 3, 8, 8), torch.arange(n) * 100, Condition(drawn(n, 6, seed=1), torch.arange(n) % 2)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 6), (2, 2)])
def test_the_output_has_the_shape_of_the_latents(height: int, width: int):
    _, t, condition = inputs()
    assert small()(drawn(3, 3, height, width), t, condition).shape == (3, 3, height, width)


def test_time_words_and_style_all_count():
    model, (noisy, t, condition) = stirred(small()), inputs()
    base = model(noisy, t, condition)
    for changed in (
        model(noisy, t + 1, condition),
        model(noisy, t, condition._replace(text=drawn(3, 6, seed=2))),
        model(noisy, t, condition._replace(style=1 - condition.style)),
        model(noisy, t, condition.empty()),
    ):
        difference = (changed - base).abs().amax(dim=(1, 2, 3))
        assert (difference > 1e-3).all()


@pytest.mark.parametrize("off", ["text_tokens", "text_summary"])
def test_words_count_both_as_tokens_and_as_one_vector(off: str):
    model, (noisy, t, condition) = stirred(small()), inputs()
    getattr(model.wish, off).weight.data.zero_()
    other = condition._replace(text=drawn(3, 6, seed=2))
    assert not torch.allclose(model(noisy, t, condition), model(noisy, t, other), atol=1e-4)


@pytest.mark.parametrize("off", ["style_token", "style_summary"])
def test_the_style_counts_both_as_a_token_and_in_the_vector(off: str):
    model, (noisy, t, condition) = stirred(small()), inputs()
    getattr(model.wish, off).weight.data.zero_()
    other = condition._replace(style=1 - condition.style)
    assert not torch.allclose(model(noisy, t, condition), model(noisy, t, other), atol=1e-4)


def test_pictures_of_a_batch_do_not_see_each_other():
    model, (noisy, t, condition) = stirred(small()), inputs()
    alone = model(noisy[1:2], t[1:2], condition.take(torch.tensor([1])))
    torch.testing.assert_close(model(noisy, t, condition)[1:2], alone, atol=1e-4, rtol=1e-4)


def test_texts_count_by_their_direction():
    model, (noisy, t, condition) = stirred(small()), inputs()
    longer = condition._replace(text=3 * condition.text)
    torch.testing.assert_close(model(noisy, t, longer), model(noisy, t, condition), atol=1e-4, rtol=1e-4)


def test_every_weight_gets_a_gradient():
    model, (noisy, t, condition) = stirred(small()), inputs()
    model(noisy, t, condition.joined(condition.empty()).take(torch.tensor([0, 1, 5]))).square().sum().backward()
    assert [name for name, weight in model.named_parameters() if not weight.grad.any()] == []


def test_attention_mixes_positions_and_context_as_the_formula_says():
    layer, x, context = stirred(ContextAttention(16, 8, heads=2)), drawn(2, 16, 2, 3), drawn(2, 4, 8, seed=1)
    tokens = layer.norm(x).flatten(2).transpose(1, 2)
    q, k, v = layer.to_q(tokens), layer.to_k(tokens), layer.to_v(tokens)
    k, v = torch.cat([k, layer.context_k(context)], 1), torch.cat([v, layer.context_v(context)], 1)
    heads = []
    for part in (slice(0, 8), slice(8, 16)):
        weights = (q[:, :, part] @ k[:, :, part].transpose(1, 2) / 8**0.5).softmax(dim=-1)
        heads.append(weights @ v[:, :, part])
    expected = x + layer.to_out(torch.cat(heads, dim=-1)).transpose(1, 2).reshape(2, 16, 2, 3)
    torch.testing.assert_close(layer(x, context), expected, atol=1e-4, rtol=1e-4)


def test_attention_starts_by_handing_its_input_on():
    x = drawn(2, 16, 2, 3)
    assert torch.equal(ContextAttention(16, 8)(x, drawn(2, 4, 8)), x)


def test_waves_of_time_tell_all_steps_apart():
    made = TimeEmbedding(8)
    angles = torch.arange(1000)[:, None] * made.rates
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    distances = torch.cdist(waves, waves) + 9 * torch.eye(1000)
    assert distances.min() > 0.1
    assert made.rates[0] == 1
    assert "rates" not in made.state_dict()


def test_it_learns_which_picture_belongs_to_which_words():
    model, schedule = small(), cosine_schedule(100)
    pictures = torch.stack([torch.full((3, 4, 4), -1.0), torch.full((3, 4, 4), 1.0)])
    condition = Condition(drawn(2, 6), torch.zeros(2, dtype=torch.int64))
    optimizer, generator = torch.optim.Adam(model.parameters(), lr=5e-3), torch.Generator().manual_seed(0)
    losses = []
    for _ in range(60):
        rows = torch.arange(32) % 2
        loss = denoising_loss(model, pictures[rows], condition.take(rows), schedule=schedule, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    with torch.no_grad():
        guess = -model(drawn(2, 3, 4, 4, seed=3), torch.tensor([99, 99]), condition)  # v is almost −x_0 at the end
    assert guess[0].mean() < -0.5
    assert guess[1].mean() > 0.5


def test_it_takes_low_rank_adapters():
    model, (noisy, t, condition) = stirred(small()), inputs()
    before = model(noisy, t, condition)
    inject_lora(model, ("to_q", "to_v", "context_v", "film"), rank=2, alpha=2)
    trained, total = count_parameters(model)
    assert 0 < trained < 0.2 * total
    torch.testing.assert_close(model(noisy, t, condition), before)
    for name, parameter in model.named_parameters():
        if name.endswith(".B"):
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    changed = model(noisy, t, condition)
    assert not torch.allclose(changed, before, atol=1e-3)
    torch.testing.assert_close(merge(model)(noisy, t, condition), changed, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda noisy, t, c: (noisy[:, :2], t, c), r"give \(n, 3, h, w\)"),
        (lambda noisy, t, c: (noisy[:, :, :7], t, c), "h and w even"),
        (lambda noisy, t, c: (noisy, t[:2], c), "give as many of each"),
        (lambda noisy, t, c: (noisy, t, c._replace(text=c.text[:2])), "2 texts"),
        (lambda noisy, t, c: (noisy, t, c._replace(style=c.style[:1])), "1 styles"),
        (lambda noisy, t, c: (noisy, t, c._replace(text=c.text[:, :4])), "made for 6"),
        (lambda noisy, t, c: (noisy, t, c._replace(style=c.style + 1)), "give 0 to 1, or -1"),
        (lambda noisy, t, c: (noisy, t, c._replace(style=c.style + NO_STYLE - 1)), "give 0 to 1, or -1"),
    ],
)
def test_bad_input_is_named_with_its_remedy(change, message: str):
    with pytest.raises(ValueError, match=message):
        small()(*change(*inputs()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNet(3, n_styles=0), "n_styles=0"),
        (lambda: UNet(3, n_styles=2, widths=(10, 16)), "multiples of 8"),
        (lambda: ContextAttention(16, 8, heads=3), "give a divisor"),
    ],
)
def test_an_impossible_architecture_is_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
