"""A folder with a golive.toml in it, and loads that look at nothing but what the test says."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from golive.config import Settings, load_settings
from golive.errors import ConfigError

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project that is the current folder."""
    folder = tmp_path / "checkout-api"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def load(project: Path) -> Load:
    """Load the given text as golive.toml, under exactly the given variables."""

    def load(text: str = "", environ: Mapping[str, str] | None = None, environment: str | None = None) -> Settings:
        (project / "golive.toml").write_text(text, encoding="utf-8")
        return load_settings(environ=environ or {}, environment=environment)

    return load


@pytest.fixture
def faults(load: Load) -> Faults:
    """The faults of a text that must not load."""

    def faults(text: str, environ: Mapping[str, str] | None = None, environment: str | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ, environment)
        return list(caught.value.faults)

    return faults
