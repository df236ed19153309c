"""Sequences of tasks: scenarios, Fisher by example, what each strategy adds, and the numbers of the matrix."""

from __future__ import annotations

import copy
import importlib

import pytest
import torch
import torch.nn.functional as F

from tlcourse import data, models, shift
from tlcourse.shift.tasks import choose


def table(part: str, classes) -> data.Table:
    """The small digits as 64 numbers."""
    images = data.optdigits(part).only([str(c) for c in classes])
    return data.Table(
        name="digits",
        features=images.pixels.float().flatten(1) / 255,
        columns=tuple(f"p{i}" for i in range(64)),
        labels=images.labels,
        classes=images.classes,
    )


@pytest.fixture(scope="module")
def digits():
    """Train and test of the digits 0 to 3."""
    return table("train", range(4)), table("test", range(4))


GROUPS = ((0, 1), (2, 3))


class Reader(torch.nn.Module):
    """A network that takes texts: its batch is a dict."""

    def collate(self, texts):
        return {"input_ids": torch.zeros(len(texts), 1, dtype=torch.long)}


def network(seed: int = 0) -> models.MLP:
    return models.MLP([64, 32, 4], seed=seed)


def learn(tasks, strategy, *, model=None, steps=150, lr=3e-3, seed=0):
    return shift.learn_sequence(model or network(), tasks, strategy, steps=steps, lr=lr, seed=seed)


# scenarios


def test_scenarios_differ_in_what_competes(digits):
    by_class, by_task = shift.class_incremental(*digits, GROUPS), shift.task_incremental(*digits, GROUPS)
    for tasks in (by_class, by_task):
        assert [t.classes for t in tasks] == [(0, 1), (2, 3)]
        assert [t.name for t in tasks] == ["0+1", "2+3"]
        assert set(tasks[1].train.labels.tolist()) == {2, 3}
        assert sum(len(t.train) for t in tasks) == len(digits[0])
    assert by_class[1].outputs == (0, 1, 2, 3)
    assert by_task[1].outputs == (2, 3)
    domains = shift.domain_incremental({"one": digits, "two": digits})
    assert [t.outputs for t in domains] == [(0, 1, 2, 3)] * 2


def test_outputs_that_do_not_compete_get_no_gradient():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = F.cross_entropy(choose(logits, (2, 3)), torch.tensor([2, 3, 2]))
    loss.backward()
    assert loss.item() == pytest.approx(F.cross_entropy(logits[:, 2:], torch.tensor([0, 1, 0])).item())
    assert (logits.grad[:, :2] == 0).all()


# strategies on real digits


def test_naive_forgets_replay_does_not(digits):
    tasks = shift.class_incremental(*digits, GROUPS)
    naive, replay = learn(tasks, shift.Naive()), learn(tasks, shift.Replay(capacity=40))
    assert naive.matrix.diagonal().min() > 0.9
    assert naive.matrix[1, 0] < 0.2
    assert shift.average_forgetting(naive.matrix) > 0.8
    assert replay.matrix[1].min() > 0.85
    assert naive.start.shape == (2,)
    assert (naive.start < 0.6).all()


def test_ewc_and_lwf_forget_less_when_told_the_task():
    groups = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    tasks = shift.task_incremental(table("train", range(10)), table("test", range(10)), groups)

    def forgotten(strategy: shift.Naive) -> float:
        run = learn(tasks, strategy, model=models.MLP([64, 32, 10]), steps=80, lr=0.01)
        return shift.average_forgetting(run.matrix)

    naive = forgotten(shift.Naive())
    assert forgotten(shift.LwF()) < naive - 0.02
    assert forgotten(shift.EWC(weight=1000.0)) < naive - 0.01


