"""The checks in their order, each on its own: what one of them meets does not keep the others from looking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from golive.doctor import machine, network, processes, record
from golive.doctor.finding import Finding, fail, warn
from golive.doctor.settings import commands, configuration, job_store, migrations
from golive.errors import ConfigError, GoliveError
from golive.project import Place, project_at

if TYPE_CHECKING:
    from golive.config import Settings

Check = Callable[[], Iterable[Finding]]

WITHOUT_SETTINGS = "the settings cannot be read"


def examine(path: Path | None = None, environment: str | None = None) -> Iterator[Finding]:
    """
    Look at everything, the machine first. Findings come as they are made; nothing is raised but Control-C.

    Args: as of :func:`golive.config.load_settings`.
    """
    yield from _looked("python", machine.python)
    yield from _looked("golive", machine.golive)
    settings, said = configuration(path, environment)
    yield from said
    place = settings or _place(path, environment)
    if settings is None or settings.moves != "jobs":
        yield from _looked("envoy", machine.gateway_program)
    yield from _looked("open files", machine.open_files)
    yield from _looked("disk", lambda: machine.disk(place.state_dir if place else Path.cwd()))
    if place is not None:
        yield from _of_the_record(place)
    yield from _of_the_settings(settings)


def _place(path: Path | None, environment: str | None) -> Place | None:
    """Where the record is, although the settings are faulty; None when that is not to be known either."""
    try:
        return project_at(path, environment=environment)
    except ConfigError:
        return None


def _of_the_record(place: Place) -> Iterator[Finding]:
    checks = {
        "state folder": record.folder, "journal": record.journal, "controller": record.controller,
        "locks": record.locks, "orphans": processes.orphans, "versions": processes.versions,
    }  # fmt: skip
    for name, check in checks.items():
        yield from _looked(name, lambda check=check: check(place))  # type: ignore[misc]


def _of_the_settings(settings: Settings | None) -> Iterator[Finding]:
    checks = {"deploy": commands, "ports": network.ports, "gateway": network.gateway, "redis": network.redis,
              "database": network.postgres, "jobs": job_store, "migrations": migrations}  # fmt: skip
    if settings is None:
        names = ", ".join(checks)
        yield warn("not looked at", f"{names}: {WITHOUT_SETTINGS}", "Mend golive.toml and ask again.")
        return
    if settings.moves == "jobs":
        del checks["ports"], checks["gateway"]
    for name, check in checks.items():
        yield from _looked(name, lambda check=check: check(settings))  # type: ignore[misc]


def _looked(name: str, check: Check) -> Iterator[Finding]:
    try:
        yield from check()
    except GoliveError as error:
        yield fail(name, str(error), "")
    except Exception as error:  # a doctor that falls ill helps nobody: the others go on looking
        said = f"{type(error).__name__}: {error}"
        yield fail(name, f"could not be looked at: {said}", "If nothing here explains it, that is a bug of golive.")
