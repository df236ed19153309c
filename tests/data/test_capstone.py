"""The capstone's problem: what a participant gets holds no label of the target, and its parts are what they say."""

from dataclasses import fields

import pytest
import torch

from tlcourse import data
from tlcourse.data.capstone import CLASSES, MOST_SHOTS, NOISE, OFFICIAL, TESTED, deal


@pytest.fixture(scope="module")
def task():
    return data.capstone()


def test_forty_labels_and_a_balanced_test(task):
    assert len(task.classes) == 10
    assert len(task.train) == 40
    assert set(task.train.counts().values()) == {4}
    assert len(task.test) == 280 == len(task.ids) == len(set(task.ids))
    _, target, test = deal(OFFICIAL)
    assert set(test.counts().values()) == {TESTED}
    assert len(set(target.counts().values())) > 1  # the shares of the target are not those of the test
    assert torch.equal(test.pixels, task.test.pixels)


def test_no_label_name_or_group_of_the_target_is_in_what_a_participant_gets(task):
    for part in (task.target, task.test):
        assert part.labels.eq(0).all()
        assert part.classes == ("hidden",)
        assert set(part.meta) == {"id"}
        assert torch.equal(part.groups, torch.arange(len(part)))
    assert set(task.train.meta) == set()
    assert {field.name for field in fields(task)} == {"train", "target", "test"}


def test_the_order_of_the_test_says_nothing_about_the_classes():
    labels = deal(OFFICIAL)[2].labels
    runs = (labels[1:] == labels[:-1]).double().mean()
    assert runs < 0.2  # a tenth if drawn at random, nearly all if sorted


def test_no_concept_is_in_two_parts_and_deals_differ():
    names = [set(part.meta["name"]) for part in deal(OFFICIAL)]
    assert sum(map(len, names)) == len(set.union(*names))
    assert set(deal("another")[2].meta["name"]) != names[2]


def test_more_shots_keep_the_fewer_and_leave_target_and_test_alone():
    few, many = deal("draw 1", shots=2), deal("draw 1", shots=MOST_SHOTS)
    assert set(few[0].meta["name"]) < set(many[0].meta["name"])
    for part in (1, 2):
        assert torch.equal(few[part].pixels, many[part].pixels)


def test_the_noise_is_on_the_target_alone_and_as_strong_as_said():
    clean, noisy = deal("draw 1", noise=0.0), deal("draw 1")
    assert torch.equal(clean[0].pixels, noisy[0].pixels)
    mid = (clean[2].pixels > 90) & (clean[2].pixels < 165)  # where nothing is clipped
    change = (noisy[2].pixels[mid].double() - clean[2].pixels[mid].double()) / 255
    assert change.std() == pytest.approx(NOISE, rel=0.05)
    assert noisy[2].meta["style"][0] == "twemoji"
    assert noisy[0].meta["style"][0] == "noto"


@pytest.mark.parametrize(
    ("change", "message"), [({"shots": 0}, "1 to 8"), ({"shots": 9}, "1 to 8"), ({"noise": -1.0}, "0 or more")]
)
def test_deals_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        deal(OFFICIAL, **change)


def test_the_classes_are_in_alphabetical_order():
    assert list(CLASSES) == sorted(CLASSES)
