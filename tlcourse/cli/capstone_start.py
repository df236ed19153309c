"""My solution of the capstone (lesson 18). Run it, then: tlcourse capstone score my_capstone.csv"""

import time

import torch

from tlcourse import data, models, training
from tlcourse.checks import submissions
from tlcourse.recipes.capstone_references import validated

METHOD = "frozen probe, 64 px"  # say here how your labels are made


def solve(task: data.Capstone) -> tuple[list[int], float]:
    """Class numbers of the test pictures, and a validation accuracy. Yours to change."""
    backbone = models.vision()
    x, t = (training.features(backbone, part.resized(64), cache=False) for part in (task.train, task.test))
    labels = training.probe(x, task.train.labels).predict(t)
    return labels.tolist(), validated(x, task.train.labels, torch.arange(len(x)), "each")


def main(path: str = "my_capstone.csv") -> None:
    """Solve the problem, with the clock of the CPU running, and write the submission."""
    task = data.capstone()
    begun = time.process_time()
    labels, validation = solve(task)
    seconds = time.process_time() - begun
    submissions.write(path, labels, task=task, method=METHOD, cpu_seconds=seconds, validation=validation)


if __name__ == "__main__":
    main()
