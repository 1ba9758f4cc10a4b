"""
The chassis: what stands around a user's ASGI app in production, one concern per file.

    from golive import Chassis

    chassis = Chassis.from_env()
    app = chassis.wrap(app)

This module runs inside the user's service, so importing it loads no server, command line, console or cloud SDK: names
are resolved on first use. ``golive serve`` (:mod:`golive.chassis.serving`) adds what only the owner of the process can
do: health before import, and a shutdown that loses nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis as Chassis
    from golive.chassis.settings import ChassisSettings as ChassisSettings

_HOMES = {
    "Chassis": "golive.chassis.chassis",
    "ChassisSettings": "golive.chassis.settings",
}

__all__ = ["Chassis", "ChassisSettings"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'golive.chassis' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
