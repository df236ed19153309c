"""environment.yml, pyproject.toml, the citation and the licences agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import tlcourse

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_conda_takes_a_python_that_the_project_accepts_and_defers_to_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    (python,) = [entry.removeprefix("python=") for entry in conda if entry.startswith("python=")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.9")
    assert "pip" in conda
    # Unquoted: Binder's builder does not recognise the local project otherwise.
    (line,) = pip
    extras = re.fullmatch(r"-e \.\[([\w,-]+)\]", line)
    assert extras
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])


def test_every_requirement_has_a_lower_bound_or_is_a_tool() -> None:
    for line in PROJECT["dependencies"]:
        assert any(bound.operator == ">=" for bound in Requirement(line).specifier), line


def test_the_citation_names_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == tlcourse.__version__
    assert citation["cff-version"] == "1.2.0"
    assert set(citation["license"]) == set(PROJECT["license"].split(" AND "))


def test_the_licence_texts_are_there_and_share_alike_is_said() -> None:
    for name in PROJECT["license-files"]:
        assert (ROOT / name).stat().st_size > 500, name
    assert "CC BY-SA 4.0" in (ROOT / "LICENCES.md").read_text(encoding="utf-8")
