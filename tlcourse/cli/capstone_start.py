"""My solution of the capstone (lesson 18). Run it, then: tlcourse capstone score my_capstone.csv"""

import time

from tlcourse import data, models, training
from tlcourse.checks import submissions


def solve(task: data.Capstone) -> tuple[list[int], float]:
    """Class numbers of the test pictures, and a validation accuracy. Yours to change."""
    backbone = models.vision()
    x, t = (training.features(backbone, part.resized(64), cache=False) for part in (task.train, task.test))
    probe = training.probe(x, task.train.labels)
    held_out = [i % 4 == 0 for i in range(len(x))]  # one picture of each class
    fold = [i for i, out in enumerate(held_out) if not out], [i for i, out in enumerate(held_out) if out]
    checked = training.probe(x[fold[0]], task.train.labels[fold[0]])
    return probe.predict(t).tolist(), checked.balanced_accuracy(x[fold[1]], task.train.labels[fold[1]])


def main(path: str = "my_capstone.csv") -> None:
    """Solve the problem, with the clock of the CPU running, and write the submission."""
    task = data.capstone()
    begun = time.process_time()
    labels, validation = solve(task)
    seconds = time.process_time() - begun
    submissions.write(path, labels, task=task, method="frozen probe, 64 px", cpu_seconds=seconds, validation=validation)


if __name__ == "__main__":
    main()
