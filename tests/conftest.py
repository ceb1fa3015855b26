"""Fixtures that all tests share."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture
def raw_config() -> dict:
    """A fresh copy of the default configuration, as read from config.yaml."""
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture(scope="session")
def esc10() -> Path:
    """Folder of real recordings, laid out as ESC-50; not part of a clone."""
    folder = ROOT.parent / "shared" / "data" / "esc10"
    if not folder.is_dir():
        pytest.skip(f"real recordings are not at {folder}; they are not part of the repository")
    return folder
