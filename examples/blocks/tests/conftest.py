"""The service under test, importable the way ``golive serve`` imports it: with its own folder on the path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from blocks.city import City  # noqa: E402 - only importable from here on
from blocks.venues import load_city  # noqa: E402


@pytest.fixture(scope="session")
def city() -> City:
    """Port Larkin, as shipped."""
    return load_city()
