"""
``golive.toml`` -> :class:`Settings`: typed, frozen, each value with the place it came from, every fault at once.

The names are resolved on first use: :mod:`golive.project` reads two keys of a file on the way of ``golive abort``, and
building the whole model for that would cost more than everything else the command does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from golive.config.load import environments as environments
    from golive.config.load import load_settings as load_settings
    from golive.config.origins import Origin as Origin
    from golive.config.settings import Settings as Settings
    from golive.config.settings import settings_origins as settings_origins

_HOMES = {
    "Origin": "golive.config.origins",
    "Settings": "golive.config.settings",
    "environments": "golive.config.load",
    "load_settings": "golive.config.load",
    "settings_origins": "golive.config.settings",
}

__all__ = ["Origin", "Settings", "environments", "load_settings", "settings_origins"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'golive.config' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
