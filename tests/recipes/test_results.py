"""Recipes: resumable, up to date with their results, and what they write is what the lessons read."""

import json
from functools import lru_cache
from types import SimpleNamespace

import pytest
import torch

from tlcourse import data, recipes, training
from tlcourse.recipes import learning_curves, results, source_networks, strategy_grid, text_fine_tuning


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    log, calls = tmp_path / "log.jsonl", []
    jobs = [{"seed": i} for i in range(4)]

    def work(job, rows):
        calls.append(job["seed"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"value": job["seed"] ** 2, "before": len(rows)}

    with pytest.raises(KeyboardInterrupt):
        results.resume(log, jobs, work, stamp="a", progress=False)
    with log.open("a") as file:
        file.write('{"stamp": "a", "jo')  # a line that was cut off
    rows = results.resume(log, jobs, work, stamp="a", progress=False)
    assert calls == [0, 1, 2, 2, 3]
    assert [(row["value"], row["before"]) for row in rows] == [(0, 0), (1, 1), (4, 2), (9, 3)]


def test_rows_of_other_settings_are_not_taken_over(tmp_path):
    log = tmp_path / "log.jsonl"
    results.resume(log, [{"seed": 0}], lambda job, rows: {"value": 1}, stamp="old", progress=False)
    rows = results.resume(log, [{"seed": 0}], lambda job, rows: {"value": 2}, stamp="new", progress=False)
    assert rows[0]["value"] == 2


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_results_are_those_of_the_recipe_as_it_stands(name):
    result = recipes.load(name)
    module = getattr(recipes, name)
    assert result["card"]["hash"] == results.digest(name), f"run: tlcourse recipe {name}"
    assert [{k: row[k] for k in job} for row, job in zip(result["rows"], module.jobs(), strict=True)] == module.jobs()
    assert result["card"]["seconds"] > 0
    assert not list(results.FOLDER.glob(f"{name}.part*"))


def test_the_rate_of_the_control_was_the_best_on_held_out_training_subgroups():
    rows = recipes.load("learning_curves")["rows"]
    tried = {}
    for row in rows:
        if row["arm"] == "choose rate":
            tried.setdefault(row["rate"], []).append(row["balanced_accuracy"])
    best = max(tried, key=lambda rate: sum(tried[rate]) / len(tried[rate]))
    assert {row["rate"] for row in rows if row["arm"] == "from scratch"} == {best}
    assert learning_curves.best_rate(rows) == best


def test_the_rate_is_chosen_on_subgroups_that_do_not_train():
    fitting, validating = learning_curves.emoji("train").split(0.5, seed=0)
    assert not set(fitting.meta["subgroup"]) & set(validating.meta["subgroup"])
    assert not set(learning_curves.emoji("test").meta["subgroup"]) & set(fitting.meta["subgroup"])


@pytest.mark.parametrize("source", source_networks.SOURCES)
def test_shipped_networks_solve_their_own_task_or_honestly_do_not(source):
    network = source_networks.load_network(source)
    task = source_networks.source_task(source)
    sample = task.take(torch.randperm(len(task), generator=torch.Generator().manual_seed(0))[:300])
    with torch.no_grad():
        right = (network(sample.pixels).argmax(dim=1) == sample.labels).float().mean().item()
    chance = 1 / task.n_classes
    if source == "untrained":
        assert right < 3 * chance + 0.05
    elif source == "random labels":
        assert right < 0.6
    else:
        assert right > 1.5 * chance
    assert len(network.head.bias) == task.n_classes


def test_all_networks_started_from_the_same_weights():
    untrained = source_networks.load_network("untrained").backbone.state_dict()
    fresh = source_networks.network(10).backbone.state_dict()
    assert all(torch.allclose(untrained[k].float(), fresh[k].float(), atol=1e-3) for k in fresh)


def test_a_recipe_trains(monkeypatch, tmp_path):
    monkeypatch.setattr(source_networks, "STEPS", 60)
    monkeypatch.setattr(source_networks, "_part", lambda source: tmp_path / "part" / f"{source}.safetensors")
    early = source_networks.work({"source": "emoji style"}, [])
    assert early["classes"] == 3
    assert early["last_loss"] < 1.05  # below log 3, the loss of guessing
    assert (tmp_path / "part" / "emoji style.safetensors").exists()


def test_run_writes_rows_and_card(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(learning_curves, "jobs", lambda: [{"arm": "toy", "seed": 0}])
    monkeypatch.setattr(learning_curves, "work", lambda job, rows: {"balanced_accuracy": 0.5})
    path = recipes.run("learning_curves", progress=False)
    written = json.loads(path.read_text())
    assert written["rows"][0]["balanced_accuracy"] == 0.5
    assert written["card"]["recipe"] == "learning_curves"
    assert [p.name for p in tmp_path.iterdir()] == ["learning_curves.json"]


def test_unknown_names():
    with pytest.raises(KeyError, match=r"choose from: .*learning_curves"):
        recipes.load("curves")
    with pytest.raises(KeyError, match="choose from"):
        recipes.run("curves")
    with pytest.raises(KeyError, match="source 'cats' is unknown"):
        source_networks.load_network("cats")


def test_a_missing_result_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match="tlcourse recipe learning_curves"):
        recipes.load("learning_curves")


def test_the_grid_chooses_rates_on_pictures_that_neither_train_nor_test(monkeypatch):
    asked = []
    monkeypatch.setattr(strategy_grid, "STEPS", 2)
    monkeypatch.setattr(
        strategy_grid.training,
        "evaluate",
        lambda model, pictures: asked.append(pictures) or SimpleNamespace(balanced_accuracy=0.5),
    )
    for target in strategy_grid.TARGETS:
        job = {"phase": "choose", "target": target, "strategy": "last block", "rate": 1e-3, "labels": 1, "seed": 0}
        assert strategy_grid.work(job, []) == {"balanced_accuracy": 0.5}
    whole = {row.numpy().tobytes() for row in strategy_grid.part("near", "test").pixels}
    assert not whole & {row.numpy().tobytes() for row in asked[0].pixels}
    fitting, held_out = strategy_grid.part("near", "train").split(0.5, seed=0)
    assert set(asked[0].meta["subgroup"]) <= set(held_out.meta["subgroup"])
    assert not set(asked[0].meta["subgroup"]) & set(fitting.meta["subgroup"])


def test_the_grid_uses_the_chosen_rates():
    rows = recipes.load("strategy_grid")["rows"]
    for row in rows:
        if row["phase"] == "grid":
            assert row["rate"] == strategy_grid.best_rate(rows, row["target"], row["strategy"])
    tried = [r for r in rows if (r["phase"], r["target"], r["strategy"]) == ("choose", "near", "LP-FT")]
    means = {rate: sum(r["balanced_accuracy"] for r in tried if r["rate"] == rate) for rate in strategy_grid.RATES}
    assert strategy_grid.best_rate(rows, "near", "LP-FT") == max(means, key=means.get)


def test_a_cell_of_the_grid_trains_and_measures(monkeypatch):
    monkeypatch.setattr(strategy_grid, "part", lru_cache(lambda *names: tiny_part(*names)))
    monkeypatch.setattr(strategy_grid, "before", lru_cache(strategy_grid.before.__wrapped__))
    choose = [
        {"phase": "choose", "target": "near", "strategy": "full", "rate": 3e-4, "balanced_accuracy": 0.9},
        {"phase": "choose", "target": "near", "strategy": "full", "rate": 1e-4, "balanced_accuracy": 0.2},
    ]
    job = {"phase": "grid", "target": "near", "strategy": "full", "steps": 2, "labels": 1, "seed": 0}
    row = strategy_grid.work(job, choose)
    assert row["rate"] == 3e-4
    assert row["drift"] > 0
    assert row["cpu_seconds"] > 0
    assert 0 <= row["other_styles"] <= 1


def tiny_part(target, side, style="noto"):
    """Real pictures, but few and small."""
    pictures = data.emoji(style, size=32, part=side).only(learning_curves.CATEGORIES)
    return pictures.few(2, seed=0)


def test_reviews_are_learned_and_the_old_task_is_measured(monkeypatch):
    monkeypatch.setattr(text_fine_tuning, "STEPS", 6)
    monkeypatch.setattr(
        text_fine_tuning, "reviews", lru_cache(lambda part: data.sentiment("movies", part=part).few(8, 0))
    )
    monkeypatch.setattr(text_fine_tuning, "origins", lru_cache(lambda part: data.text_sources(part=part, each=20)))
    monkeypatch.setattr(text_fine_tuning, "LABELS", 8)
    monkeypatch.setattr(text_fine_tuning, "old_probe", lru_cache(text_fine_tuning.old_probe.__wrapped__))
    row = text_fine_tuning.work({"part": "steady", "arm": "plain", "rate": 3e-4, "seed": 0}, [])
    assert row["last_loss"] < 0.75
    for arm in ("L2-SP 1", "rehearsal"):
        row = text_fine_tuning.work({"part": "forget", "arm": arm, "rate": 1e-3, "seed": 0}, [])
        assert row["old_before"] > 0.6
        assert row["forgotten"] >= row["old_before"] - row["old_after"] - 1e-9


def test_the_two_headed_network_begins_with_the_old_probe():
    model = text_fine_tuning.two_tasks(seed=0)
    features = training.features(model.backbone, text_fine_tuning.origins("test"))
    probe = text_fine_tuning.old_probe()
    assert torch.equal(text_fine_tuning.old_predictions(model), probe.predict(features))
    assert probe.accuracy(features, text_fine_tuning.origins("test").labels) > 0.8
