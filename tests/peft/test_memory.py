"""Predicted memory against what PyTorch keeps, and against the published sizes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, LlamaConfig, LlamaForCausalLM, MistralConfig

from tlcourse.peft import (
    LLAMA_2_7B,
    LLAMA_2_13B,
    LLAMA_2_70B,
    Architecture,
    Memory,
    architecture_of,
    count_parameters,
    inject_lora,
    inject_qlora,
    memory,
    peak_bytes,
    predict_memory,
    quantize,
    saved_bytes,
)
from tlcourse.peft.memory import METHODS


@dataclass(frozen=True)
class Run:
    family: str
    method: str
    few: bool = False  # only queries and values
    checkpointing: bool = False
    padded: bool = False
    wide: bool = False  # feed-forward network
    half: bool = False
    vocabulary: int = 50
    short: bool = False

    @property
    def batch(self) -> int:
        return 1 if self.short else 6

    @property
    def length(self) -> int:
        return 4 if self.short else 40

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.half else torch.float32


RUNS = [
    Run("llama", "full"),
    Run("llama", "full", short=True, vocabulary=900),
    Run("llama", "full", padded=True, wide=True, half=True, vocabulary=700),
    Run("llama", "full", checkpointing=True, vocabulary=700),
    Run("llama", "lora", few=True),
    Run("llama", "lora", few=True, padded=True, wide=True, half=True),
    Run("llama", "lora", wide=True, vocabulary=700),
    Run("llama", "lora", few=True, checkpointing=True, wide=True),
    Run("llama", "qlora"),
    Run("llama", "qlora", checkpointing=True, padded=True, half=True, vocabulary=700),
    Run("bert", "full", wide=True),
    Run("bert", "lora", few=True, padded=True, wide=True),
    Run("bert", "lora", wide=True, half=True),
    Run("bert", "lora", checkpointing=True, wide=True),
    Run("bert", "qlora", wide=True),
]


class Holder(nn.Module):
    def __init__(self, net: nn.Module, config: Any) -> None:
        super().__init__()
        self.net, self.config = net, config


def network(run: Run) -> Any:
    sizes = {
        "vocab_size": run.vocabulary,
        "hidden_size": 32,
        "intermediate_size": 160 if run.wide else 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
    }
    if run.family == "llama":
        config = LlamaConfig(**sizes, num_key_value_heads=4, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1)
        return LlamaForCausalLM(config).to(run.dtype).train()
    config = BertConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return Holder(BertModel(config, add_pooling_layer=False), config).to(run.dtype).train()


def forward(model: Any, run: Run) -> Callable[[], torch.Tensor]:
    ids = torch.randint(2, 40, (run.batch, run.length), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, run.length // 2 :] = 0
    masks = {"attention_mask": mask} if run.padded else {}
    if run.family == "llama":
        return lambda: model(input_ids=ids, labels=ids, use_cache=False, **masks).loss
    return lambda: model.net(input_ids=ids, **masks).last_hidden_state.float().mean()


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
@pytest.mark.parametrize("run", RUNS, ids=lambda run: " ".join(str(v) for v in vars(run).values() if v is not False))
def test_predicts_what_is_kept_and_the_peak(run: Run):
    model = network(run)
    sizes = architecture_of(model.config)
    few = ["q_proj", "v_proj"] if run.family == "llama" else ["query", "value"]
    targets = few if run.few else list(sizes.linears)
    if run.method != "full":
        {"lora": inject_lora, "qlora": inject_qlora}[run.method](model, targets, rank=3, alpha=6)
    if run.checkpointing:
        inner = model if run.family == "llama" else model.net
        inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    loss = forward(model, run)
    rule = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad])

    def step() -> None:
        loss().backward()
        rule.step()
        rule.zero_grad()

    step()
    predicted = predict_memory(
        sizes,
        batch=run.batch,
        length=run.length,
        method=run.method,
        targets=targets,
        rank=3,
        dtype=run.dtype,
        checkpointing=run.checkpointing,
        padded=run.padded,
        state_bytes=run.dtype.itemsize,
    )
    trained = count_parameters(model)[0]
    weights = sum(t.nbytes for t in [*model.parameters(), *model.buffers()] if t.dtype != torch.int64)  # not positions
    states = sum(value.nbytes for state in rule.state.values() for value in state.values() if value.ndim)
    assert predicted.gradients == trained * run.dtype.itemsize
    assert predicted.optimizer == states
    assert predicted.weights == pytest.approx(weights, rel=0.01)
    assert predicted.activations == pytest.approx(
        saved_bytes(model, loss), rel=0.03 if run.short or run.checkpointing else 0.01
    )
    assert predicted.peak == pytest.approx(peak_bytes(step, model, optimizer=rule), rel=0.05)


def test_counts_the_parameters_of_any_configuration():
    for config in (
        LlamaConfig(vocab_size=90, hidden_size=48, intermediate_size=70, num_hidden_layers=3, num_attention_heads=6,
                    num_key_value_heads=3, bos_token_id=0, eos_token_id=1),
        MistralConfig(vocab_size=90, hidden_size=48, intermediate_size=70, num_hidden_layers=1, num_attention_heads=4,
                      num_key_value_heads=2, bos_token_id=0, eos_token_id=1),
    ):  # fmt: skip
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_config(config)
        assert architecture_of(config).parameters == sum(p.numel() for p in model.parameters())


def test_published_sizes():
    """Numbers of parameters as Meta and Hugging Face publish them."""
    assert LLAMA_2_7B.parameters == 6_738_415_616
    assert LLAMA_2_13B.parameters == 13_015_864_320
    assert LLAMA_2_70B.parameters == 68_976_648_192
    smollm2 = Architecture("llama", 30, 576, 9, 3, 1536, 49152, tied=True)
    assert smollm2.parameters == 134_515_008
    minilm = Architecture("bert", 12, 384, 12, 12, 1536, 30522, positions=512 + 2)
    assert minilm.parameters == 33_360_000 - 384 * 384 - 384, "33.36 million with the pooler"


@dataclass(frozen=True)
class ByHand:
    """Two blocks so small that every tensor can be counted on paper; the counts are in bytes of one token."""

    sizes: Architecture
    arguments: dict[str, Any]
    expected: Memory


GROUPED = Architecture("llama", 2, 12, 3, 1, 20, 50)  # keys and values of width 4
ENCODER = Architecture("bert", 2, 12, 3, 3, 20, 50, positions=9)
# A block of GROUPED has 3·144 − 2·96 … in short: q and o 144 each, k and v 48 each, three of 240; 1104 weights.
# With two tables of 600 and five norms of 12: 3468. A block of ENCODER has 4·144 + 2·240 = 1056 weights, 80 biases and
# 48 numbers in its norms; with 59 embeddings and their norm: 3100.
COUNTED = {
    # Norms 2·(48 + 4 + 48), attention 48 + 48 + 16 + 16 + 12, network 3·80, inputs 48 + 48 + 80: 756. Last norm and
    # head: 52 + 96. On its way back: 12 + 2·20 numbers a token, and the gradient of the head, 600.
    "llama": ByHand(
        GROUPED,
        {"batch": 2, "length": 5},
        Memory(13872, 13872, 27744, 15120 + 1480 + 2000, 2000, 41616 + 18600 + 4000, 41616 + 15120 + 4480,
               41616 + 13872 + 4800),
    ),
    # Norms 2·52, attention 24 + 24 + 24 + 24 + 12 and 8 of mask, network 3·40, LoRA 2·4, inputs 24: 372; less the first
    # norm, 52. Only the last token has logits: 3·200. On its way back: 12 + 3·20 numbers.
    "llama, lora in 16 bits with a mask": ByHand(
        GROUPED,
        {"batch": 3, "length": 4, "method": "lora", "targets": ("q_proj", "v_proj"), "rank": 2, "padded": True,
         "dtype": torch.bfloat16, "scored": 1},
        Memory(2 * (3468 + 160), 320, 1280, 8928 - 624 + 624 + 600, 600, 8536 + 9528 + 1200, 8536 + 8304 + 1728,
               8536 + 320 + 160),
    ),
    # 2208 weights in four bits take 1104 bytes, 34.5 for the scales and 0.54 for theirs. Norms 2·52, attention 140,
    # network 240, LoRA 7·4, inputs 176: 688, of which 48 are kept. On its way back: 12 + 2·20 numbers and two copies of
    # a weight, 8·240.
    "llama, qlora with checkpoints": ByHand(
        GROUPED,
        {"batch": 1, "length": 3, "method": "qlora", "rank": 1, "checkpointing": True},
        Memory(1139 + 4 * (1260 + 352), 1408, 2816, 288 + 156 + 600, 600, 10403 + 1044 + 1200,
               10403 + 288 + 1920 + 624 + 1920, 10403 + 1408 + 160),
    ),
    # Norms 2·56, attention 4·48 + 12, network 80, inputs 48 + 48 + 80: 572. The norm of the embeddings: 56.
    "bert": ByHand(
        ENCODER,
        {"batch": 2, "length": 5},
        Memory(12400, 12400, 24800, 11440 + 560, 0, 37200 + 12000, 37200 + 11440 + 1280, 37200 + 12400 + 4800),
    ),
    # Norms 2·32, attention 4·24 + 12, network 40, LoRA 6, input 40: 258. On its way back: 12 + 2·20 numbers.
    "bert, lora in 16 bits": ByHand(
        ENCODER,
        {"batch": 1, "length": 2, "method": "lora", "targets": ["output.dense"], "rank": 3, "dtype": torch.float16,
         "state_bytes": 2},
        Memory(2 * (3100 + 192), 384, 768, 1032, 0, 7352 + 1032, 7352 + 1032 + 208, 7352 + 384 + 240),
    ),
    # The least of everything. Norms 112, attention 204, network 80, LoRA 4, input 48: 448, of which 48 are kept.
    "bert, lora with checkpoints": ByHand(
        ENCODER,
        {"batch": 1, "length": 1, "method": "lora", "targets": ["query"], "rank": 1, "checkpointing": True},
        Memory(4 * (3100 + 48), 192, 384, 96 + 56, 0, 12976 + 152, 12976 + 96 + 400 + 208, 12976 + 192 + 160),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", COUNTED)
def test_every_byte_of_a_small_network_counted_by_hand(case: str):
    counted = COUNTED[case]
    found = predict_memory(counted.sizes, **counted.arguments)
    assert found == counted.expected
    assert found.peak == max(found.at_loss, found.at_block, found.at_update)


def test_what_is_predicted_when_nothing_is_said():
    """Full training in 32 bits without a mask; LoRA on all linear layers with rank 8."""
    assert predict_memory(GROUPED, batch=2, length=5) == predict_memory(
        GROUPED, batch=2, length=5, method="full", dtype=torch.float32, checkpointing=False, padded=False, scored=5,
        state_bytes=4,
    )  # fmt: skip
    every = 144 + 48 + 48 + 144 + 3 * 240
    assert GROUPED.block_parameters == 2 * every
    assert predict_memory(GROUPED, batch=1, length=1, method="lora").gradients == 4 * 2 * 8 * (24 + 16 + 16 + 24 + 96)


def test_sizes_and_predictions_cannot_be_changed():
    run = memory.Run(GROUPED, "full", (), 1, 4, 1, 1, False)
    for thing, name in ((GROUPED, "layers"), (predict_memory(GROUPED, batch=1, length=1), "weights"), (run, "batch")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, 1)


def test_what_everybody_knows_about_large_models():
    full = predict_memory(LLAMA_2_7B, batch=1, length=512, dtype=torch.bfloat16)
    assert full.weights == 2 * LLAMA_2_7B.parameters
    assert full.weights + full.gradients + full.optimizer == 12 * LLAMA_2_7B.parameters
    setting: dict[str, Any] = {"batch": 1, "length": 512, "rank": 64, "dtype": torch.bfloat16, "checkpointing": True}
    assert predict_memory(LLAMA_2_7B, method="qlora", **setting).peak < 8e9, "fits on a laptop's GPU"
    assert predict_memory(LLAMA_2_70B, method="qlora", **setting).peak < 48e9, "on one GPU of 48 GB, as the paper says"
    assert predict_memory(LLAMA_2_70B, method="lora", **setting).peak > 80e9


def test_each_saving_saves():
    def peak(**changes: Any) -> Memory:
        setting: dict[str, Any] = {"batch": 4, "length": 256, "method": "lora", "targets": ("q_proj", "v_proj")}
        return predict_memory(LLAMA_2_7B, **(setting | changes))

    plain = peak()
    assert peak(method="full", targets=None).peak > 3 * plain.weights
    assert peak(dtype=torch.bfloat16).weights == plain.weights / 2
    assert peak(checkpointing=True).activations < plain.activations / 8
    assert peak(scored=1).logits == plain.logits / 256
    assert peak(batch=2).activations == pytest.approx(plain.activations / 2)
    assert peak(length=128).activations == pytest.approx(plain.activations / 2)
    assert peak(padded=True).activations > plain.activations
    quantised = peak(method="qlora", targets=None).weights - (2 * 32000 * 4096 + 65 * 4096) * 4
    assert quantised < LLAMA_2_7B.block_parameters * 0.53 + 32 * 4 * 8 * 7 * (4096 + 11008)


def test_bytes_of_a_quantised_weight_are_those_of_the_quantiser():
    from tlcourse.peft.memory import NF4_BYTES

    assert quantize(torch.randn(2048, 2048)).nbytes / 2048**2 == pytest.approx(NF4_BYTES, rel=1e-5)


BAD = {
    "batch": ({"batch": 0, "length": 5}, "each must be 1 or more"),
    "length": ({"batch": 1, "length": 0}, "each must be 1 or more"),
    "rank": ({"batch": 1, "length": 5, "method": "lora", "rank": 0}, "each must be 1 or more"),
    "method": ({"batch": 1, "length": 5, "method": "dora"}, f"choose one of {', '.join(METHODS)}"),
    "targets": ({"batch": 1, "length": 5, "method": "lora", "targets": ["query"]}, "linear layers of a block: q_proj"),
    "none": ({"batch": 1, "length": 5, "method": "lora", "targets": []}, "linear layers of a block: q_proj"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case: str):
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        predict_memory(LLAMA_2_7B, **arguments)


def test_architectures_that_are_not_known():
    with pytest.raises(ValueError, match="'gpt2' is not one of llama, mistral"):
        architecture_of(GPT2Config())
    with pytest.raises(ValueError, match="8 heads of 16 are not as wide as the layers, 64"):
        architecture_of(LlamaConfig(hidden_size=64, num_attention_heads=8, head_dim=16))
    with pytest.raises(ValueError, match="3 heads of 3 are not as wide as the layers, 10"):
        architecture_of(BertConfig(hidden_size=10, num_attention_heads=3))


def test_sizes_are_read_from_a_configuration():
    sizes = {"vocab_size": 90, "hidden_size": 48, "intermediate_size": 70, "num_hidden_layers": 3}
    llama = LlamaConfig(**sizes, num_attention_heads=6, num_key_value_heads=3, bos_token_id=0, eos_token_id=1)
    assert architecture_of(llama) == Architecture("llama", 3, 48, 6, 3, 70, 90, tied=False, positions=0)
    llama.tie_word_embeddings = True
    assert architecture_of(llama).tied
    bert = BertConfig(**sizes, num_attention_heads=4, max_position_embeddings=33, type_vocab_size=2)
    assert architecture_of(bert) == Architecture("bert", 3, 48, 4, 4, 70, 90, tied=False, positions=35)
    assert architecture_of(bert).parameters == sum(
        parameter.numel() for parameter in BertModel(bert, add_pooling_layer=False).parameters()
    )


def test_the_meters_count_tensors_once_and_until_they_are_freed():
    model = nn.Linear(10, 10, bias=False)
    own = 400

    def step() -> None:
        first = torch.zeros(1000)
        view = first.view(10, 100)[2:]
        del first
        second = torch.ones(250)
        del view
        third = torch.ones(2000)
        del second, third

    assert peak_bytes(step, model) == own + 1000 + 8000
    assert peak_bytes(lambda: None, model) == own
    x = torch.zeros(5, 10)
    assert saved_bytes(model, lambda: model(x).exp().exp()) == 5 * 10 * 4 * 3


def test_the_peak_counts_gradients_states_and_numbers_as_wide_as_they_are():
    model = nn.Linear(10, 10, bias=False)
    rule = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 10)).sum().backward()
    rule.step()
    states = 400 + 400 + 4  # two numbers a parameter, and the number of the step
    assert peak_bytes(lambda: None, model, optimizer=rule) == 400 + 400 + states
    assert peak_bytes(lambda: torch.zeros(30, dtype=torch.float64), model) == 400 + 400 + 240


def test_what_was_kept_is_let_go():
    layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Sigmoid())  # keeps its own output
    seen = []

    def forward() -> torch.Tensor:
        result = layers(torch.ones(4, 8))
        seen.append(weakref.ref(result.untyped_storage()))
        return result

    assert saved_bytes(layers, forward) == 2 * 4 * 8 * 4
    assert seen[0]() is None
