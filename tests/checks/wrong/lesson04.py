"""Typical wrong answers to the exercises of lesson 04, each with the message that it should get."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tlcourse.training.evaluation import balanced_accuracy

# 4.1 masked mean


def parts(hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over the tokens of each text, and their number."""
    return (hidden * mask[:, :, None]).sum(dim=1), mask.sum(dim=1, keepdim=True).clamp(min=1)


def padded_length(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[:, :, None]).mean(dim=1)


def over_the_batch(hidden: Tensor, mask: Tensor) -> Tensor:
    return parts(hidden, mask)[0] / mask.sum()


def mean_length(hidden: Tensor, mask: Tensor) -> Tensor:
    return parts(hidden, mask)[0] / mask.sum(dim=1).float().mean()


def mask_along_features(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[:, None]).sum(dim=1) / parts(hidden, mask)[1]


def mask_as_it_comes(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def count_along_features(hidden: Tensor, mask: Tensor) -> Tensor:
    return parts(hidden, mask)[0] / mask.sum(dim=1)


def over_features(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[:, :, None]).sum(dim=2) / parts(hidden, mask)[1]


def integer_index(hidden: Tensor, mask: Tensor) -> Tensor:
    return torch.stack([h[m].mean(dim=0) for h, m in zip(hidden, mask, strict=True)])


def whole_numbers(hidden: Tensor, mask: Tensor) -> Tensor:
    total, count = parts(hidden, mask)
    return (total / count).to(mask.dtype)


def upside_down_mask(hidden: Tensor, mask: Tensor) -> Tensor:
    total, count = parts(hidden, 1 - mask)
    return total / count


def empty_is_nan(hidden: Tensor, mask: Tensor) -> Tensor:
    return parts(hidden, mask)[0] / mask.sum(dim=1, keepdim=True)


def one_more(hidden: Tensor, mask: Tensor) -> Tensor:
    return parts(hidden, mask)[0] / (mask.sum(dim=1, keepdim=True) + 1)


def empty_is_plain_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    total, count = parts(hidden, mask)
    return torch.where(mask.any(dim=1)[:, None], total / count, hidden.mean(dim=1))


def first_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    return torch.stack([h[: int(m.sum())].mean(dim=0) for h, m in zip(hidden, mask, strict=True)])


def in_place(hidden: Tensor, mask: Tensor) -> Tensor:
    hidden *= mask[:, :, None]
    return hidden.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def without_gradient(hidden: Tensor, mask: Tensor) -> Tensor:
    total, count = parts(hidden.detach(), mask)
    return total / count


def unit_length(hidden: Tensor, mask: Tensor) -> Tensor:
    total, count = parts(hidden, mask)
    return torch.nn.functional.normalize(total / count)


# 4.2 warm-up


def up(step: int, rising: int) -> float:
    return (step + 1) / (rising + 1)


def down(step: int, steps: int, rising: int) -> float:
    return (steps - step) / (steps - rising)


def schedule(rise: Callable[[int, int, int], float] | None = None, fall: Callable[[int, int, int], float] = down):
    """The right answer, with the rise or the fall to be replaced: functions of step, steps and rising."""

    def factor(step: int, steps: int, rising: int) -> float:
        if step < rising:
            return rise(step, steps, rising) if rise else up(step, rising)
        return fall(step, steps, rising)

    return factor


right_schedule = schedule()


def falls_from_the_start(step: int, steps: int, rising: int) -> float:
    return min(1, up(step, rising)) * (steps - step) / steps


def by_epochs(step: int, steps: int, rising: int) -> float:
    return right_schedule(5 * (step // 5), steps, rising)


def a_rate(step: int, steps: int, rising: int) -> float:
    return 3e-4 * right_schedule(step, steps, rising)


def no_zero_allowed(step: int, steps: int, rising: int) -> float:
    return min((step + 1) / (rising + 1), (steps - step) / (steps - rising), rising / rising)


def cosine_fall(step: int, steps: int, rising: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


# 4.3 forgetting


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    return float((predictions == labels).double().mean())


def share(mask: Tensor) -> float:
    return float(mask.double().mean())


def metric(lost: Callable[..., float] | None = None, forgotten: Callable[..., float] | None = None):
    """The right answer, with one part to be replaced: a function of before, after and labels."""

    def forgetting(before: Tensor, after: Tensor, labels: Tensor) -> tuple[float, float]:
        first = lost(before, after, labels) if lost else accuracy(before, labels) - accuracy(after, labels)
        second = forgotten(before, after, labels) if forgotten else share((before == labels) & (after != labels))
        return first, second

    return forgetting


right_metric = metric()


def drop(before: Tensor, after: Tensor, labels: Tensor) -> float:
    return accuracy(before, labels) - accuracy(after, labels)


# 4.4 spread


def word(low: float, high: float) -> str:
    return "b" if high < 1 else "a" if low > 1 else "unclear"


def judge(*, ratio=None, draw=None, spread=None, ends=None, combine=np.divide, who=word, keep=True):
    """The right answer, with one part at a time to be replaced."""
    spread = spread or (lambda x: x.std(axis=-1, ddof=1))
    draw = draw or (lambda a, b: (pick(a), pick(b)))
    ends = ends or (lambda ratios, middle: np.quantile(ratios, [0.025, 0.975]))

    def steadier(a: list[float], b: list[float], draws: int = 2000):
        first, second = np.array(a), np.array(b)
        middle = ratio(first, second) if ratio else spread(second) / spread(first)
        spreads = [spread(x) for x in draw(first, second)]
        if keep:
            kept = spreads[0] > 1e-9
            spreads = [x[kept] if x.ndim else x for x in spreads]
        with np.errstate(divide="ignore"):
            low, high = ends(combine(spreads[1], spreads[0]), middle)
        return who(low, high), middle, low, high

    return steadier


def pick(x: np.ndarray, replace: bool = True) -> np.ndarray:
    if not replace:
        return np.stack([random.sample(list(x), len(x)) for _ in range(2000)])
    return x[np.random.default_rng().integers(len(x), size=(2000, len(x)))]


def same_positions(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    places = np.random.default_rng().integers(min(len(a), len(b)), size=(2000, len(a)))
    return a[places], b[places]


def from_the_mixture(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = np.concatenate([a, b])
    return pick(both)[:, : len(a)], pick(both)[:, : len(b)]


def one_matrix(a: list[float], b: list[float], draws: int = 2000):
    return judge()(*np.stack([a, b]))


def better_mean(a: list[float], b: list[float], draws: int = 2000):
    _, *numbers = judge()(a, b)
    return "b" if statistics.mean(b) > statistics.mean(a) else "a", *numbers


def ratio_alone(a: list[float], b: list[float], draws: int = 2000):
    _, ratio, low, high = judge()(a, b)
    return "b" if ratio < 1 else "a", ratio, low, high


def sd(x: np.ndarray) -> float:
    return x.std(ddof=1)


WRONG = {
    "masked_mean": [
        ("plain mean", lambda hidden, mask: hidden.mean(dim=1), "Padding leaks"),
        ("padded length", padded_length, "The sum leaves padding out, the division does not"),
        ("sum", lambda hidden, mask: parts(hidden, mask)[0], "This is the sum"),
        ("first token", lambda hidden, mask: hidden[:, 0], "first token's vector alone"),
        ("batch-wide count", over_the_batch, "One count for the whole batch"),
        ("mask along features", mask_along_features, "The mask has landed on the wrong axis"),
        ("count along features", count_along_features, "The count of one text divides another one"),
        ("mean over features", over_features, "You averaged along another axis"),
        ("integer index", integer_index, "picks the positions 0 and 1"),
        ("type of the mask", whole_numbers, "Keep to the type of `hidden`"),
        ("mask upside down", upside_down_mask, "The mask is upside down"),
        ("row without tokens", empty_is_nan, "one NaN spoils every weight"),
        ("1 added", one_more, "1 was added to every count"),
        ("empty row by plain mean", empty_is_plain_mean, "return zeros for this text"),
        ("padding at the end", first_tokens, "The padding may come first"),
        ("in place", in_place, "write into the tensor of the caller"),
        ("detached", without_gradient, "Nothing below the pooling could learn"),
        ("unit length", unit_length, "scaled to length 1"),
    ],
    "warmup_linear": [
        ("first step at 0", schedule(lambda step, steps, rising: step / rising), "The first step is wasted"),
        ("peak early", schedule(lambda step, steps, rising: (step + 1) / rising), "Off by one: the peak"),
        ("never falls", schedule(fall=lambda *_: 1.0), "It never falls"),
        ("no rise", schedule(lambda *_: 1.0), "There is no rise"),
        ("falls from the start", falls_from_the_start, "pulls the rise down"),
        ("peak below 1", schedule(fall=lambda step, steps, _: 1 - step / steps), "Your fall has begun at step 0"),
        (
            "0 too early",
            schedule(fall=lambda s, n, r: (n - 1 - s) / (n - 1 - r) if n - 1 > r else 1),
            "Wasted at the end",
        ),
        ("below 0", schedule(fall=lambda s, n, r: 1 - 1.3 * (s - r) / (n - r)), "climbs the loss"),
        ("a rate", a_rate, "A schedule returns a factor"),
        ("by epochs", schedule(fall=lambda s, n, r: down(r + 4 * ((s - r) // 4), n, r)), "as if it went by epochs"),
        ("cosine", schedule(fall=cosine_fall), "This is half a cosine"),
        ("one step late", schedule(fall=lambda s, n, r: (n + 1 - s) / (n + 1 - r)), "It ends one step late"),
        ("whole training", lambda step, steps, rising: (step + 1) / (steps + 1), "The rise takes all of the training"),
        ("no warm-up", no_zero_allowed, "With rising = 0 no step is on the way up"),
        ("above 1", lambda s, n, r: max(up(s, r), down(s, n, r)), "The factor never exceeds 1"),
        ("square rise", schedule(lambda s, n, r: up(s, r) ** 2), "The rise is a straight line"),
        ("root fall", schedule(fall=lambda s, n, r: down(s, n, r) ** 0.5), "The fall is a straight line"),
    ],
    "forgetting": [
        ("sign", metric(lambda b, a, y: -drop(b, a, y)), "The sign: before − after"),
        ("absolute value", metric(lambda *three: abs(drop(*three))), "Never below 0"),
        ("against before", metric(lambda b, a, y: 1 - accuracy(a, b)), "Any change of prediction"),
        ("lost is forgotten", metric(lambda b, a, y: share((b == y) & (a != y))), "Only what got worse is counted"),
        ("relative", metric(lambda b, a, y: drop(b, a, y) / accuracy(b, y)), "a share of the accuracy before"),
        ("points", metric(lambda *three: 100 * drop(*three)), "These are percentage points"),
        ("accuracy after", metric(lambda b, a, y: accuracy(a, y)), "This is the accuracy after"),
        ("balanced", metric(lambda b, a, y: balanced_accuracy(b, y) - balanced_accuracy(a, y)), "balanced accuracy"),
        ("drop as forgotten", metric(forgotten=drop), "This is the drop in accuracy"),
        ("churn", metric(forgotten=lambda b, a, y: share(a != b)), "Every changed prediction counts"),
        (
            "of those right",
            metric(forgotten=lambda b, a, y: share(a[b == y] != y[b == y])),
            "by the examples right before",
        ),
        (
            "of those wrong",
            metric(forgotten=lambda b, a, y: share(b[a != y] == y[a != y])),
            "by the examples wrong now",
        ),
        ("wrong to wrong", metric(forgotten=lambda b, a, y: share((a != b) & (a != y))), "there was nothing to forget"),
        ("all wrong now", metric(forgotten=lambda b, a, y: share(a != y)), "everything wrong now"),
        ("gained", metric(forgotten=lambda b, a, y: share((b != y) & (a == y))), "This is what was gained"),
        (
            "a number",
            metric(forgotten=lambda b, a, y: int(((b == y) & (a != y)).sum())),
            "This is a number of examples",
        ),
        ("changed places", lambda b, a, y: right_metric(b, a, y)[::-1], "The two have changed places"),
        ("one number", drop, "Return two numbers"),
    ],
    "steadier": [
        ("population", judge(spread=lambda x: x.std(axis=-1)), "Divided by n: this takes"),
        ("variances", judge(spread=lambda x: x.var(axis=-1, ddof=1)), "ratio of the variances"),
        ("ranges", judge(spread=lambda x: np.ptp(x, axis=-1)), "The range looks at two runs alone"),
        (
            "quartiles",
            judge(spread=lambda x: np.subtract(*np.percentile(x, [75, 25], axis=-1))),
            "Quartiles and absolute",
        ),
        ("means", judge(spread=lambda x: x.mean(axis=-1)), "These are the means"),
        ("upside down", judge(ratio=lambda a, b: sd(a) / sd(b)), "Upside down"),
        ("difference", judge(ratio=lambda a, b: sd(b) - sd(a)), "This is a difference"),
        ("standard errors", judge(spread=lambda x: x.std(axis=-1, ddof=1) / x.shape[-1] ** 0.5), "how sure a mean is"),
        ("one length", one_matrix, "may have different lengths"),
        ("without replacement", judge(draw=lambda a, b: (pick(a, False), pick(b, False))), "There is no interval"),
        ("pairs", judge(draw=same_positions), "The same positions are drawn"),
        ("one mixture", judge(draw=from_the_mixture), "Both lists were thrown together"),
        ("only b drawn", judge(draw=lambda a, b: (a, pick(b)), keep=False), "Only one of the two lists is drawn anew"),
        ("90 %", judge(ends=lambda ratios, middle: np.quantile(ratios, [0.05, 0.95])), "5 % are left out on each side"),
        ("one sd", judge(ends=lambda r, m: (m - r.std(), m + r.std())), "plus and minus one standard deviation"),
        ("differences", judge(combine=np.subtract), "The interval is of a difference"),
        (
            "swapped",
            judge(who=lambda low, high: {"a": "b", "b": "a"}.get(word(low, high), "unclear")),
            "other way round",
        ),
        ("by 0", judge(who=lambda low, high: "a" if low > 0 else "unclear"), "A ratio is never below 0"),
        ("better mean", better_mean, "The better mean has decided"),
        ("ratio alone", ratio_alone, "The ratio alone decides"),
        ("never a", judge(who=lambda low, high: "b" if high < 1 else "unclear"), "Above 1 the interval speaks for a"),
        (
            "no spread",
            judge(keep=False, ends=lambda r, m: np.quantile(np.nan_to_num(r, posinf=9e9), [0.025, 0.975])),
            "has no ratio",
        ),
        ("true or false", lambda a, b: sd(np.array(b)) < sd(np.array(a)), "Return four things"),
    ],
}