def test_a_sequence_is_repeatable_and_leaves_the_global_state(digits):
    tasks = shift.class_incremental(*digits, GROUPS)
    state = torch.get_rng_state()
    first, again, other = (learn(tasks, shift.Replay(), steps=10, seed=seed).matrix for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_a_finished_task_is_measured_among_its_outputs(digits):
    task = shift.task_incremental(*digits, GROUPS)[1]
    model = torch.nn.Linear(64, 4)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([9.0, 0.0, 1.0, 0.0]))
    expected = (task.test.labels == 2).float().mean().item()
    assert shift.task_accuracy(model, task) == pytest.approx(expected)
    by_class = shift.class_incremental(*digits, GROUPS)[1]
    assert shift.task_accuracy(model, by_class) == 0


# EWC


def test_fisher_equals_a_loop_over_examples(digits):
    train = digits[0]
    model = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    model(train.features[:50])
    model[0].bias.requires_grad_(False)
    x, y = train.features[:40], train.labels[:40]
    found = shift.diagonal_fisher(model, x, y, batch_size=16)
    model.eval()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert set(found) == set(trained)
    expected = {name: torch.zeros_like(p) for name, p in trained.items()}
    for row, label in zip(x, y, strict=True):
        loss = F.cross_entropy(model(row[None]), label[None])
        for (name, _), gradient in zip(trained.items(), torch.autograd.grad(loss, list(trained.values())), strict=True):
            expected[name] += gradient.square() / 40
    for name, fisher in found.items():
        torch.testing.assert_close(fisher, expected[name], rtol=1e-4, atol=1e-7)


def test_fisher_is_not_the_square_of_the_mean_gradient(digits):
    model, (train, _) = network(), digits
    fisher = shift.diagonal_fisher(model, train.features[:64], train.labels[:64])
    F.cross_entropy(model(train.features[:64]), train.labels[:64]).backward()
    squared = sum(p.grad.square().sum() for p in model.parameters())
    assert sum(f.sum() for f in fisher.values()) > 3 * squared


def test_fisher_information_of_a_line_in_closed_form():
    """p(1 | x) = σ(b): with labels drawn from the model the Fisher of each bias is p (1 − p)."""
    model = torch.nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([0.0, 1.0]))
    x = torch.zeros(20_000, 1)
    labels = shift.sample_labels(model(x), torch.Generator().manual_seed(0))
    p = torch.sigmoid(torch.tensor(1.0)).item()
    assert labels.double().mean() == pytest.approx(p, abs=0.01)
    fisher = shift.diagonal_fisher(model, x, labels, batch_size=5000)
    assert fisher["bias"].tolist() == pytest.approx([p * (1 - p)] * 2, rel=0.03)
    assert (fisher["weight"] == 0).all()


def test_the_mode_of_the_model_is_put_back_and_outputs_compete(digits):
    model, (train, _) = network().train(), digits
    part = train.features[:8], torch.tensor([2, 3] * 4)
    fisher = shift.diagonal_fisher(model, *part, outputs=(2, 3))
    assert model.training
    assert (fisher["layers.2.weight"][:2] == 0).all()
    assert (fisher["layers.2.weight"][2:] > 0).any()


def test_the_penalty_by_hand_and_over_all_tasks_before(digits):
    tasks = shift.class_incremental(*digits, GROUPS)
    model, ewc = network(), shift.EWC(weight=7.0, examples=30)
    x, y = tasks[0].train.features[:5], tasks[0].train.labels[:5]
    plain = F.cross_entropy(model(x), y)
    assert ewc.loss(model, x, y, tasks[0]).item() == pytest.approx(plain.item()), "nothing to protect yet"
    ewc.finish(model, tasks[0])
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert ewc.loss(model, x, y, tasks[1]).item() == pytest.approx(plain.item()), "nothing has moved yet"
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1
    ewc.finish(model, tasks[1])
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1
    by_hand = 0.0
    for (fisher, _), moved in zip(ewc.memories, (0.2, 0.1), strict=True):
        by_hand += 7.0 / 2 * moved**2 * sum(f.sum().item() for f in fisher.values())
    penalised = ewc.loss(model, x, y, tasks[1]).item() - F.cross_entropy(model(x), y).item()
    assert penalised == pytest.approx(by_hand, rel=1e-3)
    assert all(torch.equal(ewc.memories[0][1][name], tensor) for name, tensor in start.items())


