"""Score a submission of the capstone without opening the answers, and say when it cannot have been honest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tlcourse import training
from tlcourse.checks import capstone_answers
from tlcourse.checks.submissions import Submission
from tlcourse.data.capstone import CLASSES

BUDGET = 60.0  # seconds of CPU time
CEILING = 0.80  # a probe that is told two hundred labels of the target stays far below
ORACLE = 0.70  # no run that was told two hundred labels of the target more came here
DECOYS = 15  # of thirty: honest guesses hit three or so
JUMP = 0.30  # balanced accuracy of the test above that of the validation
HONEST_SECONDS = 0.5  # the features of the test pictures alone take longer


@dataclass(frozen=True)
class Finding:
    """What the scorer has to say. "refused": the score does not stand. "note": a question to be answered."""

    kind: Literal["refused", "note"]
    text: str


@dataclass(frozen=True)
class Score:
    """The result of a submission.

    balanced_accuracy: mean over the classes of the share that is right, with a bootstrap interval over the pictures
    recall, given:     for each class the share of its pictures that are right, and how often it was the answer
    position:          0 at the weak reference, 1 at the strong one
    """

    submission: Submission
    balanced_accuracy: training.Interval
    recall: Mapping[str, float]
    given: Mapping[str, int]
    weak: float
    strong: float
    findings: tuple[Finding, ...]

    @property
    def position(self) -> float:
        """Where the score lies between the references."""
        return (self.balanced_accuracy.mean - self.weak) / (self.strong - self.weak)

    @property
    def stands(self) -> bool:
        """Whether nothing speaks against the score."""
        return all(finding.kind != "refused" for finding in self.findings)


def score(
    submission: Submission, answers: capstone_answers.Answers | None = None, *, weak: float, strong: float
) -> Score:
    """Score a submission; `weak` and `strong` are the balanced accuracies of the references.

    answers: the shipped ones if not given. A hash tells whether a label is right, and a wrong one stays secret: as each
    class has the same number of pictures, no more is needed. Raises ValueError unless weak < strong.
    """
    if not weak < strong:
        raise ValueError(f"weak is {weak} and strong {strong}; give two accuracies with weak below strong")
    sealed = answers or capstone_answers.load()
    right = Counter(label for name, label in submission.labels.items() if sealed.right(name, label))
    baited = sum(sealed.bait(name, label) for name, label in submission.labels.items())
    rows = [(c, i < right[name]) for c, name in enumerate(CLASSES) for i in range(sealed.counted)]
    result = training.bootstrap(np.array(rows, dtype=float), _balanced)
    given = Counter(submission.labels.values())
    return Score(
        submission=submission,
        balanced_accuracy=result,
        recall={name: right[name] / sealed.counted for name in CLASSES},
        given={name: given[name] for name in CLASSES},
        weak=weak,
        strong=strong,
        findings=tuple(_findings(submission, result.mean, baited, given, weak)),
    )


def _balanced(rows: np.ndarray) -> float:
    """Mean over the classes of the share of right answers; rows of (class, right or not)."""
    classes = rows[:, 0].astype(int)
    counts = np.bincount(classes)
    recalls = np.bincount(classes, weights=rows[:, 1])[counts > 0] / counts[counts > 0]
    return float(recalls.mean())


def _findings(submission: Submission, result: float, baited: int, given: Counter[str], weak: float) -> list[Finding]:
    found = []
    if baited >= DECOYS:
        text = (
            f"{baited} of 30 decoys carry the label that is sealed for them. It is not the one that the picture shows: "
            "such labels come from the file of answers, so this submission cannot have been honest."
        )
        found.append(Finding("refused", text))
    if result >= CEILING:
        what = "Every picture that counts is right" if result == 1 else f"{result:.0%} are right"
        text = (
            f"{what}. A probe with two hundred labels of the target more stays far below {CEILING:.0%}. With forty "
            "labels this submission cannot have been honest. Were labels looked up, or models trained on emoji?"
        )
        found.append(Finding("refused", text))
    elif result >= ORACLE:
        text = (
            f"{result:.0%} are right, more than of any run that was told two hundred labels of the target besides. "
            "Hand in the code as well, so that somebody else can run it."
        )
        found.append(Finding("note", text))
    if submission.cpu_seconds > BUDGET:
        text = f"{submission.cpu_seconds:.0f} seconds of CPU time are more than the {BUDGET:.0f} that the rules allow."
        found.append(Finding("refused", text))
    if submission.cpu_seconds < HONEST_SECONDS and result > weak:
        text = (
            f"{submission.cpu_seconds:g} seconds are too few to compute the features of the test pictures. Count them "
            "too: pass cache=False, and begin to count before the first picture is looked at."
        )
        found.append(Finding("note", text))
    if result > submission.validation + JUMP:
        text = (
            f"The test went {result - submission.validation:.0%} better than the validation. The target is the harder "
            "of the two, so show how both numbers came about."
        )
        found.append(Finding("note", text))
    unused = [name for name in CLASSES if not given[name]]
    if unused:
        text = f"No picture was called {', '.join(unused)}: a tenth of the score is lost for each class never named."
        found.append(Finding("note", text))
    return found
