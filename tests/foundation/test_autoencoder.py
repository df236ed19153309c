"""The autoencoder: shapes, where it starts, the divergence, its latents, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from tlcourse.foundation import Autoencoder, Posterior, ResidualBlock, autoencoder_loss, psnr, to_bytes, to_unit


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small(channels: int = 6, seed: int = 0) -> Autoencoder:
    return Autoencoder(channels, widths=(8, 16), blocks=(1, 1, 1), seed=seed)


def shapes(n: int = 48, size: int = 16, seed: int = 0) -> torch.Tensor:
    """Coloured discs on white: like emoji, they are smooth but for an edge."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = size * (0.3 + 0.4 * torch.rand(n, 2, generator=generator))
    radius = size * (0.15 + 0.2 * torch.rand(n, generator=generator))
    inside = (y - centre[:, 0, None, None]) ** 2 + (x - centre[:, 1, None, None]) ** 2 < radius[:, None, None] ** 2
    colour = 2 * torch.rand(n, 3, 1, 1, generator=generator) - 1
    return torch.where(inside[:, None], colour, torch.ones(()))


def test_latents_are_a_quarter_as_high_and_wide():
    model = small()
    posterior = model.encode(drawn(2, 3, 16, 24))
    assert posterior.mean.shape == posterior.log_variance.shape == (2, 6, 4, 6)
    assert model.decode(posterior.mean).shape == (2, 3, 16, 24)


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(())
    torch.manual_seed(5)
    first, again, other = small(seed=1), small(seed=1), small(seed=2)
    assert torch.equal(torch.rand(()), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.encoder[1].weight, other.encoder[1].weight)


def test_divergence_is_that_of_torch():
    mean, log_variance = drawn(3, 2, 4, 4), drawn(3, 2, 4, 4, seed=1)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(Posterior(mean, log_variance).divergence(), expected)
    assert Posterior(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).divergence() == 0


def test_samples_of_the_posterior_have_its_mean_and_spread():
    mean, log_variance = torch.full((1, 1, 200, 200), 3.0), torch.full((1, 1, 200, 200), math.log(0.25))
    z = Posterior(mean, log_variance).sample(generator=torch.Generator().manual_seed(0))
    assert float(z.mean()) == pytest.approx(3, abs=0.01)
    assert float(z.std()) == pytest.approx(0.5, abs=0.01)


def test_gradients_reach_mean_and_spread_through_a_sample():
    mean, log_variance = drawn(1, 1, 2, 2).requires_grad_(), drawn(1, 1, 2, 2, seed=1).requires_grad_()
    Posterior(mean, log_variance).sample().square().sum().backward()
    assert mean.grad.all()
    assert log_variance.grad.all()


def test_starts_as_principal_components_of_patches():
    pictures, model = shapes(), small(5)
    model.start_from_pca(pictures)
    patches = F.pixel_unshuffle(pictures, 4).permute(0, 2, 3, 1).reshape(-1, 48)
    centred = patches - patches.mean(dim=0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:5].T @ axes[:5] + patches.mean(dim=0)
    rebuilt = model.decode(model.encode(pictures).mean)
    ours = F.pixel_unshuffle(rebuilt, 4).permute(0, 2, 3, 1).reshape(-1, 48)
    torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)


def test_first_latents_have_variance_one_and_little_noise():
    pictures, model = shapes(), small(5)
    model.start_from_pca(pictures)
    posterior = model.encode(pictures)
    variance = posterior.mean.movedim(1, 0).flatten(1).var(dim=1)
    torch.testing.assert_close(variance, torch.ones(5), atol=1e-3, rtol=1e-3)
    assert torch.allclose(posterior.log_variance, torch.tensor(-6.0))


def test_distances_between_first_latents_are_those_between_pictures():
    pictures, model = shapes() + 0.05 * drawn(48, 3, 16, 16), small(48)
    model.start_from_pca(pictures)
    model.calibrate(pictures)
    ours, theirs = (torch.pdist(values.flatten(1)) for values in (model.to_latents(pictures), pictures))
    torch.testing.assert_close(ours / ours.mean(), theirs / theirs.mean(), atol=1e-2, rtol=1e-2)


