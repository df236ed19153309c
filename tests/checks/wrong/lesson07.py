"""Typical wrong answers to the exercises of lesson 07, each with the message that it should get."""

from __future__ import annotations

import math
import warnings

import torch
import torch.nn.functional as F

from tlcourse.peft import nf4_codebook

GIB = 2**30

# 7.1 memory


def memory(*, weights=None, gradients=None, optimizer=None, activations=None, total=None, unit=GIB):
    """The right answer, with one part at a time to be replaced: functions of f, t, b (bits) and a, in bytes."""

    def training_memory(frozen, trained, bits, activations_given):
        given = (frozen, trained, bits, activations_given)
        parts = {
            "weights": weights(*given) if weights else frozen * bits / 8 + 4 * trained,
            "gradients": gradients(*given) if gradients else 4 * trained,
            "optimizer": optimizer(*given) if optimizer else 8 * trained,
            "activations": activations(*given) if activations else activations_given,
        }
        parts = {name: value / unit for name, value in parts.items()}
        return {**parts, "total": total(parts) if total else sum(parts.values())}

    return lambda frozen, trained, bits, activations: training_memory(frozen, trained, bits, activations)


def without_total(frozen, trained, bits, activations):
    result = memory()(frozen, trained, bits, activations)
    del result["total"]
    return result


# 7.2 quantise


def blocks_of(weight, block):
    flat = weight.reshape(-1)
    return F.pad(flat, (0, -len(flat) % block)).view(-1, block)


def nearest(scaled, codebook):
    return (scaled[..., None] - codebook).abs().argmin(dim=-1)


def packer(*, split=None, scale=None, code=None, stored=None):
    """The right answer, with one part at a time to be replaced."""

    def quantize(weight, codebook, block):
        rows = split(weight, block) if split else blocks_of(weight, block)
        scales = scale(rows) if scale else rows.abs().amax(dim=1)
        safe = scales.clamp(min=1e-30) if scales.ndim else scales
        scaled = rows / (safe[:, None] if safe.ndim == 1 else safe)
        codes = code(scaled, rows, codebook) if code else nearest(scaled, codebook)
        return codes, stored(scales, weight) if stored else scales

    return quantize


def zero_is_nan(weight, codebook, block):
    rows = blocks_of(weight, block)
    scales = rows.abs().amax(dim=1)
    return nearest(rows / scales[:, None], codebook), scales


def never_zero(weight, codebook, block):
    codes, scales = packer()(weight, codebook, block)
    return codes, torch.where(scales == 0, 1.0, scales)


def no_padding(weight, codebook, block):
    return packer(split=lambda weight, block: weight.reshape(-1, block))(weight, codebook, block)


