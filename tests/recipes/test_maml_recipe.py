"""The runs behind lesson 16: equal passes, no picture in two parts, and every method learns in a short run."""

import pytest
import torch

from tlcourse import recipes
from tlcourse.recipes import emoji_episodes, maml_family


@pytest.fixture(autouse=True)
def one_thread():
    """The tensors are small: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def short(monkeypatch, tmp_path):
    monkeypatch.setattr(maml_family, "PASSES", {"sinusoid": 37_500, "emoji": 800})
    monkeypatch.setattr(maml_family, "CURVES", 30)
    monkeypatch.setattr(maml_family, "EPISODES", 3)
    monkeypatch.setattr(maml_family, "CHOOSING", 2)
    monkeypatch.setattr(maml_family, "RATES", {"sinusoid": (0.003, 0.01), "emoji": (0.01, 0.1)})
    monkeypatch.setattr(maml_family, "_part", lambda *key: tmp_path / "part" / "-".join(map(str, key)))


def test_all_methods_get_the_same_passes():
    inner, tasks, met = {**maml_family.EMOJI}, 5 + 15, maml_family.EMOJI_MET
    cost = {
        "MAML": met * (tasks + 5),  # twice through the support set
        "FOMAML": met * tasks,
        "ANIL": met * tasks,
        "Reptile": met * inner["Reptile"].steps * 10,
        "supervised": maml_family.BATCH,
    }
    for method, each in cost.items():
        spent = maml_family.updates("emoji", method) * each
        assert maml_family.PASSES["emoji"] - each < spent <= maml_family.PASSES["emoji"]
    assert maml_family.updates("sinusoid", "joint") == maml_family.updates("sinusoid", "MAML") * 3 // 2


def test_no_concept_and_no_subgroup_is_in_two_parts():
    parts = [emoji_episodes.pictures(part) for part in ("fit", "choose", "test")]
    for key in ("name", "subgroup"):
        held = [set(part.meta[key]) for part in parts]
        assert not held[0] & held[1]
        assert not held[0] & held[2]
        assert not held[1] & held[2]
    assert all(min(part.counts().values()) == 4 for part in parts)


def test_pictures_are_shifted_each_its_own_way():
    pixels = torch.full((40, 3, 32, 32), 255, dtype=torch.uint8)
    pixels[:, :, 10:20, 12:20] = 7
    moved = emoji_episodes.shifted(pixels, torch.Generator().manual_seed(0))
    assert moved.shape == pixels.shape
    assert ((moved == 7).sum(dim=(1, 2, 3)) == 3 * 80).all()
    tops = {int((picture[0] == 7).nonzero()[0, 0]) for picture in moved}
    assert tops == set(range(7, 14))


@pytest.mark.parametrize("method", maml_family.SINUSOID)
def test_sinusoids_are_learned_and_measured(short, method):
    row = maml_family.work({"world": "sinusoid", "method": method, "seed": 0}, [])
    assert row["rate"] in maml_family.RATES["sinusoid"]
    assert row["after"]["10"] < row["after"]["0"]
    assert row["tried"][str(row["rate"])] == min(row["tried"].values())


@pytest.mark.parametrize("method", maml_family.EMOJI)
def test_emoji_are_learned_and_measured(short, method):
    row = maml_family.work({"world": "emoji", "method": method, "seed": 0}, [])
    assert row["tried"][str(row["rate"])] == max(row["tried"].values())
    assert 0 <= row["after"]["0"] <= row["after"]["10"] + 0.2
    assert set(row["half"]) == {"0", "1", "5", "10"}


def test_shipped_networks_do_what_they_were_trained_for():
    rows = {(r["world"], r["method"], r["seed"]): r for r in recipes.load("maml_family")["rows"]}
    for method in maml_family.SINUSOID:
        row = rows["sinusoid", method, 1]
        found = maml_family.errors(maml_family.load_network("sinusoid", method, 1), row["rate"], "test")
        assert float(found[10].mean()) == pytest.approx(row["after"]["10"], rel=0.1)
    (x, y), (u, v) = emoji_episodes.episodes("test", 15, torch.Generator().manual_seed(0))
    for method in ("ANIL", "supervised"):
        row = rows["emoji", method, 0]
        inner = maml_family.meta.InnerLoop(row["rate"], steps=5, only=maml_family.EMOJI[method].only)
        network = maml_family.load_network("emoji", method, 0)
        outputs = maml_family.meta.outputs_by_step(network, (x, y), u, inner=inner)
        assert float((outputs[5].argmax(-1) == v).double().mean()) == pytest.approx(row["after"]["5"], abs=0.15)
    with pytest.raises(KeyError, match="choose from: emoji/ANIL/0"):
        maml_family.load_network("emoji", "ANIL", 2)
