"""A shell, without which nothing that is displayed can be caught."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@pytest.fixture(scope="session", autouse=True)
def shell() -> InteractiveShell:
    return InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
