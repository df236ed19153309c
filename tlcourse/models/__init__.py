"""Pre-trained backbones, and the small networks that the lessons train themselves."""

from __future__ import annotations

from tlcourse.models.classifier import Classifier
from tlcourse.models.drawing import drawn_by
from tlcourse.models.fingerprints import fingerprint
from tlcourse.models.label_words import LabelWords
from tlcourse.models.language_model import LanguageModel, language
from tlcourse.models.small import MLP, Conv4
from tlcourse.models.sources import COUNTERPARTS
from tlcourse.models.text_backbone import TextBackbone, text
from tlcourse.models.vision_backbone import VisionBackbone, vision

__all__ = [
    "COUNTERPARTS",
    "MLP",
    "Classifier",
    "Conv4",
    "LabelWords",
    "LanguageModel",
    "TextBackbone",
    "VisionBackbone",
    "drawn_by",
    "fingerprint",
    "language",
    "text",
    "vision",
]