# LwF


def test_lwf_is_zero_on_the_first_task_and_while_nothing_moves(digits):
    tasks = shift.class_incremental(*digits, GROUPS)
    model, lwf = network(), shift.LwF(weight=3.0)
    x, y = tasks[0].train.features[:6], tasks[0].train.labels[:6]
    assert lwf.memory_loss(model(x), x).item() == 0
    assert lwf.loss(model, x, y, tasks[0]).item() == pytest.approx(F.cross_entropy(model(x), y).item())
    lwf.finish(model, tasks[0])
    assert lwf.memory_loss(model(x), x).item() == pytest.approx(0, abs=1e-6)
    before = copy.deepcopy(model)
    with torch.no_grad():
        model.layers[0].weight += 0.1 * torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    old, now = before(x)[:, :2], model(x)[:, :2]
    soft = (old / 2).softmax(dim=1)
    expected = 4 * (soft * ((old / 2).log_softmax(dim=1) - (now / 2).log_softmax(dim=1))).sum(dim=1).mean()
    assert expected > 1e-4
    assert lwf.memory_loss(model(x), x).item() == pytest.approx(expected.item(), rel=1e-3), "classes seen so far only"
    total = lwf.loss(model, x, y, tasks[1]).item()
    assert total == pytest.approx(F.cross_entropy(model(x), y).item() + 3 * expected.item(), rel=1e-4)


def test_lwf_asks_about_each_task_among_its_own_outputs(digits):
    tasks = shift.task_incremental(*digits, GROUPS)
    model, lwf = network(), shift.LwF()
    for task in tasks:
        lwf.finish(model, task)
    x = digits[0].features[:6]
    before = model(x).detach()
    now = before + torch.tensor([5.0, 5.0, 0.0, 0.0])  # the same within each task
    assert lwf.memory_loss(now, x).item() == pytest.approx(0, abs=1e-5)
    moved = before + torch.tensor([1.0, 0.0, 2.0, 0.0])
    expected = sum(shift.distillation(moved[:, g], before[:, g]).item() for g in ([0, 1], [2, 3]))
    assert lwf.memory_loss(moved, x).item() == pytest.approx(expected, rel=1e-5)
    assert not any(p.requires_grad for p in lwf.teacher.parameters())


def test_distillation_has_the_gradient_of_the_papers_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits, before = torch.randn(2, 5, 3, generator=generator)
    logits = logits.requires_grad_()
    soft = (before / 2).softmax(dim=1)
    paper = -4 * (soft * (logits / 2).log_softmax(dim=1)).sum(dim=1).mean()
    expected = torch.autograd.grad(paper, logits)[0]
    torch.testing.assert_close(torch.autograd.grad(shift.distillation(logits, before), logits)[0], expected)


# replay


def test_every_item_of_the_stream_stays_with_the_same_chance():
    counts = torch.zeros(40)
    for seed in range(800):
        reservoir = shift.Reservoir(8, seed=seed)
        for item in range(40):
            reservoir.add(item)
        assert len(set(reservoir.items)) == 8
        counts[reservoir.items] += 1
    expected = 800 * 8 / 40
    assert (counts - expected).abs().max() < 4 * (expected * 0.8) ** 0.5


def test_a_reservoir_keeps_all_while_there_is_room_and_draws_without_repeats():
    reservoir = shift.Reservoir(5)
    for item in "abc":
        reservoir.add(item)
    assert reservoir.items == ["a", "b", "c"]
    assert sorted(reservoir.draw(9)) == ["a", "b", "c"]
    assert len(set(reservoir.draw(2))) == 2


