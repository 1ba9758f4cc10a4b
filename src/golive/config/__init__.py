"""
``golive.toml`` -> :class:`Settings`: typed, frozen, each value with the place it came from, every fault at once.
"""

from __future__ import annotations

from golive.config.load import environments, load_settings
from golive.config.origins import Origin
from golive.config.settings import Settings, settings_origins

__all__ = ["Origin", "Settings", "environments", "load_settings", "settings_origins"]
