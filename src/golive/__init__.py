"""
golive: from "it works" to "it is live".

This is the front door: a list of names, resolved on first use, so that ``import golive`` costs nothing and a service
that only wants the chassis never loads the rollout, the command line or a cloud SDK. These names,
:mod:`golive.testing` and the adapters imported on purpose are what golive promises; the rest may change tomorrow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from golive.version import __version__

if TYPE_CHECKING:
    from golive.chassis import Chassis as Chassis
    from golive.errors import ConfigError as ConfigError
    from golive.errors import GoliveError as GoliveError
    from golive.jobs import JobContext as JobContext
    from golive.jobs import JobError as JobError
    from golive.jobs import Jobs as Jobs

_HOMES = {
    "Chassis": "golive.chassis",
    "ConfigError": "golive.errors",
    "GoliveError": "golive.errors",
    "JobContext": "golive.jobs",
    "JobError": "golive.jobs",
    "Jobs": "golive.jobs",
}

__all__ = ["Chassis", "ConfigError", "GoliveError", "JobContext", "JobError", "Jobs", "__version__"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'golive' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