def test_replay_mixes_old_and_new_each_among_its_outputs(digits):
    tasks = shift.task_incremental(*digits, GROUPS)
    model, replay = network(), shift.Replay(capacity=6, batch_size=6)
    x, y = tasks[1].train.features[:4], tasks[1].train.labels[:4]
    assert replay.loss(model, x, y, tasks[1]).item() == pytest.approx(F.cross_entropy(model(x)[:, 2:], y - 2).item())
    replay.finish(model, tasks[0])
    assert replay.memory.seen == len(tasks[0].train)
    old_x = torch.stack([item[0] for item in replay.memory.items])
    old_y = torch.tensor([item[1] for item in replay.memory.items])
    sums = F.cross_entropy(model(x)[:, 2:], y - 2, reduction="sum") + F.cross_entropy(
        model(old_x)[:, :2], old_y, reduction="sum"
    )
    assert replay.loss(model, x, y, tasks[1]).item() == pytest.approx(sums.item() / 10, rel=1e-5)


def test_a_task_has_its_own_part_of_train_and_of_test(digits):
    train, test = digits
    for tasks in (shift.class_incremental(train, test, GROUPS), shift.task_incremental(train, test, GROUPS)):
        for task, group in zip(tasks, GROUPS, strict=True):
            for part, whole in ((task.train, train), (task.test, test)):
                kept = torch.isin(whole.labels, torch.tensor(group))
                assert torch.equal(part.features, whole.features[kept])
                assert torch.equal(part.labels, whole.labels[kept])


def test_groups_are_two_or_more_and_none_is_empty(digits):
    for bad in (((0, 1, 2, 3),), ()):
        with pytest.raises(ValueError, match="give two or more, and each class in one of them"):
            shift.class_incremental(*digits, bad)
    with pytest.raises(ValueError, match=r"train has no example of a class of \[\]"):
        shift.task_incremental(*digits, ((0, 1), ()))