def test_calibrated_latents_have_mean_zero_and_variance_one_and_come_back():
    pictures, model = 0.3 * shapes() + 0.5, small()
    model.start_from_pca(pictures)
    model.calibrate(pictures)
    latents = model.to_latents(pictures)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert float(latents.square().mean()) == pytest.approx(1, abs=1e-3)
    spread = latents.std(dim=(0, 2, 3))
    components = model.component_spread.flatten()
    torch.testing.assert_close(spread / spread[0], components / components[0], atol=1e-2, rtol=1e-2)
    assert spread[0] > 1.5 * spread[-1]
    expected = model.decode(model.encode(pictures).mean).clamp(-1, 1)
    torch.testing.assert_close(model.to_pictures(latents), expected, atol=1e-4, rtol=1e-4)
    copy = small(seed=3)
    copy.load_state_dict(model.state_dict())
    torch.testing.assert_close(copy.to_latents(pictures), latents)


def test_to_pictures_stays_in_range():
    model = small()
    made = model.to_pictures(50 * drawn(2, 6, 4, 4))
    assert made.abs().max() <= 1


def test_it_learns_more_than_principal_components():
    pictures, model = shapes(), small()
    model.start_from_pca(pictures)
    linear = psnr(model.decode(model.encode(pictures).mean), pictures).mean()
    optimizer, generator = torch.optim.Adam(model.parameters(), lr=3e-3), torch.Generator().manual_seed(0)
    losses = []
    for _ in range(60):
        loss = autoencoder_loss(model, pictures, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert psnr(model.decode(model.encode(pictures).mean), pictures).mean() > linear + 1.5


def test_the_loss_is_its_three_terms():
    model, pictures = small(), shapes(4)
    posterior = model.encode(pictures)
    rebuilt = model.decode(posterior.sample(generator=torch.Generator().manual_seed(2)))
    expected = (rebuilt - pictures).square().mean() + (rebuilt - pictures).abs().mean() + 0.5 * posterior.divergence()
    loss = autoencoder_loss(model, pictures, kl_weight=0.5, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(loss, expected)


def test_psnr_by_hand_and_for_each_picture():
    pictures = torch.zeros(2, 3, 4, 4)
    rebuilt = pictures + torch.tensor([0.2, 0.02])[:, None, None, None]
    torch.testing.assert_close(psnr(rebuilt, pictures), torch.tensor([20.0, 40.0]))


def test_bytes_and_numbers_are_two_ways_to_write_a_picture():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    numbers = to_unit(every)
    assert float(numbers.min()) == -1
    assert float(numbers.max()) == 1
    assert torch.equal(to_bytes(numbers), every)
    assert to_bytes(torch.tensor([[[[-3.0, 3.0]]]])).flatten().tolist() == [0, 255]


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (8, 16)])
def test_a_residual_block_starts_by_handing_its_input_on(inputs: int, outputs: int):
    block, x = ResidualBlock(inputs, outputs, condition_dim=4), drawn(2, inputs, 4, 4)
    torch.testing.assert_close(block(x, drawn(2, 4)), block.skip(x))
    block.conv2.weight.data.normal_()
    assert not torch.allclose(block(x, drawn(2, 4)), block(x, drawn(2, 4, seed=1))), "the condition counts"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Autoencoder(0), "at least 1 channel"),
        (lambda: Autoencoder(4, widths=(12, 16)), "multiples of 8"),
        (lambda: Autoencoder(4, blocks=(1, 0, 1)), "1 block each"),
        (lambda: small().encode(drawn(1, 3, 18, 16)), "multiples of 4"),
        (lambda: small().encode(drawn(1, 1, 16, 16)), r"\(n, 3, h, w\)"),
        (lambda: small().decode(drawn(1, 5, 4, 4)), r"give latents \(n, 6, h, w\)"),
        (lambda: small().start_from_pca(drawn(1, 3, 8, 8)), "at least 48"),
        (lambda: autoencoder_loss(small(), shapes(1), kl_weight=-1.0), "kl_weight is -1.0"),
        (lambda: psnr(drawn(1, 3, 4, 4), drawn(1, 3, 4, 8)), "give pairs"),
    ],
)
def test_bad_input_is_named_with_its_remedy(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
