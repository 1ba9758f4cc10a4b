"""Where an application's :class:`Jobs` is: by the import path somebody wrote, or by looking for the object."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from golive.errors import ConfigError, UsageError
from golive.jobs.app import Jobs


def find_jobs(target: str) -> Jobs:
    """
    The :class:`Jobs` that *target* ("module:name") is, or that the routes of the app it names belong to.

    Raises: UsageError when there is none, or the module cannot be imported.
    """
    module_name, _, name = target.partition(":")
    if (here := os.getcwd()) not in sys.path:  # asked for again and again by an RQ worker that does not fork
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        if error.name != module_name and not module_name.startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not, and its own trace says more
        raise UsageError(
            f"{target}: expected a module that can be imported, got: {error}. Run in its folder."
        ) from error
    module = found
    for part in (name or "jobs").split("."):
        if not hasattr(found, part):
            raise UsageError(f"{target}: expected {module_name} to have {part!r}, got no such name.")
        found = getattr(found, part)
    candidates = {id(jobs): jobs for jobs in _candidates(found)}
    candidates = candidates or {id(each): each for each in vars(module).values() if isinstance(each, Jobs)}
    if len(candidates) != 1:
        raise UsageError(f"{target}: expected a golive.Jobs or an app that serves one, got {len(candidates)} of them. "
                         f"Name the object: {module_name}:jobs.")  # fmt: skip
    return next(iter(candidates.values()))


def _candidates(found: Any) -> Iterator[Jobs]:
    if isinstance(found, Jobs):
        yield found
        return
    for route in getattr(found, "routes", ()):
        jobs = getattr(getattr(route, "endpoint", None), "golive_jobs", None)
        if isinstance(jobs, Jobs):
            yield jobs
        yield from _candidates(route)
    for inner in (
        "app",
        "router",
        "original_router",
    ):  # middleware keeps what it wraps in .app; FastAPI what it includes
        if (wrapped := getattr(found, inner, None)) is not None and wrapped is not found:
            yield from _candidates(wrapped)


def place_of(jobs: Jobs) -> str:
    """
    "module:name" of the variable *jobs* is in, for another process to import.

    Raises: ConfigError when it is in no module but the one that was run as a program, or in none at all.
    """
    for name, module in sorted(sys.modules.items()):
        if name != "__main__" and module is not None:
            for attribute, value in tuple(getattr(module, "__dict__", {}).items()):
                if value is jobs:
                    return f"{name}:{attribute}"
    raise ConfigError(
        "jobs.app: expected the golive.Jobs in a module that workers can import, found it in none. "
        'Put it into one, or set GOLIVE_JOBS_APP="module:name".'
    )
