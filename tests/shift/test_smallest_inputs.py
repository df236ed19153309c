"""The smallest input that a function takes works, the next smaller one has an error of ours, and seeds are 0."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from tlcourse import shift
from tlcourse.shift.diagnose import shares_test
from tlcourse.shift.inputs import domain, domains, same_classes, same_width, shares, whole_numbers


def test_every_seed_is_0_by_default():
    defaults = {
        f"{name} {parameter.name}": parameter.default
        for name, thing in ((name, getattr(shift, name)) for name in shift.__all__)
        if callable(thing)
        for parameter in inspect.signature(thing).parameters.values()
        if parameter.name == "seed" and parameter.default is not parameter.empty
    }
    assert len(defaults) > 5
    assert {name: value for name, value in defaults.items() if value != 0} == {}


def test_a_confusion_matrix_of_one_row(unchecked):
    one, none = torch.tensor([1]), torch.empty(0, dtype=torch.long)
    assert shift.joint_confusion(one, one, n_classes=2).tolist() == [[0, 0], [0, 1]]
    with pytest.raises(ValueError, match="predictions must be class numbers from 0 to 1, at least one"):
        shift.joint_confusion(none, none, n_classes=2)


def test_the_fisher_of_one_example(unchecked):
    model, x = nn.Linear(3, 2), torch.ones(1, 3)
    assert (shift.diagonal_fisher(model, x, torch.tensor([1]))["weight"] > 0).all()
    with pytest.raises(ValueError, match="0 inputs and 0 labels; give one for each, at least one"):
        shift.diagonal_fisher(model, x[:0], torch.empty(0, dtype=torch.long))


@pytest.mark.parametrize("values", [torch.full((2, 2), 0.25), torch.ones(1), torch.tensor([0.5, torch.nan])])
def test_shares_are_one_for_each_of_two_classes_or_more(values: torch.Tensor):
    with pytest.raises(ValueError, match=r"wanted are .* give one share for each class, two classes or more"):
        shares(values, "wanted")
    assert shares(torch.tensor([0.25, 0.75]), "wanted").tolist() == [0.25, 0.75]


@pytest.mark.parametrize("bad", [{"dim": 0}, {"n_classes": 1}, {"lr": 0.0}, {"lr": -0.1}, {"lr": float("nan")}])
def test_the_smallest_online_model(bad: dict[str, float]):
    smallest = {"dim": 1, "n_classes": 2, "lr": 1e-3}
    assert shift.OnlineLogistic(**smallest).predict(torch.ones(1)) == 0
    with pytest.raises(ValueError, match="give 1, 2 or more, and a rate above 0"):
        shift.OnlineLogistic(**(smallest | bad))


def test_two_examples_are_enough_for_statistics(classifier, pictures):
    model, two = classifier(), pictures(2)
    shift.adapt_batch_norm(model, two)
    features = model.backbone.conv(two.pixels.float() / 255)
    torch.testing.assert_close(model.backbone.norm.running_mean.cpu(), features.detach().cpu().mean(dim=(0, 2, 3)))


def test_a_stream_of_one_item(unchecked):
    one = torch.ones(1, 1), torch.tensor([0])
    assert shift.prequential(shift.OnlineLogistic(1, 2), *one).right.tolist() == [1.0]
    with pytest.raises(ValueError, match="0 inputs"):
        shift.prequential(shift.OnlineLogistic(1, 2), one[0][:0], one[1][:0])


def test_certain_predictions_are_probabilities():
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert shift.em_priors(sure, torch.tensor([0.5, 0.5])).target.tolist() == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("swap", [False, True])
def test_a_class_that_only_one_domain_predicts(swap: bool):
    domains = (torch.tensor([0, 0, 0, 1, 1, 1]), torch.zeros(6, dtype=torch.long))
    several = shares_test(*(reversed(domains) if swap else domains))
    assert several == pytest.approx(chi2.sf(4.0, df=1))  # by hand: (3 − 1.5)² / 1.5 · 2 + (3 − 4.5)² / 4.5 · 2
    assert shares_test(domains[1], domains[1]) == 1.0


def test_the_mmd_of_pairs_by_hand():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [5.0]])
    kernel = {gap: torch.exp(torch.tensor(-(gap**2) / (2 * 1.5**2))) for gap in (1.0, 2.0, 5.0)}
    expected = kernel[1.0] + kernel[2.0] - kernel[5.0] - kernel[2.0]
    torch.testing.assert_close(shift.linear_mmd2(x, y, bandwidth=1.5), expected)


def test_the_next_class_is_the_one_above():
    labels = torch.arange(60) % 3
    made = shift.concept_shift(torch.arange(60.0), labels, share=1.0, n_classes=3)
    assert made.target_labels.tolist() == ((labels[made.target] + 1) % 3).tolist()


HALVES = torch.tensor([[0.5, 0.5]])
ROWS = torch.arange(20.0)[:, None] % 7
CLASSES = torch.arange(20) % 2
LIMITS: dict[str, tuple[Callable[[Any], Any], list[Any], list[Any], str]] = {
    # what is called, values that are just allowed, values that are just not, and what the error says
    "adwin delta": (lambda v: shift.Adwin(delta=v), [1e-9, 0.999], [0.0, 1.0, -0.5, 1.5, math.nan], "delta is"),
    "adwin clock": (lambda v: shift.Adwin(clock=v), [1], [0], "clock is 0"),
    "adwin most": (lambda v: shift.Adwin(most=v), [1], [0], "most 0"),
    "adwin least": (lambda v: shift.Adwin(least=v), [1], [0], "least 0"),
    "page threshold": (lambda v: shift.PageHinkley(threshold=v), [0.01], [0.0, -0.5, math.nan], "threshold is"),
    "page forget": (lambda v: shift.PageHinkley(forget=v), [1e-9, 1.0], [0.0, 1.001, -0.5, 1.5], "and forget"),
    "ramp": (shift.ramp, [0.0, 1.0], [-0.001, 1.001, math.nan], "progress is"),
    "ewc weight": (lambda v: shift.EWC(weight=v), [0.0], [-0.001], "weight is"),
    "ewc examples": (lambda v: shift.EWC(examples=v), [1], [0], "examples 0"),
    "lwf weight": (lambda v: shift.LwF(weight=v), [0.0, 0.5], [-0.001], "weight is"),
    "lwf temperature": (lambda v: shift.LwF(temperature=v), [0.01], [0.0, -1.0, math.nan], "temperature"),
    "reservoir": (shift.Reservoir, [1], [0], "capacity is 0"),
    "replay batch": (lambda v: shift.Replay(batch_size=v), [1], [0], "batch_size is 0"),
    "coral ridge": (lambda v: shift.coral(ROWS, ROWS, ridge=v), [0.01], [0.0, -0.5, math.nan], "ridge is"),
    "standardise epsilon": (lambda v: shift.standardise(ROWS, epsilon=v), [1e-9], [0.0, -0.5, math.nan], "epsilon is"),
    "kmm largest": (lambda v: shift.kmm(ROWS, ROWS, largest=v, steps=1), [1.0], [0.999], "largest is"),
    "kmm ridge": (lambda v: shift.kmm(ROWS, ROWS, ridge=v, steps=1), [0.0], [-0.001, math.nan], "and ridge"),
    "folds": (lambda v: shift.out_of_fold_ratio(ROWS[:6], ROWS, folds=v), [2, 3], [1, 4], "give 2 to 3"),
    "permutations": (lambda v: shift.mmd_test(ROWS, ROWS, permutations=v), [19], [18], "fewer than 19"),
    "flatten power": (lambda v: shift.flatten(torch.ones(3), v), [0.0, 1.0], [-0.001, 1.001, math.nan], "power is"),
    "clip": (lambda v: shift.clip(torch.ones(3), v), [0.01], [0.0, -0.5, math.nan], "largest is"),
    "surest": (lambda v: shift.surest(HALVES, v), [1e-9, 1.0], [0.0, 1.001, -0.5, math.nan], "share is"),
    "rounds": (lambda v: shift.self_train(ROWS, CLASSES, ROWS, rounds=v), [1], [0], "rounds is 0"),
    "concept share": (
        lambda v: shift.concept_shift(ROWS[:, 0], CLASSES, share=v, n_classes=2),
        [0.0, 1.0],
        [-0.001, 1.001, math.nan],
        "share is",
    ),
    "source prior": (lambda v: shift.moved_threshold(v, 0.5), [0.001, 0.999], [0.0, 1.0, -0.5, 1.5], "source_prior is"),
    "target prior": (lambda v: shift.moved_threshold(0.5, v), [0.001, 0.999], [0.0, 1.0, -0.5, 1.5], "target_prior is"),
    "delay": (lambda v: shift.prequential(shift.OnlineLogistic(1, 2), ROWS, CLASSES, delay=v), [0], [-1], "delay -1"),
    "p-values": (lambda v: shift.holm(torch.tensor([0.5, v])), [0.0, 1.0], [-0.001, 1.001, math.inf], "p_values"),
}


SHAPES: dict[str, tuple[Callable[[Tensor], Any], list[Tensor], list[Tensor], str]] = {
    "domain": (
        lambda v: domain(v, "rows"),
        [torch.ones(2, 1)],
        [torch.ones(1, 1), torch.ones(2), torch.ones(3, 2, 2), torch.ones(3, 0), torch.ones(3, 2, dtype=torch.long)],
        "rows is .* expected floats .* n ≥ 2",
    ),
    "domains": (
        lambda v: domains(torch.ones(2, 3), v),
        [torch.ones(2, 3)],
        [torch.ones(1, 3), torch.ones(3), torch.ones(3, 3, 3)],
        "target is .* expected floats .* n ≥ 2",
    ),
    "target width": (
        lambda v: same_width(torch.ones(2, 3), v),
        [torch.ones(2, 3)],
        [torch.ones(1, 3), torch.ones(3), torch.ones(3, 3, 3)],
        "n ≥ 2 of both",
    ),
    "source width": (
        lambda v: same_width(v, torch.ones(2, 3)),
        [torch.ones(2, 3)],
        [torch.ones(1, 3), torch.ones(3), torch.ones(3, 3, 3)],
        "n ≥ 2 of both",
    ),
    "labels": (
        lambda v: whole_numbers(v, 2, "labels"),
        [torch.tensor([0, 0]), torch.tensor([5, 0], dtype=torch.uint8)],
        [torch.tensor([0]), torch.tensor([0, 1, 1]), torch.tensor([[0], [1]]), torch.ones(2), torch.tensor([0, -1])],
        "labels",
    ),
    "shares": (
        lambda v: shares(v, "shares"),
        [torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.50009])],
        [torch.tensor([0.5, 0.5002]), torch.tensor([0.5, 0.4998]), torch.tensor([1.5, -0.5]), torch.tensor([1.0, 0.0])],
        "shares",
    ),
    "probabilities": (
        lambda v: shift.em_priors(v, [0.5, 0.5], most=1),
        [HALVES, torch.tensor([[0.5, 0.5009]]), torch.tensor([[0.0, 1.0]])],
        [
            torch.tensor([[0.5, 0.502]]),
            torch.tensor([[0.5, 0.498]]),
            torch.tensor([[-0.01, 1.01]]),
            torch.tensor([[math.nan, 0.5]]),
            HALVES[0],
            HALVES[None],
            HALVES[:0],
        ],
        "probabilities",
    ),
    "classes of the source": (
        lambda v: shift.correct(v, [0.5, 0.5], [0.5, 0.5]),
        [HALVES],
        [torch.full((2, 3), 1 / 3), torch.ones(2, 1)],
        "probabilities a row, 2 source and 2 target shares",
    ),
    "weights": (
        shift.effective_sample_size,
        [torch.tensor([0.1, 0.0]), torch.tensor([1e-9])],
        [torch.ones(2, 2), torch.tensor([1.0, -0.001]), torch.zeros(2), torch.tensor([1.0, math.nan])],
        "weights",
    ),
    "p-values": (
        shift.bonferroni,
        [torch.tensor([0.5])],
        [torch.ones(0), torch.ones(2, 2), torch.tensor(0.5)],
        "p_values have shape",
    ),
    "matrix of accuracies": (
        shift.average_accuracy,
        [torch.eye(2)],
        [torch.eye(1), torch.ones(2), torch.ones(2, 2, 2), torch.ones(2, 3), torch.ones(3, 2)],
        "matrix has shape",
    ),
    "score": (
        lambda v: shift.concept_shift(v, torch.zeros(len(v), dtype=torch.long), share=0.5, n_classes=2),
        [torch.tensor([0.0, 0.0, 0.0, 1e-3])],
        [torch.arange(3.0), torch.ones(4, 4), torch.tensor([0.0, 1.0, 2.0, math.inf]), torch.ones(4)],
        "score",
    ),
}


@pytest.mark.parametrize("name", [*LIMITS, *SHAPES])
def test_the_last_that_is_allowed_and_the_first_that_is_not(name: str, unchecked):
    call, allowed, refused, message = (LIMITS | SHAPES)[name]
    for value in allowed:
        call(value)
    for value in refused:
        with pytest.raises(ValueError, match=message):
            call(value)


def test_two_examples_of_each_domain_one_step(classifier, pictures, unchecked):
    smallest = {"steps": 1, "batch_size": 2}
    for penalty in (None, shift.weighted(shift.coral_loss)):
        made = shift.adapt(classifier(), pictures(2), pictures(2), penalty=penalty, **smallest)
        assert len(made.losses) == 1
    for change in ({"steps": 0}, {"batch_size": 1}):
        with pytest.raises(ValueError, match="give 1 step or more, and 2 or more of the others"):
            shift.adapt(classifier(), pictures(2), pictures(2), penalty=None, **(smallest | change))
    for domains_ in ((pictures(1), pictures(2)), (pictures(2), pictures(1))):
        with pytest.raises(ValueError, match=r"the domains have [12] and [12] examples"):
            shift.adapt(classifier(), *domains_, penalty=None, **smallest)


def test_two_tasks_of_one_step(table, gaussian, unchecked):
    domain_ = table(gaussian(4), torch.tensor([0, 1, 0, 1]))
    tasks = shift.domain_incremental({"one": (domain_, domain_), "two": (domain_, domain_)})
    smallest = {"steps": 1, "batch_size": 2}
    assert shift.learn_sequence(nn.Linear(4, 2), tasks, shift.Naive(), **smallest).matrix.shape == (2, 2)
    for change in ({"steps": 0}, {"batch_size": 1}):
        with pytest.raises(ValueError, match="give at least 2, 1 and 2"):
            shift.learn_sequence(nn.Linear(4, 2), tasks, shift.Naive(), **(smallest | change))
    with pytest.raises(ValueError, match="1 tasks"):
        shift.learn_sequence(nn.Linear(4, 2), tasks[:1], shift.Naive(), **smallest)


def test_four_rows_are_enough_for_a_classifier_test(gaussian, unchecked):
    assert 0 < shift.classifier_test(gaussian(4), gaussian(4, seed=1)).p_value <= 1
    for few in ((gaussian(3), gaussian(4)), (gaussian(4), gaussian(3))):
        with pytest.raises(ValueError, match="n ≥ 4"):
            shift.classifier_test(*few)


def test_tent_takes_two_examples(classifier, pictures):
    assert shift.Tent(classifier())(pictures(2).pixels).shape == (2, 2)


@pytest.mark.parametrize(
    ("count", "expected"), [(4, "a, b, c, d"), (5, r"a, b, c, d, … \(5\)"), (6, r"a, b, c, d, … \(6\)")]
)
def test_an_error_names_four_classes(table, gaussian, count: int, expected: str):
    many = table(gaussian(2), torch.tensor([0, 1]), tuple("abcdef"[:count]))
    with pytest.raises(ValueError, match=f"source has the classes {expected} and target z; keep"):
        same_classes(many, replace(many, classes=("z",), labels=torch.zeros(2, dtype=torch.long)))


def test_one_item_of_a_class_is_enough_for_a_share(unchecked):
    """Six of either class: a half has three of each, and shares of ¾ and ¼ leave three and one."""
    made = shift.prior_shift(torch.arange(12) % 2, priors=[0.75, 0.25])
    assert made.target_labels.bincount().tolist() == [3, 1]
    with pytest.raises(ValueError, match="priors are 2 shares"):
        shift.prior_shift(torch.empty(0, dtype=torch.long), priors=[0.75, 0.25])
    with pytest.raises(ValueError, match="priors are 2 shares"):
        shift.prior_shift(torch.zeros(12, dtype=torch.long), priors=[0.75, 0.25])
