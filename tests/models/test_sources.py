"""What a reader sees when the hub cannot be reached."""

from __future__ import annotations

import urllib.error
import urllib.request
from email.message import Message

import pytest

from tlcourse import assets, models
from tlcourse.models import sources


@pytest.mark.parametrize("error", [OSError("no route\nmore"), RuntimeError("bad hash"), OSError()])
def test_a_failed_download_names_the_built_in_model(error: Exception):
    def load() -> None:
        raise error

    with pytest.raises(assets.AssetUnavailable, match=r"some/model could not be downloaded.*checkpoint=.*'minilm'"):
        sources.from_hub("some/model", load, builtin="minilm")


def test_every_counterpart_is_a_model_of_its_function():
    for function, builtin in (
        (models.vision, "efficientnet_lite0"),
        (models.text, "minilm"),
        (models.language, "smollm2"),
    ):
        with pytest.raises(KeyError, match=models.COUNTERPARTS[builtin]):
            function("?")
    assert sources.resolve("resnet50", "hub", ["resnet50"]) == "resnet50"


def test_the_hub_is_asked_once_and_its_own_cache_first(monkeypatch: pytest.MonkeyPatch):
    tried: list[bool] = []

    def load(local_only: bool) -> str:
        tried.append(local_only)
        if local_only and not cached:
            raise OSError("not in the cache")
        return "model"

    def unreachable(request: urllib.request.Request, timeout: float) -> None:
        raise urllib.error.URLError("Name or service not known")

    def reached(request: urllib.request.Request, timeout: float) -> None:
        raise urllib.error.HTTPError(request.full_url, 405, "HEAD is not allowed", Message(), None)

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    cached = True
    assert sources.from_hugging_face("some/model", load, builtin="minilm") == "model"
    cached = False
    with pytest.raises(assets.AssetUnavailable, match="Name or service not known"):
        sources.from_hugging_face("some/model", load, builtin="minilm")
    monkeypatch.setattr(urllib.request, "urlopen", reached)
    assert sources.from_hugging_face("some/model", load, builtin="minilm") == "model"
    assert tried == [True, True, True, False]


def test_quiet_puts_the_settings_back():
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with sources.quiet():
        assert not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
