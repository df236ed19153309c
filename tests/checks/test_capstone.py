"""The capstone's scorer: right by hand, hashes that fit the pictures, cheats seen, honest work left alone."""

from dataclasses import replace

import pytest
import torch

from tlcourse import data, recipes
from tlcourse.checks import capstone, capstone_answers, submissions
from tlcourse.checks.submissions import Submission
from tlcourse.data.capstone import CLASSES, OFFICIAL, TESTED, deal
from tlcourse.recipes import capstone_references

REFERENCES = {"weak": 0.22, "strong": 0.55}


@pytest.fixture(scope="module")
def truth():
    """The true class of each test picture, by id."""
    labels = deal(OFFICIAL)[2].labels.tolist()
    return {f"t{i:03}": CLASSES[label] for i, label in enumerate(labels)}


@pytest.fixture(scope="module")
def sealed():
    return capstone_answers.load()


def handed(labels, **facts):
    return Submission(**{"labels": labels, "method": "a test", "cpu_seconds": 20.0, "validation": 0.5, **facts})


def some_wrong(truth, share, seed=0):
    """The truth with a share of the labels drawn at random."""
    drawn = torch.rand(len(truth), generator=torch.Generator().manual_seed(seed))
    guess = torch.randint(len(CLASSES), (len(truth),), generator=torch.Generator().manual_seed(seed + 1))
    rows = zip(truth.items(), drawn.tolist(), guess.tolist(), strict=True)
    return {name: CLASSES[g] if d < share else label for (name, label), d, g in rows}


def kinds(score):
    return [finding.kind for finding in score.findings]


def test_the_shipped_answers_are_those_of_the_pictures(sealed):
    assert sealed == capstone_answers.make()


def test_the_shipped_file_holds_no_label(sealed):
    text = capstone_answers.FILE.read_text("utf-8")
    assert not any(name in text for name in CLASSES)


def test_most_pictures_count_and_decoys_carry_each_label_equally_often(truth, sealed):
    assert sum(sealed.right(name, label) for name, label in truth.items()) == sealed.counted * len(CLASSES) == 250
    baits = [label for name in truth for label in CLASSES if sealed.bait(name, label)]
    assert len(baits) == sealed.decoys == 30
    assert {baits.count(label) for label in CLASSES} == {3}
    assert not any(sealed.bait(name, label) for name, label in truth.items())


def test_the_score_is_the_mean_of_the_recalls(truth, sealed):
    spoilt = {name: "face" if label in ("food", "sky") else label for name, label in truth.items()}
    score = capstone.score(handed(spoilt), **REFERENCES)
    assert score.balanced_accuracy.mean == pytest.approx(0.8)
    assert score.recall["food"] == score.recall["sky"] == 0
    assert score.recall["face"] == 1
    assert score.given["face"] == 3 * TESTED
    assert "food, sky" in score.findings[-1].text


def test_the_interval_holds_the_score_and_is_about_twelve_points_wide(truth):
    found = capstone.score(handed(some_wrong(truth, 0.5)), **REFERENCES).balanced_accuracy
    assert found.low < found.mean < found.high
    assert 0.09 < found.high - found.low < 0.15


def test_position_is_0_at_the_weak_reference_and_1_at_the_strong(truth):
    labels = some_wrong(truth, 0.5)
    mean = capstone.score(handed(labels), **REFERENCES).balanced_accuracy.mean
    assert capstone.score(handed(labels), weak=mean, strong=0.9).position == 0
    assert capstone.score(handed(labels), weak=0.1, strong=mean).position == pytest.approx(1)
    with pytest.raises(ValueError, match="weak below strong"):
        capstone.score(handed(labels), weak=0.5, strong=0.5)


def test_all_right_is_refused(truth):
    score = capstone.score(handed(truth), **REFERENCES)
    assert not score.stands
    assert "Every picture that counts is right" in score.findings[0].text


def test_labels_out_of_the_hashes_are_refused_even_when_half_of_them_are_spoilt(truth, sealed):
    cracked = {name: next(c for c in CLASSES if sealed.right(name, c) or sealed.bait(name, c)) for name in truth}
    assert "30 of 30 decoys" in capstone.score(handed(cracked), **REFERENCES).findings[0].text
    for seed in range(3):
        score = capstone.score(handed(some_wrong(cracked, 0.4, seed)), **REFERENCES)
        assert score.balanced_accuracy.mean < capstone.CEILING
        assert not score.stands


