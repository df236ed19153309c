"""Noise and its removal: schedules, the loss, DDPM and DDIM against diffusers, guidance, the sampler."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.foundation import (
    NO_STYLE,
    Condition,
    NoiseSchedule,
    add_noise,
    averaged,
    clean_and_noise,
    cosine_schedule,
    ddim_step,
    ddpm_step,
    denoising_loss,
    draw_steps,
    drop,
    guided,
    linear_schedule,
    sample,
    sampling_steps,
    velocity,
)

SCHEDULES = {"linear": linear_schedule(), "cosine": cosine_schedule()}
THEIRS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction"}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def wish(n: int) -> Condition:
    return Condition(drawn(n, 5, seed=7), torch.arange(n) % 3)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def theirs(kind: type, name: str, predicts: str, *, same_schedule: bool = True) -> object:
    """A scheduler of diffusers. With the very same ᾱ, because its own have only 32 bits and lose digits in 1 − ᾱ."""
    scheduler = kind(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule=THEIRS[name],
        prediction_type=PREDICTIONS[predicts],
        clip_sample=False,
        timestep_spacing="trailing",
    )
    if same_schedule:
        scheduler.alphas_cumprod = SCHEDULES[name].kept
    return scheduler


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_diffusers(name: str):
    kept = theirs(DDPMScheduler, name, "v", same_schedule=False).alphas_cumprod
    torch.testing.assert_close(SCHEDULES[name].kept.float(), kept, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
def test_signal_falls_and_the_variances_sum_to_one(make, steps: int):
    schedule = make(steps)
    signal, spread = schedule.levels(torch.arange(steps))
    assert signal.shape == (steps, 1, 1, 1)
    assert (signal.flatten().diff() < 0).all()
    assert ((signal > 0) & (signal < 1)).all()
    close(signal**2 + spread**2, torch.ones_like(signal))


def test_linear_schedule_by_hand():
    kept = linear_schedule(3, first=0.1, last=0.3).kept
    close(kept, torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7], dtype=torch.float64))


def test_cosine_schedule_by_hand():
    kept = cosine_schedule(4, offset=0.0).kept
    close(kept[:3], torch.tensor([math.cos(math.pi / 8 * k) ** 2 for k in (1, 2, 3)], dtype=torch.float64))
    assert kept[3] == pytest.approx(kept[2] * 0.001), "β is held at 0.999"


def test_the_clean_picture_is_step_minus_one():
    for schedule in SCHEDULES.values():
        assert schedule.levels(-1) == (1.0, 0.0)
        signal, spread = schedule.levels(torch.tensor([-1, 3]))
        assert signal[0] == 1
        assert spread[0] == 0
        assert schedule.levels(3) == pytest.approx((float(signal[1]), float(spread[1])))


@pytest.mark.parametrize("name", SCHEDULES)
def test_noise_and_velocity_are_those_of_diffusers(name: str):
    x, noise, t = drawn(6, 2, 4, 4), drawn(6, 2, 4, 4, seed=1), torch.tensor([0, 1, 50, 400, 900, 999])
    scheduler, schedule = theirs(DDPMScheduler, name, "v"), SCHEDULES[name]
    close(add_noise(x, t, noise=noise, schedule=schedule), scheduler.add_noise(x, noise, t))
    close(velocity(x, t, noise=noise, schedule=schedule), scheduler.get_velocity(x, noise, t))


@settings(max_examples=30, deadline=None)
@given(t=st.integers(0, 999), name=st.sampled_from(sorted(SCHEDULES)), seed=st.integers(0, 1000))
def test_what_was_put_in_comes_out(t: int, name: str, seed: int):
    schedule, x, noise = SCHEDULES[name], drawn(2, 1, 4, 4, seed=seed), drawn(2, 1, 4, 4, seed=seed + 1)
    noisy = add_noise(x, t, noise=noise, schedule=schedule)
    v = velocity(x, t, noise=noise, schedule=schedule)
    clean, epsilon = clean_and_noise(noisy, v, t, schedule=schedule, predicts="v")
    close(clean, x)
    close(epsilon, noise)
    clean, epsilon = clean_and_noise(noisy, noise, t, schedule=schedule, predicts="epsilon")
    assert torch.equal(epsilon, noise)
    signal, _ = schedule.levels(t)
    torch.testing.assert_close(clean * signal, x * signal, atol=1e-5, rtol=1e-5)  # x / √ᾱ has few digits at the end


@pytest.mark.parametrize("t", [0, 1, 60, 500, 998])
@pytest.mark.parametrize(("name", "predicts"), [("linear", "epsilon"), ("linear", "v"), ("cosine", "v")])
def test_one_ancestral_step_is_that_of_diffusers(name: str, predicts: str, t: int):
    x, output = drawn(2, 3, 4, 4), drawn(2, 3, 4, 4, seed=1)
    scheduler = theirs(DDPMScheduler, name, predicts)
    expected = scheduler.step(output, t, x, generator=torch.Generator().manual_seed(5)).prev_sample
    noise = drawn(2, 3, 4, 4, seed=5)
    ours = ddpm_step(x, output, t=t, previous=t - 1, schedule=SCHEDULES[name], noise=noise, predicts=predicts)
    close(ours, expected)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("place", [0, 7, 20, 39])
@pytest.mark.parametrize(("name", "predicts"), [("linear", "epsilon"), ("linear", "v"), ("cosine", "v")])
def test_one_ddim_step_is_that_of_diffusers(name: str, predicts: str, place: int, eta: float):
    x, output, noise = drawn(2, 3, 4, 4), drawn(2, 3, 4, 4, seed=1), drawn(2, 3, 4, 4, seed=2)
    scheduler, places = theirs(DDIMScheduler, name, predicts), [*sampling_steps(SCHEDULES[name], 40), -1]
    scheduler.set_timesteps(40)
    expected = scheduler.step(output, places[place], x, eta=eta, variance_noise=noise).prev_sample
    ours = ddim_step(
        x,
        output,
        t=places[place],
        previous=places[place + 1],
        schedule=SCHEDULES[name],
        predicts=predicts,
        eta=eta,
        noise=noise,
    )
    close(ours, expected)


@pytest.mark.parametrize("steps", [1, 7, 40, 1000])
def test_steps_of_sampling_are_those_of_diffusers(steps: int):
    scheduler = theirs(DDIMScheduler, "linear", "v")
    scheduler.set_timesteps(steps)
    assert sampling_steps(SCHEDULES["linear"], steps) == scheduler.timesteps.tolist()


def test_ddim_with_full_noise_is_ddpm():
    x, output, noise = drawn(2, 1, 4, 4), drawn(2, 1, 4, 4, seed=1), drawn(2, 1, 4, 4, seed=2)
    step = {"t": 400, "previous": 350, "schedule": SCHEDULES["cosine"], "noise": noise}
    close(ddim_step(x, output, eta=1.0, **step), ddpm_step(x, output, **step))


@pytest.mark.parametrize("steps", [1, 3, 25])
def test_ddim_finds_the_picture_when_the_network_knows_it(steps: int):
    schedule, x = SCHEDULES["cosine"], drawn(2, 1, 4, 4, seed=3)

    def oracle(noisy, t, condition):
        signal, spread = schedule.levels(t)
        noise = (noisy - signal * torch.cat([x, x])) / spread
        return velocity(torch.cat([x, x]), t, noise=noise, schedule=schedule)

    close(sample(oracle, wish(2), shape=(1, 4, 4), schedule=schedule, steps=steps, guidance=3.0), x)


def test_ancestral_sampling_of_a_normal_distribution_keeps_its_mean_and_variance():
    """The best guess of noise for data N(2, 0.5²) is known, so that the samples must have that distribution."""
    schedule, generator = linear_schedule(200, first=1e-4, last=0.1), torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, 1, 1, generator=generator)
    for t in reversed(range(200)):
        signal, spread = schedule.levels(t)
        epsilon = spread * (x - signal * 2) / (signal**2 * 0.25 + spread**2)
        noise = torch.randn(x.shape, generator=generator)
        x = ddpm_step(x, epsilon, t=t, previous=t - 1, schedule=schedule, noise=noise, predicts="epsilon")
    assert float(x.mean()) == pytest.approx(2, abs=0.04)
    assert float(x.std()) == pytest.approx(0.5, abs=0.03)


def test_guidance_at_its_three_marks():
    with_words, without = drawn(2, 1, 4, 4), drawn(2, 1, 4, 4, seed=1)
    close(guided(with_words, without, weight=1), with_words)
    assert torch.equal(guided(with_words, without, weight=0), without)
    close(guided(with_words, without, weight=3), 3 * with_words - 2 * without)


def test_the_sampler_guides_the_output_of_the_network():
    """A network whose output is a constant of the condition makes visible what was asked, and with which weight."""
    schedule, asked = cosine_schedule(10), []

    def network(noisy, t, condition):
        asked.append((t.tolist(), condition))
        return condition.text[:, :1, None, None].expand_as(noisy) + 0 * noisy

    wishes = Condition(torch.full((2, 5), 1.0), torch.tensor([0, 2]))
    made = sample(network, wishes, shape=(1, 2, 2), schedule=schedule, steps=1, guidance=2.5, seed=4)
    (steps, condition), *others = asked
    assert not others
    assert steps == [9] * 4
    assert condition.style.tolist() == [0, 2, NO_STYLE, NO_STYLE]
    assert condition.text.sum(dim=1).tolist() == [5, 5, 0, 0]
    x = drawn(2, 1, 2, 2, seed=4)
    close(made, ddim_step(x, torch.full_like(x, 2.5), t=9, previous=-1, schedule=schedule))


def test_samples_are_decided_by_their_seed():
    def network(noisy, t, condition):
        return 0.3 * noisy + condition.text.mean(dim=1)[:, None, None, None]

    arguments = {"shape": (2, 4, 4), "schedule": SCHEDULES["cosine"], "steps": 5}
    first = sample(network, wish(3), seed=1, **arguments)
    torch.manual_seed(99)
    assert torch.equal(first, sample(network, wish(3), seed=1, **arguments))
    assert not torch.allclose(first, sample(network, wish(3), seed=2, **arguments))
    assert first.shape == (3, 2, 4, 4)
    assert not first.requires_grad
    assert not torch.allclose(first[0], first[1]), "every picture starts from noise of its own"


@pytest.mark.parametrize("predicts", ["epsilon", "v"])
def test_the_loss_is_zero_for_a_network_that_knows_and_one_for_one_that_guesses_zero(predicts: str):
    schedule, x = SCHEDULES["cosine"], drawn(64, 2, 4, 4)

    def oracle(noisy, t, condition):
        signal, spread = schedule.levels(t)
        noise = (noisy - signal * x) / spread
        return noise if predicts == "epsilon" else velocity(x, t, noise=noise, schedule=schedule)

    def loss(network):
        generator = torch.Generator().manual_seed(3)
        return denoising_loss(network, x, wish(64), schedule=schedule, predicts=predicts, generator=generator)

    assert loss(oracle) < 1e-6
    assert float(loss(lambda noisy, t, condition: 0 * noisy)) == pytest.approx(1, abs=0.1)
    assert torch.equal(loss(lambda noisy, t, condition: 0.5 * noisy), loss(lambda noisy, t, condition: 0.5 * noisy))


def test_the_loss_hands_condition_and_steps_on():
    seen = []

    def network(noisy, t, condition):
        seen.append((t, condition))
        return noisy

    condition = wish(50)
    denoising_loss(network, drawn(50, 1, 2, 2), condition, schedule=SCHEDULES["cosine"])
    ((t, handed),) = seen
    assert handed is condition
    assert t.min() < 20
    assert t.max() >= 980


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 70), steps=st.integers(1, 1000), seed=st.integers(0, 100))
def test_drawn_steps_lie_evenly_in_the_schedule(n: int, steps: int, seed: int):
    t = draw_steps(n, cosine_schedule(steps), generator=torch.Generator().manual_seed(seed))
    assert t.dtype == torch.int64
    slots = (t.double() / steps * n + 1e-9).floor().long().sort().values
    assert ((slots - torch.arange(n)).abs() <= math.ceil(n / steps)).all(), "one step in each n-th of the schedule"
    assert t.min() >= 0
    assert t.max() < steps


def test_drawn_steps_come_in_random_order():
    t = draw_steps(64, SCHEDULES["cosine"], generator=torch.Generator().manual_seed(0))
    assert (t.diff() < 0).any()
    every = torch.cat([draw_steps(10, cosine_schedule(10)) for _ in range(5)])
    assert torch.bincount(every, minlength=10).tolist() == [5] * 10


def test_conditions_are_dropped_at_their_rate_and_whole():
    condition = Condition(drawn(4000, 5), torch.zeros(4000, dtype=torch.int64))
    dropped = drop(condition, 0.1, generator=torch.Generator().manual_seed(0))
    gone = dropped.style == NO_STYLE
    assert float(gone.float().mean()) == pytest.approx(0.1, abs=0.015)
    assert not dropped.text[gone].any()
    assert torch.equal(dropped.text[~gone], condition.text[~gone])
    assert condition.text.any(dim=1).all(), "the condition that was handed over is not changed"
    assert not (drop(condition, 0.0).style == NO_STYLE).any()
    assert (drop(condition, 1.0).style == NO_STYLE).all()


def test_conditions_are_taken_and_joined_row_by_row():
    both = wish(3).joined(wish(3).empty())
    assert both.style.tolist() == [0, 1, 2, NO_STYLE, NO_STYLE, NO_STYLE]
    part = both.take(torch.tensor([2, 4]))
    assert part.style.tolist() == [2, NO_STYLE]
    assert torch.equal(part.text, both.text[[2, 4]])


def test_the_average_follows_quickly_at_first_and_slowly_later():
    model = torch.nn.Linear(1, 1, bias=False)
    average = averaged(model, decay=0.9)
    expected = None
    for k in range(120):
        with torch.no_grad():
            model.weight.fill_(float(k % 7))
        average.update_parameters(model)
        share = max(0.1, 9 / (10 + k))
        expected = float(k % 7) if expected is None else expected + share * (k % 7 - expected)
    assert float(average.module.weight.detach()) == pytest.approx(expected, rel=1e-4)


def one_step(**changes: object) -> torch.Tensor:
    step = {"t": 5, "previous": 4, "schedule": SCHEDULES["cosine"]} | changes
    return ddim_step(drawn(1, 1, 2, 2), drawn(1, 1, 2, 2), **step)


def one_sample(**changes: object) -> torch.Tensor:
    arguments = {"shape": (1, 2, 2), "schedule": SCHEDULES["cosine"]} | changes
    return sample(lambda noisy, t, condition: noisy, wish(1), **arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_schedule(0), "give 1 step or more"),
        (lambda: linear_schedule(first=0.3, last=0.2), "first <= last"),
        (lambda: cosine_schedule(largest=1.0), "largest=1.0"),
        (lambda: NoiseSchedule(torch.tensor([0.5, 0.5])), "must fall"),
        (lambda: NoiseSchedule(torch.tensor([1.0, 0.5])), "below 1"),
        (lambda: SCHEDULES["cosine"].levels(1000), "0 to 999"),
        (lambda: SCHEDULES["cosine"].levels(torch.tensor([3, -2])), "t goes from -2 to 3"),
        (lambda: one_step(previous=5), "a step goes down"),
        (lambda: one_step(previous=-2), "a step goes down"),
        (lambda: one_step(predicts="x0"), "choose from: epsilon, v"),
        (lambda: one_step(eta=0.5), "together with noise="),
        (lambda: one_step(eta=1.5, noise=drawn(1, 1, 2, 2)), "up to 1"),
        (lambda: one_sample(guidance=-1.0), "guidance is -1.0"),
        (lambda: one_sample(guidance=float("nan")), "guidance is nan"),
        (lambda: guided(drawn(1, 1, 2, 2), drawn(1, 1, 2, 2), weight=-0.5), "guidance is -0.5"),
        (lambda: one_sample(steps=0), "give 1 to 1000"),
        (lambda: one_sample(steps=1001), "give 1 to 1000"),
        (lambda: drop(wish(2), 1.5), "share of conditions"),
        (lambda: averaged(torch.nn.Linear(1, 1), decay=1.0), "less than 1"),
        (
            lambda: denoising_loss(torch.sin, drawn(1, 1, 2, 2), None, schedule=SCHEDULES["cosine"], predicts="x0"),
            "predicts is 'x0'",
        ),
    ],
)
def test_bad_input_is_named_with_its_remedy(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_numbers_keep_their_type(dtype: torch.dtype):
    clean, noise, t = torch.zeros(2, 1, 2, 2, dtype=dtype), torch.ones(2, 1, 2, 2, dtype=dtype), torch.tensor([3, 7])
    schedule = cosine_schedule(10)
    noisy = add_noise(clean, t, noise=noise, schedule=schedule)
    target = velocity(clean, t, noise=noise, schedule=schedule)
    parts = clean_and_noise(noisy, target, t, schedule=schedule)
    assert {x.dtype for x in (noisy, target, *parts)} == {dtype}
