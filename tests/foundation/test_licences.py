"""Licences: what may be done, what must be done, and that nothing is allowed by default."""

from __future__ import annotations

import pytest

from tlcourse.foundation import TERMS, combined, may, must, of_assets, of_model_card, terms

CARD = "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- x\n---\n# A model\n\nlicense: mit\n"


@pytest.mark.parametrize(
    ("licence", "commercial", "adapt", "attribution", "share_alike"),
    [
        ("MIT", True, True, True, False),
        ("Apache-2.0", True, True, True, False),
        ("CC0-1.0", True, True, False, False),
        ("CC-BY-4.0", True, True, True, False),
        ("CC-BY-SA-4.0", True, True, True, True),
        ("CC-BY-NC-4.0", False, True, True, False),
        ("CC-BY-ND-4.0", True, False, True, False),
        ("CC-BY-NC-SA-4.0", False, True, True, True),
    ],
)
def test_uses_and_duties(licence: str, commercial: bool, adapt: bool, attribution: bool, share_alike: bool) -> None:
    assert (may(licence, "commercial"), may(licence, "adapt")) == (commercial, adapt)
    assert (must(licence, "attribution"), must(licence, "share_alike")) == (attribution, share_alike)


def test_what_is_unknown_is_refused() -> None:
    for unknown in ("other", "unknown", "openrail", "llama3", "", "CC-BY"):
        with pytest.raises(KeyError, match="until somebody has read it"):
            terms(unknown)
    with pytest.raises(KeyError, match="choose from: commercial, adapt"):
        may("MIT", "sell")
    with pytest.raises(KeyError, match="choose from: attribution, share_alike"):
        must("MIT", "commercial")


def test_identifiers_in_any_case() -> None:
    assert terms("apache-2.0") is TERMS["Apache-2.0"]
    assert terms(" cc-by-sa-4.0 ") is TERMS["CC-BY-SA-4.0"]


def test_a_work_of_several_parts_keeps_every_duty() -> None:
    whole = combined({"a": "MIT", "b": "CC-BY-NC-SA-4.0", "c": "CC-BY-NC-4.0"})
    assert (whole.commercial, whole.adapt, whole.attribution, whole.share_alike) == (False, True, True, True)
    free = combined({"a": "CC0-1.0"})
    assert (free.commercial, free.adapt, free.attribution, free.share_alike) == (True, True, False, False)
    with pytest.raises(ValueError, match="both ask for themselves"):
        combined({"a": "CC-BY-SA-4.0", "b": "CC-BY-NC-SA-4.0"})
    with pytest.raises(ValueError, match="may not be changed"):
        combined({"a": "CC-BY-SA-4.0", "b": "CC-BY-ND-4.0"})
    with pytest.raises(ValueError, match="may be sold"):
        combined({"a": "CC-BY-SA-4.0", "b": "CC-BY-NC-4.0"})
    with pytest.raises(ValueError, match="no parts"):
        combined({})
    with pytest.raises(KeyError, match="until somebody has read it"):
        combined({"a": "MIT", "b": "mystery"})


def test_every_asset_of_the_course_can_be_answered_for() -> None:
    licences = of_assets()
    assert {name for name, licence in licences.items() if must(licence, "share_alike")} == {"emoji_openmoji"}
    assert all(may(licence, "commercial") for licence in licences.values())
    assert combined(licences).share_alike


def test_model_cards() -> None:
    assert of_model_card(CARD) == "apache-2.0"
    assert of_model_card('---\nlicense: "mit"\n---\n') == "mit"
    with pytest.raises(ValueError, match="no header"):
        of_model_card("# A model\nlicense: mit\n")
    with pytest.raises(ValueError, match="without one nothing is allowed"):
        of_model_card("---\nlanguage: en\n---\nlicense: mit\n")
    with pytest.raises(ValueError, match="without one nothing is allowed"):
        of_model_card("---\nlicense_name: mit\nlicense:\n---\n")


def test_a_licence_without_a_name_is_none():
    with pytest.raises(ValueError, match="no line 'license:'"):
        of_model_card("---\nlicense:\nlanguage: en\n---\n")