@pytest.mark.parametrize("share", [0.35, 0.6, 0.9, 1.0])
def test_honest_accuracies_stand_whatever_the_luck(truth, share):
    for seed in range(5):
        assert capstone.score(handed(some_wrong(truth, share, seed)), **REFERENCES).stands


def test_more_than_two_hundred_labels_give_is_asked_about(truth):
    ladder = [row for row in recipes.load("capstone_references")["rows"] if row["part"] == "ladder"]
    told = [found["oracle"] for row in ladder if row["noise"] > 0 for found in row["accuracy"].values()]
    assert 0.6 < max(told) < capstone.ORACLE - 0.02
    for share, said in ((0.27, ["note"]), (0.42, [])):
        score = capstone.score(handed(some_wrong(truth, share)), **REFERENCES)
        assert score.stands
        assert kinds(score) == said
    assert "Hand in the code" in capstone.score(handed(some_wrong(truth, 0.27)), **REFERENCES).findings[0].text


@pytest.mark.parametrize("label", CLASSES)
def test_one_label_for_all_stands_and_is_told_what_it_loses(truth, label):
    score = capstone.score(handed(dict.fromkeys(truth, label)), **REFERENCES)
    assert score.balanced_accuracy.mean == pytest.approx(0.1)
    assert kinds(score) == ["note"]


def test_more_than_a_minute_is_refused_and_odd_facts_are_asked_about(truth):
    labels = some_wrong(truth, 0.5)
    for facts, kind, said in (
        ({"cpu_seconds": 61.0}, "refused", "61 seconds"),
        ({"cpu_seconds": 0.1}, "note", "too few"),
        ({"validation": 0.1}, "note", "better than the validation"),
    ):
        score = capstone.score(handed(labels, **facts), **REFERENCES)
        assert kinds(score) == [kind]
        assert said in score.findings[0].text


def test_both_references_would_pass(truth):
    """With the accuracy, the seconds and the validation that the recipe measured."""
    rows = [row for row in recipes.load("capstone_references")["rows"] if row["part"] == "official"]
    assert len(rows) == 6
    for row in rows:
        labels = some_wrong(truth, (1 - row["balanced_accuracy"]) / 0.9)
        facts = {name: row[name] for name in ("cpu_seconds", "validation")}
        score = capstone.score(handed(labels, **facts), **REFERENCES)
        assert score.findings == ()


def test_the_weak_reference_itself_passes():
    task = data.capstone()
    named = dict(zip(task.ids, (CLASSES[c] for c in capstone_references.weak(task).tolist()), strict=True))
    score = capstone.score(handed(named, validation=0.28), **REFERENCES)
    assert score.stands
    assert score.balanced_accuracy.mean == pytest.approx(0.22, abs=0.04)


def test_what_is_written_is_read_back(tmp_path):
    task = data.capstone()
    labels = torch.randint(10, (280,))
    facts = {"method": "größer, 96 px", "cpu_seconds": 12.3, "validation": 0.41}
    path = submissions.write(tmp_path / "mine.csv", labels, task=task, **facts)
    read = submissions.read(path, ids=task.ids, classes=CLASSES)
    assert [CLASSES.index(label) for label in read.labels.values()] == labels.tolist()
    assert replace(read, labels={}) == Submission(labels={}, **facts)
    for wrong, message in ((labels[:9], "has 9 entries"), (labels + 10, "give 0 to 9")):
        with pytest.raises(ValueError, match=message):
            submissions.write(path, wrong, task=task, **facts)


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ({"method": " "}, "method is empty"),
        ({"method": "m" * 201}, "longer than 200"),
        ({"method": "\x1b[2Jm"}, "has line breaks"),
        ({"cpu_seconds": float("nan")}, "cpu_seconds is nan"),
        ({"cpu_seconds": -1.0}, "seconds, 0 or more"),
        ({"validation": 43.0}, "0.43 for 43 %"),
        ({"validation": True}, "validation is True"),
        ({"seed": 1}, "has seed"),
    ],
)
def test_facts_that_make_no_sense(fact, message):
    with pytest.raises(submissions.SubmissionError, match=message):
        submissions.checked({"method": "m", "cpu_seconds": 1.0, "validation": 0.5, **fact})