def test_an_optimizer_is_new_for_each_task_and_adam_at_a_thousandth_by_default(digits):
    tasks, made = shift.class_incremental(*digits, GROUPS), []

    def adam(parameters):
        made.append(torch.optim.Adam(parameters, lr=1e-3))
        return made[-1]

    plain, given = network(), network()
    shift.learn_sequence(plain, tasks, shift.Naive(), steps=2)
    shift.learn_sequence(given, tasks, shift.Naive(), steps=2, optimizer=adam)
    assert len(made) == 2
    for one, other in zip(plain.parameters(), given.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_has_32_examples_and_replay_adds_as_many(digits):
    tasks, seen = shift.class_incremental(*digits, GROUPS), []
    model = network()
    model.register_forward_pre_hook(lambda net, inputs: seen.append(len(inputs[0])) if net.training else None)
    shift.learn_sequence(model, tasks, shift.Replay(), steps=2)
    assert seen == [32, 32, 64, 64]


def test_nothing_is_remembered_with_a_graph(digits):
    """Whoever measures within a training step must not keep every activation."""
    tasks, replay, ewc = shift.class_incremental(*digits, GROUPS), shift.Replay(), shift.EWC(examples=4)
    model = network()
    for strategy in (replay, ewc):
        strategy.finish(model, tasks[0])
    assert len(replay.memory.items) == 200
    assert not any(inputs.requires_grad for inputs, _, _ in replay.memory.items)
    assert not any(t.requires_grad for part in ewc.memories[0] for t in part.values())


def test_replay_keeps_tensors_only():
    texts = data.Texts(name="t", texts=("a b", "c d"), labels=torch.tensor([0, 1]), classes=("a", "b"))
    task = shift.Task("t", texts, texts, (0, 1), (0, 1))
    with pytest.raises(TypeError, match="replay keeps tensors; for texts give the features of a backbone"):
        shift.Replay().finish(Reader(), task)


def test_ewc_takes_as_many_examples_as_it_is_told(digits, monkeypatch):
    seen = []
    module = importlib.import_module("tlcourse.shift.ewc")
    fisher = module.diagonal_fisher
    monkeypatch.setattr(
        module,
        "diagonal_fisher",
        lambda model, x, y, *, outputs: seen.append(len(y)) or fisher(model, x, y, outputs=outputs),
    )
    tasks = shift.class_incremental(*digits, GROUPS)
    for ewc in (shift.EWC(), shift.EWC(examples=1)):
        ewc.finish(network(), tasks[0])
    assert seen == [min(256, len(tasks[0].train)), 1]


# the matrix

MATRIX = torch.tensor([[0.9, 0.2, 0.1], [0.95, 0.8, 0.3], [0.5, 0.6, 0.7]])


def test_numbers_of_the_matrix_by_hand():
    assert shift.average_accuracy(MATRIX) == pytest.approx((0.5 + 0.6 + 0.7) / 3)
    assert shift.average_forgetting(MATRIX) == pytest.approx(((0.95 - 0.5) + (0.8 - 0.6)) / 2)
    assert shift.backward_transfer(MATRIX) == pytest.approx(((0.5 - 0.9) + (0.6 - 0.8)) / 2)
    start = torch.tensor([0.5, 0.1, 0.2])
    assert shift.forward_transfer(MATRIX, start) == pytest.approx(((0.2 - 0.1) + (0.3 - 0.2)) / 2)


def test_an_accuracy_before_the_task_was_trained_is_not_what_was_forgotten():
    lucky = MATRIX.clone()
    lucky[0, 1] = 1.0
    assert shift.average_forgetting(lucky) == shift.average_forgetting(MATRIX)


@pytest.mark.parametrize("make", [shift.EWC, shift.LwF, shift.Replay])
def test_a_strategy_that_remembers_is_not_used_twice(digits, make):
    tasks, used = shift.class_incremental(*digits, GROUPS), make()
    learn(tasks, used, steps=2)
    with pytest.raises(ValueError, match="earlier run; make a new one"):
        learn(tasks, used, steps=2)


def test_bad_input(digits, unchecked):
    with pytest.raises(ValueError, match="each class in one of them"):
        shift.class_incremental(*digits, ((0, 1), (1, 2)))
    with pytest.raises(ValueError, match=r"test has no example of a class of \[2, 3\]"):
        shift.class_incremental(digits[0], digits[1].where(digits[1].labels < 3), GROUPS)
    with pytest.raises(ValueError, match="train and test have other classes"):
        shift.task_incremental(digits[0], digits[1].only(["0", "1"]), GROUPS)
    with pytest.raises(ValueError, match="domain 'b' has other classes than 'a'"):
        shift.domain_incremental({"a": digits, "b": (digits[0].only(["1", "0"]), digits[1])})
    with pytest.raises(ValueError, match="1 domain; a sequence needs two"):
        shift.domain_incremental({"a": digits})
    tasks = shift.class_incremental(*digits, GROUPS)
    with pytest.raises(ValueError, match="1 tasks, 5 steps, batch_size 32"):
        shift.learn_sequence(network(), tasks[:1], shift.Naive(), steps=5)
    with pytest.raises(TypeError, match="inputs are list; give a tensor, for texts the features"):
        shift.diagonal_fisher(network(), ["a"], torch.tensor([0]))
    with pytest.raises(ValueError, match="3 inputs and 2 labels"):
        shift.diagonal_fisher(network(), torch.zeros(3, 64), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"matrix has shape \(2, 3\)"):
        shift.average_forgetting(MATRIX[:2])
    with pytest.raises(ValueError, match=r"start has shape \(2,\)"):
        shift.forward_transfer(MATRIX, torch.zeros(2))
    for make, message in (
        (lambda: shift.EWC(weight=-1.0), "weight is -1"),
        (lambda: shift.LwF(temperature=0.0), "temperature 0"),
        (lambda: shift.Replay(capacity=0), "capacity is 0"),
        (lambda: shift.Replay(batch_size=0), "batch_size is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_replay_keeps_its_examples_and_not_the_task_that_they_are_from(digits):
    replay = shift.Replay(capacity=6)
    replay.finish(network(), shift.class_incremental(*digits, GROUPS)[0])
    assert {item[0].untyped_storage().nbytes() for item in replay.memory.items} == {64 * 4}
