"""What the project says about itself: citation, checks of every change, groups of dependencies."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_the_citation_agrees_with_the_project(root: Path, pyproject):
    citation, project = yaml.safe_load((root / "CITATION.cff").read_text()), pyproject["project"]
    # Keys that the Citation File Format 1.2 demands of a file, and of each of its references.
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert all({"type", "title", "authors"} <= reference.keys() for reference in citation["references"])
    # A version that YAML reads as a number would not be a text.
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    licence = (root / "LICENSE").read_text()
    assert licence.startswith(f"{citation['license']} License")
    holder = re.search(r"Copyright \(c\) \d+ (.+)", licence)[1]
    assert [author["name"] for author in citation["authors"]] == [holder]
    cited = [identifier["value"] for entry in citation["references"] for identifier in entry["identifiers"]]
    assert all(identifier.removeprefix("arXiv:") in (root / "README.md").read_text() for identifier in cited)


def test_every_change_is_checked_as_on_ones_own_machine(root: Path, pyproject):
    workflow = yaml.safe_load((root / ".github" / "workflows" / "ci.yml").read_text())
    # YAML 1.1, which PyYAML reads, takes the key `on` for true.
    assert {"push", "pull_request"} <= workflow[True].keys()
    (job,) = workflow["jobs"].values()
    assert job["runs-on"].startswith("ubuntu-")
    assert job["timeout-minutes"] >= 60
    uses = {step["uses"].partition("@")[0]: step.get("with", {}) for step in job["steps"] if "uses" in step}
    assert list(uses) == ["actions/checkout", "actions/setup-python"]
    # YAML reads 3.10 without quotes as 3.1.
    python = uses["actions/setup-python"]["python-version"]
    assert f">={python}" == pyproject["project"]["requires-python"]
    (command,) = [step["run"] for step in job["steps"] if "run" in step]
    script = command.removeprefix("bash ")
    assert (root / script).read_text().startswith("#!/usr/bin/env bash")


def test_every_package_of_a_group_is_pinned_and_developers_need_no_peers(pyproject):
    groups = pyproject["dependency-groups"]

    def packages(group: str) -> set[str]:
        entries = [packages(entry["include-group"]) if isinstance(entry, dict) else {entry} for entry in groups[group]]
        return {re.sub(r"\[.*\]", "", package) for entry in entries for package in entry}

    pinned = {pin.partition("==")[0] for pin in pyproject["tool"]["uv"]["constraint-dependencies"]}
    for group in groups:
        assert packages(group) <= pinned
    assert packages("export") - packages("models") == {"gguf"}
    assert packages("export") < packages("dev")
    assert packages("peers") - packages("dev") == {"nnsight"}
    assert packages("reinforce") - packages("text") == {"trl"}
    assert not {"trl", "torchaudio"} & (packages("dev") | packages("text") | packages("small"))
