"""
Where a project keeps its things: the name of its service, its state folder, its journal. Part of the composition root.

What moves traffic back has to start fast, and must not fail because of a typing error in some other table. So the
commands that only talk to what runs (``status``, ``abort``, ``pause``, ``approve``, ``watch`` ...) read two keys of
golive.toml and nothing else: no model is built, no room is loaded. Whatever is not plain there is left to
:func:`golive.config.load_settings`, which knows every rule and says what is wrong. A test holds the two to the same
answers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from golive.config.layers import filled
from golive.config.source import find, read
from golive.rollout.journal import Journal

if TYPE_CHECKING:
    from golive.config import Settings
    from golive.rollout.routers.envoy import EnvoyRouter

SERVICE_PATTERN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SERVICE_LENGTH_MAX = 63


class Place(Protocol):
    """What is enough to find the record of a service: a :class:`Project`, or whole settings."""

    @property
    def service(self) -> str: ...

    @property
    def state_dir(self) -> Path: ...

    @property
    def environment(self) -> str | None: ...


@dataclass(frozen=True)
class Project:
    """
    A service and where its state is.

    Attributes:
        requests_only: whether it is certain, without looking further, that its rollouts move requests and nothing
            else. False: ask the whole settings.
        config_path, asked: what the command line said; see :meth:`settings`.
    """

    service: str
    state_dir: Path
    environment: str | None
    requests_only: bool
    config_path: Path | None = None
    asked: str | None = None

    def settings(self) -> Settings:
        """
        All settings of the project.

        Raises: ConfigError with every fault.
        """
        from golive.config import load_settings  # the model costs more than the rest of a short command

        return load_settings(self.config_path, environment=self.asked)


def project_at(
    path: Path | None = None, *, environment: str | None = None, environ: Mapping[str, str] | None = None
) -> Project:
    """
    The project of the golive.toml at *path* or above the current folder.

    Args: as of :func:`golive.config.load_settings`.
    Raises: ConfigError when there is no file, it is no TOML, or what is needed of it is wrong.
    """
    environ = os.environ if environ is None else environ
    brief = _read(path, environment, environ)
    if brief is not None:
        return brief
    from golive.config import load_settings

    settings = load_settings(path, environment=environment, environ=environ)
    return Project(settings.service, settings.state_dir, settings.environment, False, path, environment)


def journal_path(place: Place) -> Path:
    """The file in which controller and command line meet."""
    return place.state_dir / "golive.db"


def open_journal(place: Place) -> Journal:
    """
    The journal of the project, made when it does not exist.

    Raises: StateError when the file cannot be used.
    """
    return Journal(journal_path(place))


def router_of(project: Project) -> EnvoyRouter:
    """
    The gateway of *project*, to be looked at: where it listens is in its own record, so it needs no other setting.

    Never start it or change its traffic through this; that takes a :func:`golive.wiring.station`.
    """
    assert project.requests_only, "jobs may be moved too; ask a station"
    from golive.rollout.routers.envoy import EnvoyRouter  # only some verbs look, and only when something runs
    from golive.rollout.routers.envoy_gateway import EnvoyGateway
    from golive.rollout.routers.envoy_settings import GatewaySettings

    return EnvoyRouter(EnvoyGateway(project.state_dir / "gateway", GatewaySettings(service=project.service)))


# ---- the short reading


def _read(path: Path | None, asked: str | None, environ: Mapping[str, str]) -> Project | None:
    """What the file says; None when it takes the whole model to know."""
    folder = Path.cwd() if path is None else path.absolute()
    source = read(find(folder) if path is None or path.is_dir() else path)
    base, root = source.data, source.file.parent
    tables = base.get("environments", {})
    name = asked or environ.get("GOLIVE_ENV", "").strip() or None
    overlay: Any = {}
    if not isinstance(tables, dict):
        return None
    if name is not None and name in tables:
        overlay = tables[name]
    elif name is not None and (asked or (tables and name != "development")):
        return None
    if not isinstance(overlay, dict) or "service" in overlay or "environments" in overlay:
        return None
    service = _text("service", base.get("service"), environ)  # left out: the name of the folder, made into one
    state_dir = _text("state_dir", overlay.get("state_dir", base.get("state_dir", ".golive")), environ)
    if service is None or state_dir is None:
        return None
    if not SERVICE_PATTERN.fullmatch(service) or len(service) > SERVICE_LENGTH_MAX:
        return None
    place = root / Path(state_dir).expanduser()
    return Project(service, place, name, _requests_only(base, overlay, environ), path, asked)


def _text(key: str, written: Any, environ: Mapping[str, str]) -> str | None:
    """The setting *key*, a variable before what is *written*; None when that is no text, or needs what is not set."""
    told = environ.get(f"GOLIVE_{key.upper()}", "")
    if told.strip():
        return told
    try:
        return filled(written, environ) if isinstance(written, str) else None
    except ValueError:
        return None


def _requests_only(base: dict[str, Any], overlay: dict[str, Any], environ: Mapping[str, str]) -> bool:
    for tables in (base, overlay):
        rollout, deploy = tables.get("rollout", {}), tables.get("deploy", {})
        if not isinstance(rollout, dict) or not isinstance(deploy, dict):
            return False
        if rollout.get("moves", "requests") != "requests" or "worker_command" in deploy:
            return False
    return not any(
        name.upper().startswith(("GOLIVE_ROLLOUT__MOVES", "GOLIVE_DEPLOY__WORKER_COMMAND")) for name in environ
    )
