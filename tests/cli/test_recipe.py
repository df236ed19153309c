"""`tlcourse recipe`."""

import pytest

from tlcourse import recipes
from tlcourse.cli import main


def test_lists_every_recipe_with_its_time(capsys):
    assert main(["recipe"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in recipes.names())
    assert "minutes" in printed


def test_runs_the_named_recipe(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(recipes, "run", lambda name: asked.append(name) or tmp_path / "result.json")
    assert main(["recipe", "source_networks"]) == 0
    assert asked == ["source_networks"]
    assert "result.json" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["curves", "learning-curves"])
def test_an_unknown_recipe_lists_the_known_ones(name, capsys):
    assert main(["recipe", name]) != 0
    assert "learning_curves" in capsys.readouterr().err
