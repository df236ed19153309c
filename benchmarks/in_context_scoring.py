"""Many questions after one prompt: `python -m benchmarks in_context_scoring`.

SmolLM2 with sixteen film reviews in its prompt and 100 questions, on the way that reads the prompt once against reading
it anew for each question. The scores are compared first. Reading anew takes minutes for all 100, so it is timed on some
of them, and both times are for one question.
"""

from __future__ import annotations

from benchmarks._clock import medians
from tlcourse import meta
from tlcourse.recipes import in_context_language as run

Row = tuple[str, str, str, float, str]
SHOTS, QUESTIONS, SOME, ROUNDS, TOLERANCE, AIM = 16, 100, 8, 3, 1e-3, 4.0


def main() -> list[Row]:
    """One row: questions a second."""
    language, examples = run.smollm2(), run.chosen(0, SHOTS)
    texts = run.reviews("test").texts[:QUESTIONS]
    some = texts[:: QUESTIONS // SOME][:SOME]

    def shared() -> object:
        return meta.classify_in_context(language, examples, texts, wording=run.WORDING)

    def anew() -> object:
        prompts = [meta.write_prompt(examples, text, wording=run.WORDING) for text in some]
        return meta.score_words(language, prompts, words=run.WORDING.words)

    gap = float((meta.classify_in_context(language, examples, some, wording=run.WORDING) - anew()).abs().max())  # type: ignore
    if gap > TOLERANCE:
        raise AssertionError(f"the scores differ by {gap:.1e}")
    seconds, other = medians(shared, anew, rounds=ROUNDS)
    mine, theirs = len(texts) / seconds, len(some) / other
    setting = f"SmolLM2, {SHOTS} examples, {len(texts)} questions, read anew for each; scores equal to {gap:.0e}"
    return [("shared prefix", f"{mine:.1f} questions/s", f"{theirs:.2f} questions/s", mine / theirs, setting)]


def failures(rows: list[Row]) -> list[str]:
    """The bar, where it was missed."""
    return [f"{name}: {ratio:.1f} times, at least {AIM:g}" for name, _, _, ratio, _ in rows if ratio < AIM]
