"""Properties that every container keeps, and the errors of wrong arguments."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.data import Images, Table, Texts, splits

WRONG = (ValueError, KeyError, TypeError)


def table(labels, groups=None, classes=None):
    labels = torch.tensor(labels)
    n = len(labels)
    return Table(
        name="t",
        features=torch.arange(n, dtype=torch.float32)[:, None],
        columns=("row",),
        labels=labels,
        classes=classes or tuple(f"class {i}" for i in range(int(labels.max()) + 1)),
        groups=torch.arange(n) if groups is None else torch.tensor(groups),
        meta={"row": tuple(map(str, range(n)))},
    )


def rows(dataset):
    return dataset.features[:, 0].long().tolist()


labelled = st.lists(st.integers(0, 3), min_size=2, max_size=40)
grouped = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), min_size=2, max_size=40)
seeds = st.integers(0, 2**31 - 1)
fractions = st.floats(0.05, 0.95)


@given(labelled, fractions, seeds)
def test_split_is_disjoint_complete_and_stratified(labels, fraction, seed):
    whole = table(labels)
    try:
        first, second = whole.split(fraction, seed)
    except ValueError:  # only where one side would be empty
        assert len(labels) * min(fraction, 1 - fraction) <= 1
        return
    assert sorted(rows(first) + rows(second)) == list(range(len(labels)))
    for c, name in enumerate(whole.classes):
        n, kept = labels.count(c), first.counts()[name]
        if n > 1:
            assert abs(kept - fraction * n) < 1
            assert 0 < kept < n


@given(grouped, fractions, seeds)
def test_split_keeps_groups_whole(items, fraction, seed):
    whole = table([c for c, _ in items], [g for _, g in items])
    try:
        first, second = whole.split(fraction, seed)
    except ValueError:
        return
    assert sorted(rows(first) + rows(second)) == list(range(len(items)))
    assert not set(first.groups.tolist()) & set(second.groups.tolist())


@given(st.integers(1, 4), st.integers(10, 30), st.floats(0.2, 0.8), seeds)
def test_split_balances_groups_of_equal_size(size, n_groups, fraction, seed):
    labels = [g % 2 for g in range(n_groups) for _ in range(size)]
    groups = [g for g in range(n_groups) for _ in range(size)]
    first, _ = table(labels, groups).split(fraction, seed)
    for c in (0, 1):
        share = sum(label == c for label in first.labels.tolist()) / labels.count(c)
        assert abs(share - fraction) <= 1 / (n_groups // 2) + 1e-9


def test_a_large_group_is_placed_first_so_that_small_ones_can_balance_it():
    groups = [0] * 10 + list(range(1, 31))
    for seed in range(20):
        first, second = table([0] * 40, groups).split(0.5, seed)
        assert (len(first), len(second)) == (20, 20)


@given(st.permutations(range(20)))
def test_held_out_items_follow_from_their_keys_alone(order):
    labels = torch.tensor([i % 2 for i in order])
    test = splits.held_out([f"item {i}" for i in order], labels, 0.3)
    assert sorted(i for i, held in zip(order, test.tolist(), strict=True) if held) == [4, 8, 9, 13, 18, 19]


def test_split_of_classes_with_one_item_each_keeps_the_fraction():
    first, second = table(list(range(50))).split(0.8, 0)
    assert (len(first), len(second)) == (40, 10)


def test_split_repeats_by_seed_and_differs_between_seeds():
    whole = table([0, 1] * 20)
    assert rows(whole.split(0.5, 3)[0]) == rows(whole.split(0.5, 3)[0])
    assert rows(whole.split(0.5, 3)[0]) != rows(whole.split(0.5, 4)[0])


def test_split_refuses_what_cannot_be_divided():
    with pytest.raises(ValueError, match=r"one side empty: 4 items in 1 groups"):
        table([0, 1, 0, 1], [7, 7, 7, 7]).split(0.5, 0)
    for fraction in (0.0, 1.0, -1.0, 2.0, float("nan")):
        with pytest.raises(ValueError, match="fraction"):
            table([0, 1]).split(fraction, 0)


@given(labelled, st.integers(1, 5), seeds)
def test_few_takes_k_of_each_class_and_nests(labels, k, seed):
    whole = table(labels)
    smallest = min(whole.counts().values())
    if k > smallest:
        with pytest.raises(ValueError, match=rf"k={k} is more than the \d+ items of class 'class \d'.*exact=False"):
            whole.few(k, seed)
        some = whole.few(k, seed, exact=False)
        assert some.counts() == {name: min(k, n) for name, n in whole.counts().items()}
        return
    chosen = whole.few(k, seed)
    assert set(chosen.counts().values()) == {k}
    assert len(set(rows(chosen))) == len(chosen)
    assert [labels[i] for i in rows(chosen)] == chosen.labels.tolist()
    if k < smallest:
        assert set(rows(chosen)) < set(rows(whole.few(k + 1, seed)))


def test_few_depends_on_the_seed_and_reaches_every_item():
    whole = table([0] * 10 + [1] * 10)
    assert rows(whole.few(2, 0)) == rows(whole.few(2, 0))
    assert {i for seed in range(60) for i in rows(whole.few(2, seed))} == set(range(20))


@pytest.mark.parametrize("k", [0, -1, 2.0, "2"])
def test_few_refuses_a_k_that_is_no_count(k, unchecked):
    with pytest.raises(ValueError, match="whole number of items per class"):
        table([0, 1]).few(k, 0)


@given(labelled, st.data())
def test_take_keeps_order_and_every_column(labels, draw):
    whole = table(labels)
    chosen = draw.draw(st.lists(st.integers(0, len(labels) - 1), min_size=1, max_size=10))
    part = whole.take(chosen)
    assert rows(part) == chosen == part.groups.tolist() == [int(x) for x in part.meta["row"]]
    assert part.labels.tolist() == [labels[i] for i in chosen]
    assert part.classes == whole.classes


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([], "empty"),
        ([2], r"0 … 1"),
        ([-1], r"0 … 1"),
        (torch.tensor([0.0]), "int64"),
        (torch.tensor([[0]]), "1-D"),
        ([True, False], "where"),
        ("01", "whole numbers"),
    ],
)
def test_take_refuses(indices, message, unchecked):
    with pytest.raises(WRONG, match=message):
        table([0, 1]).take(indices)


def test_where_follows_the_mask_and_refuses_others():
    whole = table([0, 1, 0])
    assert rows(whole.where(whole.labels == 0)) == [0, 2]
    with pytest.raises(ValueError, match="mask has 2 items but labels has 3"):
        whole.where(torch.tensor([True, False]))
    with pytest.raises(ValueError, match="false everywhere"):
        whole.where(torch.zeros(3, dtype=torch.bool))


def test_relabel_takes_labels_from_a_column():
    whole = replace(table([0, 1, 0]), meta={"colour": ("red", "blue", "red")})
    new = whole.relabel("colour")
    assert new.classes == ("blue", "red")
    assert new.labels.tolist() == [1, 0, 1]
    with pytest.raises(KeyError, match="colour"):
        whole.relabel("color")


PIXELS = torch.zeros(2, 1, 3, 3, dtype=torch.uint8)
GOOD = {"name": "x", "labels": torch.tensor([0, 1]), "classes": ("a", "b")}


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (Images, {"pixels": PIXELS.float()}, "uint8"),
        (Images, {"pixels": PIXELS[0]}, "height, width"),
        (Images, {"pixels": PIXELS.expand(2, 2, 3, 3)}, "1 or 3 channels"),
        (Images, {"pixels": PIXELS[:1]}, "inputs has 1 items but labels has 2"),
        (Images, {"pixels": PIXELS.numpy()}, "from_numpy"),
        (Images, {"pixels": PIXELS, "labels": torch.tensor([0, 2])}, "value 2, but 2 classes allow 0 … 1"),
        (Images, {"pixels": PIXELS, "labels": torch.tensor([-1, 1])}, "value -1"),
        (Images, {"pixels": PIXELS, "labels": torch.tensor([0.0, 1.0])}, "int64"),
        (Images, {"pixels": PIXELS, "labels": [0, 1]}, r"torch\.tensor"),
        (Images, {"pixels": PIXELS[:0], "labels": torch.tensor([], dtype=torch.int64)}, "empty"),
        (Images, {"pixels": PIXELS, "classes": ("a", "a")}, "different names"),
        (Images, {"pixels": PIXELS, "classes": ("a", 1)}, r"classes\[1\]"),
        (Images, {"pixels": PIXELS, "groups": torch.tensor([0])}, "groups has 1 items"),
        (Images, {"pixels": PIXELS, "meta": {"style": ("one",)}}, r"meta\['style'\] has 1 items"),
        (Images, {"pixels": PIXELS, "meta": {"style": (1, 2)}}, r"meta\['style'\]\[0\]"),
        (Texts, {"texts": ("good", "  ")}, r"texts\[1\] is empty"),
        (Texts, {"texts": "ab"}, "tuple of strings"),
        (Texts, {"texts": ("good", None)}, r"texts\[1\] must be a string"),
        (Table, {"features": torch.tensor([[0.0], [float("nan")]]), "columns": ("age",)}, "nan in row 1, column 'age'"),
        (Table, {"features": torch.tensor([[0.0], [float("inf")]]), "columns": ("age",)}, "inf in row 1"),
        (Table, {"features": torch.zeros(2, 2), "columns": ("age",)}, "2 different names"),
        (Table, {"features": torch.zeros(2, 1, dtype=torch.int64), "columns": ("age",)}, "floating-point"),
    ],
)
def test_constructor_names_the_field_and_the_remedy(kind, change, message, unchecked):
    with pytest.raises(WRONG, match=message):
        kind(**{**GOOD, **change})


def test_containers_are_frozen_picklable_and_shown_in_one_line():
    whole = table([0, 1])
    with pytest.raises(FrozenInstanceError):
        whole.labels = torch.tensor([1, 1])
    with pytest.raises(TypeError):
        whole.meta["row"] = ("x", "y")
    for twin in (pickle.loads(pickle.dumps(whole)), copy.deepcopy(whole)):
        assert twin.fingerprint() == whole.fingerprint()
        assert dict(twin.meta) == dict(whole.meta)
    assert repr(whole) == "Table('t': 2 × 1 measurements, 2 classes)"


@settings(max_examples=20)
@given(labelled)
def test_fingerprint_follows_the_content_only(labels):
    whole = table(labels)
    assert whole.fingerprint() == replace(table(labels), name="another").fingerprint()
    changes = (
        {"labels": (whole.labels + 1) % len(whole.classes)} if len(whole.classes) > 1 else {"classes": ("another",)},
        {"groups": whole.groups + 1},
        {"features": whole.features + 1},
        {"features": whole.features.double()},
        {"columns": ("another",)},
        {"meta": {"line": whole.meta["row"]}},
        {"meta": {"row": tuple(f"{x}." for x in whole.meta["row"])}},
    )
    prints = {replace(whole, **change).fingerprint() for change in changes}
    assert len(prints | {whole.fingerprint()}) == len(changes) + 1


def test_fingerprint_separates_neighbouring_texts():
    def texts(*values):
        return Texts(name="t", texts=values, labels=torch.tensor([0, 0]), classes=("a",)).fingerprint()

    assert texts("ab", "c") != texts("a", "bc")


def test_fingerprint_separates_shapes():
    def blank(height, width):
        pixels = torch.zeros(1, 1, height, width, dtype=torch.uint8)
        return Images(name="i", pixels=pixels, labels=torch.tensor([0]), classes=("a",)).fingerprint()

    assert blank(2, 8) != blank(4, 4)
