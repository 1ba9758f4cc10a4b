"""What a user says about running a version as a process."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from golive.errors import ConfigError, did_you_mean
from golive.rollout.deployers.releases import Releases

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_KNOWN = ["host", "port", "python", "release", "version"]


@dataclass(frozen=True)
class DeploySettings:
    """
    How a version is started, looked at and ended.

    Attributes:
        command: program and arguments, never a shell line. ``{host}``, ``{port}``, ``{python}`` (the interpreter golive
            runs on), ``{release}`` (the folder) and ``{version}`` are filled in. It is run in the folder of the
            release.
        releases: where the folders come from.
        env: added to golive's own environment; ``GOLIVE_VERSION``, ``HOST``, ``PORT`` and ``PYTHONUNBUFFERED`` are
            set as well.
        host: what versions listen on.
        startup_path: answers 200 once the version has started; None, or an answer of 404, leaves it to *ready_path*.
        startup_timeout: a version that has not started by then is dead.
        ready_path: answers 200 while the version can take traffic.
        ready_timeout: a version that started and was not once ready by then is dead.
        live_path: answered by a process that is not stuck; None leaves it to *ready_path*.
        live_timeout: a version that did not answer *live_path* for so long is dead.
        stop_timeout: the grace between SIGTERM and SIGKILL; longer than the service's own drain.
    """

    command: tuple[str, ...]
    releases: Releases
    env: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    startup_path: str | None = "/startupz"
    startup_timeout: timedelta = timedelta(seconds=120)
    ready_path: str = "/health/ready"
    ready_timeout: timedelta = timedelta(seconds=60)
    live_path: str | None = "/livez"
    live_timeout: timedelta = timedelta(seconds=10)
    stop_timeout: timedelta = timedelta(seconds=35)

    def __post_init__(self) -> None:
        faults = [*self._bad_command(), *self._bad_paths(), *self._bad_durations()]
        if faults:
            raise ConfigError(*faults)

    def arguments(self, **values: str) -> list[str]:
        """The command with its placeholders filled in; ``python`` is known, the others come as *values*."""
        values = {"python": sys.executable, "host": self.host, **values}
        return [_PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in self.command]

    def _bad_command(self) -> list[str]:
        if not self.command or isinstance(self.command, str):
            return [
                f"deploy/command: expected a list of words, got {self.command!r}. "
                'Write for example ["{python}", "-m", "uvicorn", "app:app", "--port", "{port}"].'
            ]
        used = [name for word in self.command for name in _PLACEHOLDER.findall(word)]
        return [
            f'deploy/command: unknown placeholder "{{{name}}}"{did_you_mean(name, _KNOWN)}. Known: {", ".join(_KNOWN)}.'
            for name in used
            if name not in _KNOWN
        ]

    def _bad_paths(self) -> list[str]:
        paths = {"startup_path": self.startup_path, "ready_path": self.ready_path, "live_path": self.live_path}
        return [
            f'deploy/{key}: expected a path such as "/livez", got {path!r}. Start it with a slash.'
            for key, path in paths.items()
            if path is not None and (not path.startswith("/") or any(c.isspace() for c in path))
        ]

    def _bad_durations(self) -> list[str]:
        durations = {key: value for key, value in vars(self).items() if isinstance(value, timedelta)}
        return [
            f"deploy/{key}: expected a duration above zero, got {value}. Write for example 30s."
            for key, value in durations.items()
            if value <= timedelta(0)
        ]
