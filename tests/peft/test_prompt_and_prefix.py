"""Virtual tokens: what the transformer sees, what it does not, and what shows outside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tlcourse import models, training
from tlcourse.peft import count_parameters, inject_prefix, inject_prompt, remove
from tlcourse.peft.prompt import find_transformer

INJECT = {
    "prompt": lambda m: inject_prompt(m, 4),
    "prefix": lambda m: inject_prefix(m, 4),
    "prefix through a network": lambda m: inject_prefix(m, 4, hidden=6),
}


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_prompt_of_words_is_those_words_before_the_text(family: str, build: Any):
    model = build(family)
    words, text = torch.tensor([7, 8, 9]), torch.randint(2, 61, (2, 5), generator=torch.Generator().manual_seed(0))
    expected = model(input_ids=torch.cat([words.expand(2, -1), text], dim=1)).logits[:, 3:]
    inject_prompt(model, 3, init_ids=words)
    torch.testing.assert_close(model(input_ids=text).logits, expected, atol=1e-5, rtol=1e-5)
    mask = torch.ones_like(text)
    torch.testing.assert_close(model(input_ids=text, attention_mask=mask).logits, expected, atol=1e-5, rtol=1e-5)


def test_words_are_repeated_or_cut_to_length(build: Any):
    model = build("gpt2")
    vectors = model.transformer.wte.weight
    inject_prompt(model, 5, init_ids=torch.tensor([3, 4]))
    assert torch.equal(model.transformer.prompt, vectors[[3, 4, 3, 4, 3]])
    inject_prompt(model, 1, init_ids=torch.tensor([3, 4]), name="short")
    assert torch.equal(model.transformer.prompt, vectors[[3]])
    inject_prompt(model, 6, name="drawn")
    rows = (model.transformer.prompt[:, None] == vectors).all(dim=2)
    assert rows.any(dim=1).all(), "every vector is one of the vocabulary"
    assert len(rows.nonzero()[:, 1].unique()) > 1


@pytest.mark.parametrize("kind", INJECT)
@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_padding_has_no_say_and_the_prompt_has(kind: str, family: str, build: Any, batch: Any, stir: Any):
    model = build(family)
    bare = model(**batch).logits
    stir(INJECT[kind](model))
    together = model(**batch).logits
    assert together.shape == bare.shape
    for row, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        text = batch["input_ids"][row : row + 1, :length]
        alone = model(input_ids=text, attention_mask=torch.ones_like(text)).logits[0]
        torch.testing.assert_close(together[row, :length], alone, atol=1e-5, rtol=1e-5)
        assert (alone - bare[row, :length]).abs().max() > 0.01


@pytest.mark.parametrize("kind", INJECT)
def test_a_missing_mask_means_that_everything_is_seen(kind: str, build: Any, batch: Any):
    model = INJECT[kind](build("bert"))
    ids = batch["input_ids"]
    masked = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(model.net(input_ids=ids).last_hidden_state, masked, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", INJECT)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_generates_what_it_predicts_with_and_without_a_cache(kind: str, family: str, build: Any, batch: Any, stir: Any):
    model = INJECT[kind](build(family))
    stir(model)
    model.generation_config.eos_token_id = None
    ids = batch["input_ids"][:, -3:].flip(0)
    mask = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 1]])  # on the left, where generation wants padding
    found = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=5,
        do_sample=False,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
    )
    for row, padding in enumerate((0, 1, 2)):
        text = found.sequences[row : row + 1, padding:]
        logits = model(input_ids=text, attention_mask=torch.ones_like(text)).logits[0, -6:-1]
        torch.testing.assert_close(torch.stack(found.logits)[:, row], logits, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.past_key_values. is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", INJECT)
def test_nothing_is_put_before_a_past_even_of_one_token(kind: str, build: Any, batch: Any):
    model, ids = build("llama"), batch["input_ids"]
    expected = model(input_ids=ids).logits[:, 1:]
    past = model(input_ids=ids[:, :1], use_cache=True).past_key_values
    INJECT[kind](model)
    found = model(input_ids=ids[:, 1:], past_key_values=past).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", INJECT)
def test_the_text_may_come_as_vectors(kind: str, build: Any, batch: Any):
    model = INJECT[kind](build("llama"))
    vectors = model.get_input_embeddings()(batch["input_ids"])
    found = model(inputs_embeds=vectors, attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(found, model(**batch).logits, atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match="give the transformer input_ids or inputs_embeds"):
        model.model(attention_mask=batch["attention_mask"])


def test_positions_and_segments_that_are_given(build: Any, batch: Any):
    ids = batch["input_ids"]
    given = {"position_ids": torch.arange(7).expand(3, -1)}
    for inject in INJECT.values():
        model = inject(build("llama"))
        torch.testing.assert_close(model(input_ids=ids, **given).logits, model(input_ids=ids).logits)
    encoder = INJECT["prompt"](build("bert"))
    zeros, ones = torch.zeros_like(ids), torch.ones_like(ids)
    plain = encoder.net(input_ids=ids).last_hidden_state
    torch.testing.assert_close(encoder.net(input_ids=ids, token_type_ids=zeros).last_hidden_state, plain)
    assert not torch.allclose(encoder.net(input_ids=ids, token_type_ids=ones).last_hidden_state, plain, atol=1e-3)


def test_the_loss_of_the_model_itself_fits(build: Any, batch: Any):
    model = inject_prompt(build("llama"), 4)
    logits = model(**batch).logits
    labels = batch["input_ids"]
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert model(**batch, labels=labels).loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_prefix_is_keys_and_values_of_every_layer(build: Any):
    model = inject_prefix(build("llama"), 3)
    layer = model.model
    assert layer.prefix.shape == (3, 2 * 2 * 2 * 8)
    cache = layer.cache(5)
    for number in (0, 1):
        part = layer.prefix.view(3, 2, 2, 2, 8)[:, number]
        assert torch.equal(cache.layers[number].keys, part[:, 0].transpose(0, 1).expand(5, -1, -1, -1))
        assert torch.equal(cache.layers[number].values, part[:, 1].transpose(0, 1).expand(5, -1, -1, -1))


def test_hidden_states_are_those_of_the_text(build: Any, batch: Any):
    model = inject_prompt(build("llama"), 4)
    states = model(**batch, output_hidden_states=True).hidden_states
    assert [tuple(state.shape) for state in states] == [(3, 7, 32)] * 3


@pytest.mark.parametrize("kind", INJECT)
def test_a_classifier_on_a_text_backbone_trains(kind: str):
    classifier = models.Classifier(models.text(pretrained=False), 2)
    INJECT[kind](classifier.backbone)
    trainable = count_parameters(classifier)[0]
    assert trainable == count_parameters(classifier.backbone)[0] + 2 * 384 + 2
    before = [p.detach().clone() for p in classifier.parameters() if p.requires_grad]
    history = training.fit(classifier, [("good film", 1), ("bad film", 0)], steps=2, batch_size=2, lr=1e-2)
    assert len(history.losses) == 2
    after = [p.detach() for p in classifier.parameters() if p.requires_grad]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    batch = classifier.collate(["a text", "another longer text"])
    features = classifier.backbone.stage_features(batch)
    assert {tuple(value.shape) for value in features.values()} == {(2, 384)}
    remove(classifier.backbone)


def test_a_language_model_takes_them(build: Any):
    class Letters:
        def __call__(self, texts: list[str], **_: Any) -> Any:
            from transformers import BatchEncoding

            ids = torch.tensor([[2 + ord(letter) % 50 for letter in text] for text in texts])
            return BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    for inject in INJECT.values():
        model = models.LanguageModel("tiny", inject(build("llama")), Letters())
        expected = model.net(**Letters()(["abc"])).logits[:, -1]
        torch.testing.assert_close(model.next_logits(["abc"]), expected)


@pytest.mark.parametrize("inject", [inject_prompt, inject_prefix])
def test_one_token_is_enough(inject: Any, build: Any, batch: Any):
    model = build("llama")
    bare = model(**batch).logits
    trained, _ = count_parameters(inject(model, 1))
    assert trained == (32 if inject is inject_prompt else 2 * 2 * 2 * 8)
    assert (model(**batch).logits - bare).abs().max() > 1e-3


def test_the_network_of_a_prefix_starts_as_pytorch_starts_its_layers(build: Any):
    network = inject_prefix(build("llama"), 2, hidden=64).model.network
    assert [tuple(layer.weight.shape) for layer in (network[0], network[2])] == [(64, 16), (64, 64)]
    for layer, bound in ((network[0], 16**-0.5), (network[2], 64**-0.5)):
        for values in (layer.weight.detach(), layer.bias.detach()):
            assert 0.9 * bound < values.abs().max() <= bound
            assert float(values.std()) == pytest.approx(bound / 3**0.5, rel=0.2), "uniform"


def test_a_transformer_as_the_model_itself_is_not_looked_into():
    class Transformer(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module | None = None) -> None:
            super().__init__()
            self.inner = inner

        @property
        def base_model(self) -> torch.nn.Module:
            return self

        def get_input_embeddings(self) -> None: ...

    assert find_transformer(torch.nn.Sequential(Transformer(Transformer()))).path == "0"
    with pytest.raises(ValueError, match="Transformer holds no transformer; hand over a module that has one inside"):
        find_transformer(Transformer(Transformer()))


BAD = {
    "no words": (lambda build: inject_prompt(build("gpt2"), 2, init_ids=torch.tensor([]).long()), "init_ids is empty"),
    "no tokens": (lambda build: inject_prompt(build("gpt2"), 0), "tokens is 0"),
    "fewer": (lambda build: inject_prefix(build("gpt2"), -2), "tokens is -2"),
    "nothing to put it before": (lambda build: inject_prompt(models.MLP([3, 4]), 2), "MLP holds no transformer"),
    "the bare transformer": (lambda build: inject_prompt(build("bert").net, 2), "BertModel holds no transformer"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case: str, build: Any):
    act, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        act(build)


def test_a_mask_of_another_kind_is_refused(build: Any, batch: Any):
    model = inject_prefix(build("llama"), 2)
    with pytest.raises(ValueError, match=r"give 1 or 0 for each token: \(n, text\)"):
        model(input_ids=batch["input_ids"], attention_mask=torch.ones(3, 1, 7, 7))


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
def test_a_prefix_and_checkpointing_do_not_go_together(build: Any, batch: Any):
    model = inject_prefix(build("llama"), 2)
    model.gradient_checkpointing_enable()
    model.train()
    with pytest.raises(ValueError, match="gradient checkpointing drops the prefix"):
        model(**batch)
    prompted = inject_prompt(build("llama"), 2)
    plain: Tensor = prompted(**batch, use_cache=False).logits
    prompted.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    prompted.train()(**batch, use_cache=False).logits.sum().backward()
    torch.testing.assert_close(prompted(**batch, use_cache=False).logits, plain)
    assert prompted.model.prompt.grad.abs().max() > 0


def test_a_prefix_before_a_transformer_that_knows_of_no_checkpointing(build: Any, batch: Any):
    model = inject_prefix(build("llama"), 2).train()
    del model.model.base.gradient_checkpointing
    assert model(**batch).logits.requires_grad


def test_a_transformer_without_a_past_says_so():
    from transformers import DistilBertConfig, DistilBertModel

    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = DistilBertModel(DistilBertConfig(vocab_size=20, dim=16, hidden_dim=16, n_layers=1, n_heads=2))

    with pytest.raises(ValueError, match="DistilBertModel takes no keys and values from outside; use inject_prompt"):
        inject_prefix(Holder(), 2)
    model = inject_prompt(Holder(), 2)
    assert model.net(input_ids=torch.ones(1, 3, dtype=torch.int64)).last_hidden_state.shape == (1, 3, 16)
