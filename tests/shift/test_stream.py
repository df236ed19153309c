"""Drift detectors against river, and evaluation on a stream with late labels."""

from __future__ import annotations

import math
import random

import pytest
import torch

from tlcourse import shift
from tlcourse.shift.adwin import Bucket


def stream(kind: str) -> list[float]:
    """Fixed streams, drawn by Python's own generator so that they are the same everywhere."""
    rng = random.Random(12345)
    if kind == "step":
        return [float(rng.random() < (0.2 if i < 1000 else 0.6)) for i in range(2000)]
    if kind == "twice":
        return [rng.gauss((0.0, 1.0, 0.5)[i // 1500], 1.0) for i in range(4500)]
    if kind == "slow":
        return [float(rng.random() < 0.1 + 0.5 * i / 4000) for i in range(4000)]
    return [float(rng.random() < 0.3) for i in range(4000)]


# What river 0.26.1 says of these streams: drift.ADWIN(delta=…) and drift.PageHinkley(threshold=…, mode="up").
RIVER: dict[tuple[str, str, float], list[int]] = {
    ("adwin", "step", 0.002): [1055],
    ("adwin", "step", 0.05): [1055],
    ("adwin", "twice", 0.002): [1535, 3135],
    ("adwin", "twice", 0.05): [1535, 3071],
    ("adwin", "slow", 0.002): [1727, 3423],
    ("adwin", "slow", 0.05): [1375, 3007],
    ("adwin", "none", 0.002): [],
    ("adwin", "none", 0.05): [],
    ("page_hinkley", "step", 10.0): [1023, 1271, 1876],
    ("page_hinkley", "step", 50.0): [1130],
    ("page_hinkley", "twice", 50.0): [1378, 1569],
    ("page_hinkley", "slow", 10.0): [433, 833, 1243, 1383, 1869, 2315, 2654, 3103, 3645, 3914],
    ("page_hinkley", "slow", 50.0): [1383, 2659, 3913],
    ("page_hinkley", "none", 10.0): [901, 1287, 2440, 2647, 3113, 3983],
    ("page_hinkley", "none", 50.0): [],
}


def alarms(detector: shift.Detector, values: list[float]) -> list[int]:
    found = []
    for i, value in enumerate(values):
        if detector.update(value):
            found.append(i)
            detector.reset()
    return found


def ours(name: str, setting: float) -> shift.Detector:
    return shift.Adwin(delta=setting) if name == "adwin" else shift.PageHinkley(threshold=setting)


@pytest.mark.parametrize(("name", "kind", "setting"), RIVER)
def test_alarms_are_those_that_river_gave(name: str, kind: str, setting: float):
    assert alarms(ours(name, setting), stream(kind)) == RIVER[name, kind, setting]


@pytest.mark.parametrize("clock", [1, 8, 32])
def test_alarms_equal_rivers_on_random_streams(clock: int):
    drift = pytest.importorskip("river.drift", reason="river is in the extra `dev`: pip install 'tlcourse[dev]'")
    count = 0
    for seed in range(2 if clock == 1 else 6):
        rng = random.Random(seed)
        levels = [rng.gauss(0, 1) for _ in range(4)]
        values = [rng.gauss(levels[i // 200], 0.7) for i in range(800)]
        delta, threshold = rng.choice([0.002, 0.05, 0.3]), rng.choice([10.0, 50.0])
        for mine, theirs in (
            (shift.Adwin(delta=delta, clock=clock), drift.ADWIN(delta=delta, clock=clock)),
            (shift.PageHinkley(threshold=threshold), drift.PageHinkley(threshold=threshold, mode="up")),
        ):
            expected = []
            for i, value in enumerate(values):
                theirs.update(value)
                if theirs.drift_detected:
                    expected.append(i)
            assert alarms(mine, values) == expected
            count += len(expected)
    assert count > 2


def test_buckets_hold_the_window_in_little_memory():
    adwin = shift.Adwin()
    values = [0.2 + 0.01 * (i % 7) for i in range(2000)]
    for value in values:
        assert not adwin.update(value)
    buckets = [b for row in reversed(adwin.rows) for b in row]
    assert sum(b.size for b in buckets) == adwin.width == 2000
    assert len(buckets) < 5 * math.log2(2000)
    start = 0
    for bucket in buckets:
        part = torch.tensor(values[start : start + bucket.size], dtype=torch.float64)
        assert bucket.total == pytest.approx(part.sum().item())
        assert bucket.spread == pytest.approx((part - part.mean()).square().sum().item(), abs=1e-9)
        start += bucket.size
    assert adwin.mean == pytest.approx(sum(values) / 2000)
    whole = torch.tensor(values, dtype=torch.float64)
    assert adwin.window.spread == pytest.approx((whole - whole.mean()).square().sum().item())


def test_taking_a_bucket_out_undoes_putting_it_in():
    a, b = Bucket(3, 6.0, 2.0), Bucket(5, 1.0, 0.7)
    back = a.joined(b).without(a)
    assert (back.size, back.total, back.spread) == (5, pytest.approx(1.0), pytest.approx(0.7))


def test_after_a_change_the_window_keeps_the_new_part():
    adwin = shift.Adwin()
    spoke = [i for i, value in enumerate(stream("step")) if adwin.update(value)]
    assert 1000 < spoke[0] < 1100
    assert adwin.width < 1100
    assert adwin.mean == pytest.approx(0.6, abs=0.05)
    adwin.reset()
    assert (adwin.width, adwin.mean) == (0, 0.0)


def test_page_hinkley_hears_rises_only_and_starts_anew():
    rng = random.Random(0)
    falling = [rng.gauss(0.0 if i < 500 else -2.0, 0.3) for i in range(1000)]
    assert alarms(shift.PageHinkley(threshold=20.0), falling) == []
    rising = alarms(shift.PageHinkley(threshold=20.0), [-v for v in falling])
    assert len(rising) == 1
    assert 500 < rising[0] < 530
    early = [0.0] * 5 + [100.0] * 40
    assert alarms(shift.PageHinkley(threshold=20.0), early)[0] == 29, "no alarm before 30 items"
    assert alarms(shift.PageHinkley(threshold=20.0, least=1), early)[0] == 5
    detector = shift.PageHinkley(threshold=20.0)
    assert [i for i, v in enumerate(falling) if detector.update(-v)] == rising


def test_the_window_is_looked_at_once_it_holds_more_than_its_grace():
    """Any sensible cut is due at once here: five zeros, then thousands."""
    jump = [0.0] * 5 + [1000.0] * 10
    for grace in (6, 10):
        adwin = shift.Adwin(delta=0.9, clock=1, least=1, grace=grace)
        assert alarms(adwin, jump)[0] == grace, "item number grace + 1"
    assert alarms(shift.Adwin(delta=0.9, clock=4, least=1, grace=6), jump)[0] == 7, "every fourth item only"


def test_two_means_differ_from_the_papers_cut_on():
    """Eq. 3.1 with δ′ = δ / ln n; of either part `least` − 1 items do not count, as in river."""
    adwin, n, variance = shift.Adwin(delta=0.1, least=5), 40, 0.3
    adwin.window = Bucket(n, 20.0, n * variance)
    for n_old in (5, 12, 35):
        n_new = n - n_old
        share = 1 / (n_old - 4) + 1 / (n_new - 4)
        log = math.log(2 / (0.1 / math.log(n)))
        cut = math.sqrt(2 * share * variance * log) + 2 / 3 * share * log
        for sign in (-1, 1):
            for factor, expected in ((0.999999, False), (1.000001, True)):
                mean = 0.5 + sign * factor * cut
                assert adwin._differ(Bucket(n_old, 0.5 * n_old, 0.0), n_new, mean * n_new) is expected
    for n_old in (4, 36):
        assert not adwin._differ(Bucket(n_old, 0.0, 0.0), n - n_old, 1e9), "a part is too short"


def test_nothing_has_risen_while_nothing_has_changed():
    adwin = shift.Adwin()
    assert not adwin.rose
    assert not any(adwin.update(0.3) for _ in range(100))
    assert not adwin.rose
    assert shift.PageHinkley().rose, "it alarms at rises only"


def test_page_hinkleys_sum_by_hand():
    """Above the running mean by 0, 3 and −1, less 0.5 for each item, and half of what was before is forgotten."""
    detector = shift.PageHinkley(delta=0.5, forget=0.5)
    sums = []
    for value in (2.0, 8.0, 3.5):
        detector.update(value)
        sums.append(detector.sum)
    assert sums == pytest.approx([-0.5, -0.25 + 3 - 0.5, 1.125 - 1 - 0.5])
    assert detector.lowest == pytest.approx(-0.5)
    assert (detector.count, detector.mean) == (3, pytest.approx(4.5))


def test_page_hinkley_must_climb_above_its_threshold():
    """0, 0, 0, 12: the mean becomes 3 and the sum 9."""
    plain = {"delta": 0.0, "forget": 1.0, "least": 1}
    assert alarms(shift.PageHinkley(threshold=9.0, **plain), [0.0, 0.0, 0.0, 12.0]) == []
    assert alarms(shift.PageHinkley(threshold=8.99, **plain), [0.0, 0.0, 0.0, 12.0]) == [3]


# prequential


class Script:
    """Says what it is told to, and notes what it learned and when it was reset."""

    def __init__(self, answers: list[int]) -> None:
        self.answers, self.learned, self.resets, self.now = answers, [], [], -1

    def predict(self, features: torch.Tensor) -> int:
        self.now += 1
        return self.answers[self.now]

    def learn(self, features: torch.Tensor, label: int) -> None:
        self.learned.append((self.now, int(features), label))

    def reset(self) -> None:
        self.resets.append(self.now)


class Alarm:
    """Speaks at the k-th item that it is told of."""

    def __init__(self, at: int, *, rose: bool = True) -> None:
        self.at, self.rose, self.told, self.resets = at, rose, [], 0

    def update(self, value: float) -> bool:
        self.told.append(value)
        return len(self.told) == self.at

    def reset(self) -> None:
        self.resets += 1


def test_each_item_is_predicted_before_it_is_learned_and_labels_come_late():
    labels = torch.tensor([1, 0, 1, 1, 0])
    for delay in (0, 2):
        model = Script([1, 1, 1, 0, 0])
        found = shift.prequential(model, torch.arange(5), labels, delay=delay)
        assert found.predictions.tolist() == [1, 1, 1, 0, 0]
        assert found.right.tolist() == [1, 0, 1, 0, 1]
        assert found.accuracy == pytest.approx(0.6)
        assert model.learned == [(i + delay, i, int(labels[i])) for i in range(5 - delay)]
        assert found.alarms == ()


def test_an_alarm_resets_both_and_labels_on_their_way_are_of_the_new_world():
    labels = torch.zeros(8, dtype=torch.long)
    model, detector = Script([1, 0, 0, 0, 0, 0, 0, 0]), Alarm(at=2)
    found = shift.prequential(model, torch.arange(8), labels, delay=3, detector=detector)
    assert found.alarms == (4,)  # the label of item 1 comes at item 4
    assert model.resets == [4]
    assert detector.resets == 1
    assert detector.told[:2] == [1.0, 0.0]
    assert [item for _, item, _ in model.learned] == [0, 1, 2, 3, 4], "those after the alarm are newer than its item"
    assert detector.told == [1.0, 0.0], "errors of the old model say nothing about the new one"
    assert not found.right.isnan().any()


def test_fewer_errors_are_no_reason_to_forget():
    model, detector = Script([1, 0, 0, 0]), Alarm(at=2, rose=False)
    found = shift.prequential(model, torch.arange(4), torch.zeros(4, dtype=torch.long), detector=detector)
    assert (found.alarms, model.resets, detector.resets) == ((), [], 0)
    assert len(model.learned) == 4
    adwin = shift.Adwin()
    spoke = [adwin.rose for value in stream("step")[::-1] if adwin.update(value)]
    assert spoke
    assert not any(spoke)
    assert next(adwin.rose for value in stream("step") if adwin.update(value))


def test_labels_that_never_come_are_left_out():
    labels = torch.tensor([1, -1, 0, -1])
    model = Script([1, 1, 1, 1])
    found = shift.prequential(model, torch.arange(4), labels)
    assert found.right.isnan().tolist() == [False, True, False, True]
    assert found.accuracy == pytest.approx(0.5)
    assert [item for _, item, _ in model.learned] == [0, 2]
    assert found.moving(2).tolist() == pytest.approx([1.0, 1.0, 0.0, 0.0])


def test_a_moving_accuracy():
    right = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0])
    found = shift.Prequential(torch.zeros(5, dtype=torch.long), right, ())
    assert found.moving(2).tolist() == pytest.approx([1, 0.5, 0, 0.5, 1])
    assert found.moving(9).tolist() == pytest.approx([1, 1 / 2, 1 / 3, 2 / 4, 3 / 5])


def test_one_step_is_one_step_of_gradient_descent(gaussian):
    x = gaussian(1)[0]
    model = shift.OnlineLogistic(4, 3, lr=0.5)
    model.learn(x, 2)
    weight, bias = torch.zeros(3, 4, requires_grad=True), torch.zeros(3, requires_grad=True)
    torch.nn.functional.cross_entropy((weight @ x + bias)[None], torch.tensor([2])).backward()
    torch.testing.assert_close(model.weight, -0.5 * weight.grad)
    torch.testing.assert_close(model.bias, -0.5 * bias.grad)
    assert model.predict(x) == 2
    model.reset()
    assert (model.weight == 0).all()


def test_a_detector_pays_when_the_rule_turns_round(gaussian):
    x = gaussian(1600)
    y = ((x[:, 0] > 0) ^ (torch.arange(1600) >= 800)).long()
    still = shift.prequential(shift.OnlineLogistic(4, 2, lr=0.02), x, y, delay=20)
    aware = shift.prequential(shift.OnlineLogistic(4, 2, lr=0.02), x, y, delay=20, detector=shift.Adwin())
    assert len(aware.alarms) == 1
    assert 820 < aware.alarms[0] < 940
    assert aware.accuracy > still.accuracy + 0.02
    assert aware.right[:800].equal(still.right[:800])


def test_the_detector_hears_of_the_new_model_from_its_first_item_on():
    """The alarm comes at item 4; item 5 is the first that the new model predicts, and its label comes at item 8."""
    model, detector = Script([1] * 5 + [0, 1, 0, 0, 0, 0, 0]), Alarm(at=2)
    found = shift.prequential(model, torch.arange(12), torch.zeros(12, dtype=torch.long), delay=3, detector=detector)
    assert found.alarms == (4,)
    assert detector.told == [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]


def test_a_label_comes_with_its_item_by_default():
    model = Script([0, 1, 0])
    shift.prequential(model, torch.arange(3), torch.tensor([0, 1, 1]))
    assert model.learned == [(0, 0, 0), (1, 1, 1), (2, 2, 1)]
    assert shift.OnlineLogistic(1, 2).lr == 0.1


def test_bad_input(unchecked):
    model, x = shift.OnlineLogistic(1, 2), torch.zeros(4, 1)
    with pytest.raises(ValueError, match=r"the stream has no labels, so errors cannot be counted.* two-sample test"):
        shift.prequential(model, x, torch.full((4,), -1))
    with pytest.raises(ValueError, match="4 inputs, no labels, delay 0; give a label for each input"):
        shift.prequential(model, x, None)
    with pytest.raises(ValueError, match="4 inputs, 3 labels"):
        shift.prequential(model, x, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="delay -1"):
        shift.prequential(model, x, torch.zeros(4, dtype=torch.long), delay=-1)
    for detector in (shift.Adwin(), shift.PageHinkley()):
        with pytest.raises(ValueError, match="value is nan; a stream of errors has 0 and 1"):
            detector.update(math.nan)
    for make, message in (
        (lambda: shift.Adwin(delta=1.0), r"delta is 1\.0"),
        (lambda: shift.Adwin(clock=0), "clock is 0"),
        (lambda: shift.PageHinkley(threshold=0.0), r"threshold is 0\.0"),
        (lambda: shift.OnlineLogistic(0, 2), "dim is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_a_stream_that_becomes_constant_leaves_no_negative_spread():
    detector = shift.Adwin()
    alarms = [detector.update(value) for value in [0.0] * 45 + [1.0] * 500]
    assert any(alarms)
    assert detector.window is not None
    assert detector.window.spread >= 0


def test_one_bucket_of_each_size_is_enough():
    detector = shift.Adwin(most=1, clock=352)
    assert [detector.update(value) for value in [0.0] * 256 + [5.0] * 64 + [10.0] * 32][-1]
