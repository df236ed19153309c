"""Which parameters a pattern names, and what is said of one that names none."""

from __future__ import annotations

import pytest
from torch import nn

from tlcourse.finetuning import named


class Net(nn.Module):
    """Eleven numbered layers, so that one number is the beginning of another."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3)
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(11))


ALL = tuple(name for name, _ in Net().named_parameters())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("head", ("head.weight", "head.bias")),
        ("head.bias", ("head.bias",)),
        ("layers.1", ("layers.1.weight", "layers.1.bias")),
        ("layers.[0-1].weight", ("layers.0.weight", "layers.1.weight")),
        ("layers.?", tuple(f"layers.{i}.{kind}" for i in range(10) for kind in ("weight", "bias"))),
        ("*.bias", tuple(name for name in ALL if name.endswith("bias"))),
        ("layers", ALL[2:]),
        ("*", ALL),
    ],
)
def test_a_pattern_names_a_module_with_all_below_it(pattern: str, expected: tuple[str, ...]):
    assert named(Net(), [pattern]) == {pattern: expected}


def test_every_part_of_a_name_names_its_parameter():
    for name in ALL:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            assert name in named(Net(), [".".join(parts[:end])])[".".join(parts[:end])]


def test_each_pattern_has_its_own_list_in_the_order_of_the_model():
    found = named(Net(), (pattern for pattern in ("layers.0", "*.weight", "head")))
    assert list(found) == ["layers.0", "*.weight", "head"]
    assert found["*.weight"] == tuple(name for name in ALL if name.endswith("weight"))


def test_no_pattern_names_nothing():
    assert named(Net(), []) == {}


def test_a_part_of_a_word_is_no_name():
    for pattern in ("hea", "ead", "HEAD", "layers.", ".bias"):
        with pytest.raises(ValueError, match="names no parameter of Net"):
            named(Net(), [pattern])


def test_near_names_are_offered():
    with pytest.raises(ValueError, match=r"pattern 'haed' names no parameter of Net; did you mean 'head'"):
        named(Net(), ["layers", "haed"])
    with pytest.raises(ValueError, match=r"did you mean .*'layers\.0\.weight'"):
        named(Net(), ["layer.0.weight"])


def test_where_nothing_is_near_the_parts_are_listed():
    with pytest.raises(ValueError, match=r"its parts are head, layers$"):
        named(Net(), ["qqq"])
    with pytest.raises(ValueError, match=r"pattern '\*' names no parameter of ReLU; it has no parameters"):
        named(nn.ReLU(), ["*"])


def test_a_text_is_no_list_of_patterns():
    with pytest.raises(TypeError, match=r"patterns is the text 'head'; give a list: \['head'\]"):
        named(Net(), "head")
