"""What every test and every notebook under test shares."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import jaxtyping
import pytest
from hypothesis import settings

_scratch = tempfile.TemporaryDirectory(prefix="tlcourse-test-")  # removed when the process ends

# The kernels that run notebooks inherit these. A test must not touch the reader's own progress file, reach for a
# model hub, or run two threads on each of two workers.
os.environ["TLCOURSE_PROGRESS"] = f"{_scratch.name}/progress.json"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # What the kernels free they keep for the next step: getting it anew from a virtual machine's system takes long.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**25))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**29))
    import forked_kernels

    forked_kernels.install()

# Machines are noisy: an example may take its time, and a run must be repeatable.
settings.register_profile("tlcourse", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("tlcourse")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the checks of annotations that only tests have: our own errors must do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
