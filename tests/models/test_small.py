"""Conv4, MLP and Classifier."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tlcourse import foundation, models


def test_conv4_gives_one_row_of_width_for_any_size():
    net = models.Conv4(in_channels=3, width=8)
    assert net.dim == 8
    for size in (16, 28, 64):
        assert net(torch.randn(2, 3, size, size)).shape == (2, 8)
    assert sum(isinstance(layer, nn.Conv2d) for layer in net.modules()) == 4


def test_conv4_scales_bytes():
    net, x = models.Conv4().eval(), torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(net(x), net(x / 255))


def test_mlp_has_relu_between_its_layers_only():
    net = models.MLP([3, 5, 2])
    assert [type(layer) for layer in net.layers] == [nn.Linear, nn.ReLU, nn.Linear]
    assert net(torch.randn(4, 3)).shape == (4, 2)
    assert (models.MLP([3, 2])(torch.randn(100, 3)) < 0).any()


def test_weights_by_seed():
    for make in (lambda s: models.Conv4(seed=s), lambda s: models.MLP([3, 4], seed=s)):
        assert models.fingerprint(make(0)) == models.fingerprint(make(0)) != models.fingerprint(make(1))


def test_classifier_is_a_linear_layer_on_the_backbone():
    backbone = models.MLP([3, 5])
    model = models.Classifier(backbone, 4, seed=1)
    x = torch.randn(6, 3)
    torch.testing.assert_close(model(x), backbone(x) @ model.head.weight.T + model.head.bias)
    assert torch.equal(model.head.weight, models.Classifier(backbone, 4, seed=1).head.weight)
    assert not torch.equal(model.head.weight, models.Classifier(backbone, 4, seed=2).head.weight)
    assert not hasattr(model, "collate")


def test_a_copy_of_a_classifier_collates_with_its_own_backbone():
    class Backbone(nn.Module):
        dim = 1
        factor = 1.0

        def collate(self, items: list[float]) -> torch.Tensor:
            return self.factor * torch.tensor(items)[:, None]

    model = models.Classifier(Backbone(), 2)
    twin = copy.deepcopy(model)
    twin.backbone.factor = 3.0
    assert twin.collate([1.0]).item() == 3.0
    assert model.collate([1.0]).item() == 1.0


def test_fingerprint_tells_name_shape_and_type_apart():
    a = nn.Linear(2, 3)
    assert models.fingerprint(a) == models.fingerprint(copy.deepcopy(a))
    assert models.fingerprint(a) != models.fingerprint(copy.deepcopy(a).double())
    flat = nn.ParameterDict({"w": torch.zeros(6)})
    assert models.fingerprint(flat) != models.fingerprint(nn.ParameterDict({"w": torch.zeros(2, 3)}))
    assert models.fingerprint(flat) != models.fingerprint(nn.ParameterDict({"v": torch.zeros(6)}))


def test_fingerprint_sees_what_no_saved_tensor_shows():
    def network(scale: float = 1.0, activation: nn.Module | None = None, hidden: float = 0.0) -> nn.Module:
        net = nn.Sequential(nn.Linear(2, 2), activation or nn.ReLU())
        net.scale = scale
        net.register_buffer("hidden", torch.tensor(hidden), persistent=False)
        return net

    torch.manual_seed(0)
    plain = network()
    twin = copy.deepcopy(plain)
    twin(torch.randn(3, 2))
    assert models.fingerprint(twin.eval()) == models.fingerprint(plain), "use and mode change no function of weights"
    for change in ({"scale": 2.0}, {"activation": nn.Tanh()}, {"hidden": 1.0}):
        other = network(**change)
        other[0].load_state_dict(plain[0].state_dict())
        assert models.fingerprint(other) != models.fingerprint(plain), change


@pytest.mark.parametrize(
    "draw",
    [
        lambda: models.Conv4(seed=3),
        lambda: models.Classifier(models.MLP([2, 2]), 2, seed=3),
        lambda: foundation.linear_head(3, 2, seed=3),
        lambda: foundation.mlp_head(3, 4, 2, seed=3),
        lambda: foundation.Transformer(9, context=4, width=8, heads=2, layers=1, causal=True, seed=3),
    ],
)
def test_drawing_weights_leaves_everybody_elses_random_numbers_alone(draw, monkeypatch: pytest.MonkeyPatch):
    cards: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", cards.append)
    before = torch.get_rng_state()
    draw()
    assert torch.equal(torch.get_rng_state(), before)
    assert not cards, "a graphics card was seeded, and nothing puts that back"


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 2"):
        models.Classifier(models.MLP([2, 2]), 1)
    with pytest.raises(ValueError, match="`dim`"):
        models.Classifier(nn.Linear(2, 2), 3)
    with pytest.raises(ValueError, match="sizes"):
        models.MLP([3])
    with pytest.raises(ValueError, match="width"):
        models.Conv4(width=0)
    with pytest.raises(ValueError, match="at least 16x16"):
        models.Conv4()(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"expected \(n, 1,"):
        models.Conv4()(torch.zeros(1, 3, 28, 28))
    with pytest.raises(ValueError, match=r"expected \(n, 3\)"):
        models.MLP([3, 2])(torch.zeros(1, 4))
