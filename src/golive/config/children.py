"""``[chassis]`` and ``[jobs]`` as the variables those rooms read inside the user's service."""

from __future__ import annotations

from golive.config.locate import Path
from golive.config.render import NOT_YET
from golive.config.settings import Settings, leaves

_NAMES: dict[Path, str] = {("jobs", "embedded"): "ENABLE_BACKGROUND_WORKER"}
_ROOMS = {"chassis": "chassis", "jobs": "jobs", "db": "chassis_db"}
_ENVIRONMENTS = ("development", "staging", "production")


def service_environ(settings: Settings) -> dict[str, str]:
    """
    Variables for the processes of a version: service, environment, and what somebody *wrote* about chassis and jobs.

    Values nobody wrote are left to the rooms' own defaults, which are the same. The store of the jobs is always
    said, and absolute: each version runs in its own folder, and all of them share the jobs.
    """
    environ = {"GOLIVE_SERVICE": settings.service, "GOLIVE_JOBS_URL": _jobs_url(settings)}
    if settings.environment in _ENVIRONMENTS:  # other names mean nothing to the chassis
        environ["GOLIVE_ENV"] = str(settings.environment)
    for path, value in leaves(settings):
        room = path[0]
        if room not in _ROOMS or path[:2] in NOT_YET or settings.origin(*path).kind == "default":
            continue
        if path != ("jobs", "url") and path[1] not in ("aliases", "redirects"):
            environ[_NAMES.get(path, f"GOLIVE_{_ROOMS[room]}_{path[1]}".upper())] = _text(
                _shared(settings, path, value)
            )
    if settings.chassis.aliases != type(settings.chassis)().aliases:
        environ["GOLIVE_CHASSIS_ALIASES"] = _aliases(settings)
    if settings.chassis.redirects:
        environ["GOLIVE_CHASSIS_REDIRECTS"] = ",".join(f"{a}={b}" for a, b in settings.chassis.redirects.items())
    return environ


def _jobs_url(settings: Settings) -> str:
    scheme, slashes, path = settings.jobs.url.partition("sqlite:///")
    relative = slashes and not scheme and not path.startswith("/")
    return f"sqlite:///{settings.root / path}" if relative else settings.jobs.url


def _shared(settings: Settings, path: Path, value: object) -> object:
    """A file the versions share is named absolutely: each of them runs in its own folder."""
    schemes: dict[Path, str] = {
        ("chassis", "error_file"): "",
        ("chassis", "idempotency_store"): "sqlite:",
        ("jobs", "results"): "file:",
    }
    scheme = schemes.get(path)
    if scheme is None or not value or not str(value).startswith(scheme):
        return value
    return f"{scheme}{settings.root / str(value).removeprefix(scheme)}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _aliases(settings: Settings) -> str:
    wanted: dict[str, str] = dict(settings.chassis.aliases)
    removed = {path: "" for path in type(settings.chassis)().aliases if path not in wanted}
    return ",".join(f"{path}={kind}" for path, kind in {**wanted, **removed}.items())