def drops_the_rest(weight, block):
    flat = weight.reshape(-1)
    return flat[: len(flat) // block * block].view(-1, block)


def in_place(weight, codebook, block):
    result = packer()(weight, codebook, block)
    weight /= weight.abs().max()
    return result


def always_nf4(weight, codebook, block):
    return packer()(weight, nf4_codebook(), block)


# 7.3 dequantise


def unpacker(*, codes=None, value=None, scale=None, end=None):
    """The right answer, with one part at a time to be replaced."""

    def dequantize(packed, scales, codebook, shape):
        whole = packed.long()
        pairs = torch.stack([whole >> 4, whole & 15], dim=1).flatten()
        pairs = codes(whole) if codes else pairs
        values = value(pairs, codebook) if value else codebook[pairs]
        block = len(values) // len(scales)
        numbers = scale(values, scales, block) if scale else values * scales.repeat_interleave(block)
        return end(numbers, shape) if end else numbers[: math.prod(shape)].view(shape)

    return dequantize


def bytes_as_index(packed, scales, codebook, shape):
    pairs = torch.stack([packed >> 4, packed & 15], dim=1).flatten()
    with warnings.catch_warnings():  # PyTorch warns its reader; a test need not
        warnings.simplefilter("ignore")
        return codebook[pairs]


def padding_left(numbers, shape):
    return numbers.view(shape) if len(numbers) == math.prod(shape) else numbers


def writes_scales(packed, scales, codebook, shape):
    result = unpacker()(packed, scales, codebook, shape)
    scales *= 2
    return result


# 7.4 accumulate


def stepper(*, weigh=None, reset="before", step="after", parts=None, loss=F.cross_entropy, returned=None, late=False):
    """The right answer, with one part at a time to be replaced."""

    def accumulated_step(model, optimizer, inputs, labels, size):
        n, total, kept = len(inputs), 0.0, []
        pieces = list(zip(inputs.split(size), labels.split(size), strict=True))
        pieces = parts(inputs, labels, size) if parts else pieces
        if reset == "before":
            optimizer.zero_grad()
        for x, y in pieces:
            if reset == "inside":
                optimizer.zero_grad()
            share = weigh(len(x), n, size, len(pieces)) if weigh else len(x) / n
            value = loss(model(x), y) * share
            if late:
                kept.append(value)
            else:
                value.backward()
            if step == "inside":
                optimizer.step()
            total += value.item()
        if late:
            sum(kept).backward()
        if step == "after":
            optimizer.step()
        return returned(total, value, pieces, model, n) if returned else total

    return accumulated_step


def attached(model, optimizer, inputs, labels, size):
    stepper()(model, optimizer, inputs, labels, size)
    return sum(part.sum() for part in model.parameters())


def wipes_the_model(model, optimizer, inputs, labels, size):
    optimizer.zero_grad()
    for x, y in zip(inputs.split(size), labels.split(size), strict=True):
        model.zero_grad()
        (F.cross_entropy(model(x), y) * len(x) / len(inputs)).backward()
    optimizer.step()
    return 0.0


def full_parts(inputs, labels, size):
    whole = len(inputs) // size * size or len(inputs)
    return list(zip(inputs[:whole].split(size), labels[:whole].split(size), strict=True))


def mean_of_means(total, value, pieces, model, n):
    # The weights have moved by now; put back what the loss of each part was.
    return sum(losses_of.pop(0) for _ in range(len(pieces))) / len(pieces)


losses_of: list[float] = []


def noted(outputs, labels):
    loss = F.cross_entropy(outputs, labels)
    losses_of.append(loss.item())
    return loss


def sum_of_losses(total, value, pieces, model, n):
    return sum(losses_of.pop(0) for _ in range(len(pieces)))


WRONG = {
    "training_memory": [
        ("bits for bytes", memory(weights=lambda f, t, b, a: f * b + 4 * t), "A weight of 4 bits takes half a byte"),
        ("all in 32 bits", memory(weights=lambda f, t, b, a: 4 * (f + t)), "All weights are counted in 32 bits"),
        ("adapters missing", memory(weights=lambda f, t, b, a: f * b / 8), "They are weights too"),
        ("frozen missing", memory(weights=lambda f, t, b, a: 4 * t), "but the forward pass needs them"),
        (
            "trained in few bits",
            memory(weights=lambda f, t, b, a: (f + t) * b / 8),
            "trained weights are counted in `bits` bits",
        ),
        ("all 16 bytes", memory(weights=lambda f, t, b, a: f * b / 8 + 16 * t), "Here it is the weights alone"),
        ("gradients of frozen", memory(gradients=lambda f, t, b, a: 4 * (f + t)), "Frozen weights get no gradient"),
        ("gradients in few bits", memory(gradients=lambda f, t, b, a: t * b / 8), "its gradient too"),
        ("two gradients", memory(gradients=lambda f, t, b, a: 8 * t), "One gradient for each trained number"),
        ("states of frozen", memory(optimizer=lambda f, t, b, a: 8 * (f + t)), "AdamW keeps no states for frozen"),
        ("one state", memory(optimizer=lambda f, t, b, a: 4 * t), "AdamW keeps two states for each"),
        ("states and gradients", memory(optimizer=lambda f, t, b, a: 12 * t), "They have a key of their own"),
        ("no activations", memory(activations=lambda f, t, b, a: 0), "The activations are missing. They are given"),
        ("activations in 32 bits", memory(activations=lambda f, t, b, a: 4 * a), "They are bytes already"),
        ("GB", memory(unit=1e9), "These are GB"),
        ("bytes", memory(unit=1), "These are bytes. Divide"),
        ("MiB", memory(unit=2**20), "These are MiB"),
        ("bits", memory(unit=GIB / 8), "These are bits"),
        (
            "total without activations",
            memory(total=lambda p: sum(p.values()) - p["activations"]),
            "activations are missing in the total",
        ),
        ("largest part", memory(total=lambda p: max(p.values())), "This is the largest part"),
        ("no total", without_total, "no key"),
        ("a number", lambda frozen, trained, bits, activations: 16.0 * trained, "Came out: float"),
    ],
    "quantize": [
        ("one scale", packer(scale=lambda rows: rows.abs().max()), "One scale for the whole tensor: one large"),
        ("largest number", packer(scale=lambda rows: rows.amax(dim=1)), "A block whose extreme is negative"),
        (
            "largest for the codes",
            packer(code=lambda s, rows, book: nearest(rows / rows.amax(dim=1)[:, None], book)),
            "Divided by the largest number",
        ),
        ("deviation", packer(scale=lambda rows: rows.std(dim=1)), "Standard deviations"),
        ("by 7", packer(scale=lambda rows: rows.abs().amax(dim=1) / 7), "Divided by 7"),
        ("inverse", packer(stored=lambda scales, weight: 1 / scales), "One over the scale"),
        (
            "rows of the weight",
            packer(stored=lambda scales, weight: weight.reshape(len(weight), -1).abs().amax(dim=1)),
            "One scale for each row of the weight",
        ),
        ("keepdim", packer(stored=lambda scales, weight: scales[:, None]), "keepdim=True leaves a second axis"),
        (
            "numbers apart",
            packer(split=lambda weight, block: blocks_of(weight, block).reshape(block, -1).T),
            "Numbers that lie far apart",
        ),
        (
            "even grid",
            packer(code=lambda s, rows, book: nearest(s, torch.linspace(-1, 1, 16))),
            "Rounded to an even grid",
        ),
        (
            "next below",
            packer(code=lambda s, rows, book: torch.searchsorted(book, s.contiguous(), right=True) - 1),
            "The next value below",
        ),
        (
            "next above",
            packer(code=lambda s, rows, book: torch.searchsorted(book, s.contiguous())),
            "The next value above",
        ),
        ("not divided", packer(code=lambda s, rows, book: nearest(rows, book)), "The numbers were not divided"),
        (
            "codes by one scale",
            packer(code=lambda s, rows, book: nearest(rows / rows.abs().max(), book)),
            "Codes by one scale for the whole tensor",
        ),
        ("sign lost", packer(code=lambda s, rows, book: nearest(s.abs(), book)), "The sign is lost"),
        ("values", packer(code=lambda s, rows, book: book[nearest(s, book)]), "and not the value itself"),
        ("other codebook", always_nf4, "Each number over its scale, then the position"),
        ("zeros", zero_is_nan, "no value of the codebook is nearest to that"),
        ("scale 1 of zeros", never_zero, "return the scale as it is"),
        ("not filled up", no_padding, "The last block is not full"),
        ("rest dropped", packer(split=drops_the_rest), "after the last full block are lost"),
        ("in place", in_place, "write into the weight of the caller"),
        ("codes alone", lambda weight, codebook, block: packer()(weight, codebook, block)[0], "Return two tensors"),
    ],
    "dequantize": [
        (
            "halves swapped",
            unpacker(codes=lambda b: torch.stack([b & 15, b >> 4], dim=1).flatten()),
            "The two codes of a byte have changed places",
        ),
        ("halves apart", unpacker(codes=lambda b: torch.cat([b >> 4, b & 15])), "All upper halves come first"),
        ("lower first", unpacker(codes=lambda b: torch.cat([b & 15, b >> 4])), "All lower halves come first"),
        ("no scale", unpacker(scale=lambda v, s, block: v), "The scales were not applied"),
        ("scales tiled", unpacker(scale=lambda v, s, block: v * s.repeat(block)), "The scales are in the wrong order"),
        ("one scale", unpacker(scale=lambda v, s, block: v * s.max()), "One scale for all blocks"),
        (
            "divided",
            unpacker(scale=lambda v, s, block: v / s.repeat_interleave(block)),
            "Storing divides, bringing back multiplies",
        ),
        ("even grid", unpacker(value=lambda c, book: c / 7.5 - 1), "The codes were taken for an even grid"),
        ("codes scaled", unpacker(value=lambda c, book: c.float()), "The codes themselves were scaled"),
        ("flat", unpacker(end=lambda v, shape: v[: math.prod(shape)]), "The shape is lost"),
        ("padding left", unpacker(end=padding_left), "The padding is still there"),
        ("padding in the view", unpacker(end=lambda v, shape: v.view(shape)), "more numbers than the shape holds"),
        (
            "beginning cut",
            unpacker(end=lambda v, shape: v[-math.prod(shape) :].view(shape)),
            "you cut off the beginning",
        ),
        (
            "columns first",
            unpacker(end=lambda v, shape: v[: math.prod(shape)].view(shape[::-1]).permute(*range(len(shape))[::-1])),
            "Rows and columns have changed places",
        ),
        ("bytes as index", bytes_as_index, "is taken for a mask"),
        ("in place", writes_scales, "You write into what was stored"),
        ("whole numbers", unpacker(end=lambda v, shape: v[: math.prod(shape)].view(shape).long()), "Return decimals"),
    ],
    "accumulated_step": [
        ("not divided", stepper(weigh=lambda k, n, size, parts: 1), "The losses were not divided"),
        ("by the parts", stepper(weigh=lambda k, n, size, parts: 1 / parts), "counts as much as a full one"),
        ("by n / size", stepper(weigh=lambda k, n, size, parts: size / n), "which is no whole number here"),
        ("by n", stepper(weigh=lambda k, n, size, parts: 1 / n), "Divided by the number of examples, though"),
        ("by size", stepper(weigh=lambda k, n, size, parts: 1 / size), "Divided by `size`"),
        ("summed", stepper(weigh=lambda k, n, size, parts: k), "gradient of the summed loss"),
        ("twice", stepper(weigh=lambda k, n, size, parts: k / n / parts), "divided by the number of parts too"),
        ("zero_grad inside", stepper(reset="inside"), "wipes out what the parts before have added"),
        ("model.zero_grad inside", wipes_the_model, "Only the last part is in it"),
        ("no zero_grad", stepper(reset="never"), "gradients of the step before are still in it"),
        ("step inside", stepper(step="inside"), "is training with small batches"),
        ("no step", stepper(step="never"), "Nothing has moved"),
        ("backward at the end", stepper(late=True), "Several forward passes before a backward pass"),
        ("at once", stepper(parts=lambda x, y, size: [(x, y)]), "The whole batch went through at once"),
        ("rest left out", stepper(parts=full_parts), "too few for a full part, were left out"),
        (
            "larger parts",
            stepper(parts=lambda x, y, s: list(zip(x.split(s + 1), y.split(s + 1), strict=True))),
            "is larger",
        ),
        ("tensor returned", attached, "The tensor holds on to what it came from"),
        ("last loss", stepper(returned=lambda t, v, p, m, n: v.item()), "weighed loss of the last part alone"),
        ("mean of means", stepper(loss=noted, returned=mean_of_means), "The mean of the parts' means"),
        ("sum of losses", stepper(loss=noted, returned=sum_of_losses), "the sum of the parts' losses"),
        ("sum", stepper(returned=lambda t, v, p, m, n: t * n), "the sum over all examples"),
    ],
}
