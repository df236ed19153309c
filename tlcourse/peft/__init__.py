"""Part 3: parameter-efficient fine-tuning, one method a file, all put into a network in the same way."""

from tlcourse.peft.adapter import BottleneckLayer, inject_adapter
from tlcourse.peft.architecture import (
    LLAMA_2_7B,
    LLAMA_2_13B,
    LLAMA_2_70B,
    Architecture,
    architecture_of,
)
from tlcourse.peft.bitfit import inject_bitfit
from tlcourse.peft.dora import DoRALinear, inject_dora
from tlcourse.peft.ia3 import IA3Linear, inject_ia3
from tlcourse.peft.inject import AdapterLayer, count_parameters, find, inject
from tlcourse.peft.io import load_adapter, save_adapter
from tlcourse.peft.lora import LoRALinear, inject_lora
from tlcourse.peft.measure import peak_bytes, saved_bytes
from tlcourse.peft.memory import Memory, predict_memory
from tlcourse.peft.merge import merge, unmerge
from tlcourse.peft.mixed import mixed
from tlcourse.peft.prefix import Prefix, inject_prefix
from tlcourse.peft.prompt import SoftPrompt, inject_prompt
from tlcourse.peft.qlora import NF4Linear, inject_qlora, quantize_linears
from tlcourse.peft.quantize import Quantized, dequantize, nf4_codebook, quantize
from tlcourse.peft.shelf import Recipe, active, adapters, remove, switch
from tlcourse.peft.vera import VeRALinear, inject_vera

__all__ = [
    "LLAMA_2_7B",
    "LLAMA_2_13B",
    "LLAMA_2_70B",
    "AdapterLayer",
    "Architecture",
    "BottleneckLayer",
    "DoRALinear",
    "IA3Linear",
    "LoRALinear",
    "Memory",
    "NF4Linear",
    "Prefix",
    "Quantized",
    "Recipe",
    "SoftPrompt",
    "VeRALinear",
    "active",
    "adapters",
    "architecture_of",
    "count_parameters",
    "dequantize",
    "find",
    "inject",
    "inject_adapter",
    "inject_bitfit",
    "inject_dora",
    "inject_ia3",
    "inject_lora",
    "inject_prefix",
    "inject_prompt",
    "inject_qlora",
    "inject_vera",
    "load_adapter",
    "merge",
    "mixed",
    "nf4_codebook",
    "peak_bytes",
    "predict_memory",
    "quantize",
    "quantize_linears",
    "remove",
    "save_adapter",
    "saved_bytes",
    "switch",
    "unmerge",
]
