"""Language models: the real SmolLM2, de-quantised, and a Llama in the hub's format."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch import nn

from tlcourse import models


@pytest.fixture(scope="module")
def smollm2() -> models.LanguageModel:
    models.language()  # makes the cache, if need be
    begun = time.process_time()
    model = models.language()
    assert time.process_time() - begun < 6, "about 1 s is usual; this much means it is de-quantised every time"
    return model


def test_knows_a_capital(smollm2: models.LanguageModel):
    assert smollm2.complete("The capital of France is", tokens=2).startswith(" Paris")
    assert smollm2.tokenizer.decode(smollm2.next_logits(["The capital of France is"])[0].argmax()) == " Paris"


def test_weights_are_those_of_the_quantised_file(smollm2: models.LanguageModel):
    from gguf import GGUFReader, dequantize

    from tlcourse import assets

    tensors = {t.name: t for t in GGUFReader(assets.path("smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")).tensors}
    state = smollm2.net.state_dict()
    for theirs, ours in {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.7.ffn_down.weight": "model.layers.7.mlp.down_proj.weight",
        "output_norm.weight": "model.norm.weight",
    }.items():
        expected = torch.from_numpy(dequantize(tensors[theirs].data, tensors[theirs].tensor_type).copy())
        torch.testing.assert_close(state[ours], expected.reshape(state[ours].shape), atol=0, rtol=0)


def test_padding_has_no_say(smollm2: models.LanguageModel):
    prompts = ["The capital of France is", "Two"]
    together = smollm2.next_logits(prompts)
    for row, prompt in zip(together, prompts, strict=True):
        torch.testing.assert_close(smollm2.next_logits([prompt])[0], row, atol=2e-3, rtol=1e-3)


def test_next_logits_are_those_of_the_whole_model(tiny_llama: Path):
    model = models.language(source="hub", checkpoint=tiny_llama)
    assert model.name == "smollm2_360m"
    ids = model.tokenizer("a cat", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = model.net(ids).logits[0, -1]
    torch.testing.assert_close(model.next_logits(["a cat"])[0], expected)


def test_complete_is_greedy(tiny_llama: Path):
    model = models.language("smollm2_360m", checkpoint=tiny_llama)
    with torch.no_grad():
        model.net.lm_head = nn.Linear(32, 257, bias=True)
        nn.init.zeros_(model.net.lm_head.weight)
        model.net.lm_head.bias[:] = 0
        model.net.lm_head.bias[model.tokenizer.convert_tokens_to_ids("z")] = 9
    assert model.complete("a", tokens=4) == "zzzz"


def test_bad_arguments(tmp_path: Path, tiny_llama: Path):
    with pytest.raises(KeyError, match="smollm2"):
        models.language("smolm")
    with pytest.raises(ValueError, match="save_pretrained"):
        models.language(checkpoint=tmp_path)
    model = models.language(checkpoint=tiny_llama)
    with pytest.raises(ValueError, match="none of them empty"):
        model.next_logits(["a", ""])
    with pytest.raises(ValueError, match="list"):
        model.next_logits("a")
    with pytest.raises(ValueError, match="empty"):
        model.complete("")
