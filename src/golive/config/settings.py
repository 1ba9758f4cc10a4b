"""
All of the configuration as one typed, frozen value. Where it was written is the loader's affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, PrivateAttr, WithJsonSchema, model_validator

from golive.config.locate import Path
from golive.config.origins import DEFAULT, Origin
from golive.config.sections import (
    Approvals,
    Chassis,
    Database,
    Deploy,
    Gates,
    Gateway,
    Jobs,
    Load,
    Moves,
    Release,
    Rollout,
)
from golive.config.slo import SLO_SCHEMA, default_table, read_table, write_table
from golive.config.types import Section, table
from golive.slo.table import Row

APP_PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"

Table = Annotated[dict[str, Row], PlainValidator(read_table), PlainSerializer(write_table), WithJsonSchema(SLO_SCHEMA)]


class Settings(Section):
    """
    The settings in force.

    Attributes:
        service: the name in journals, metrics and messages.
        app: ASGI import string, ``main:app``.
        state_dir: where golive keeps journal, logs and snapshots. Absolute when loaded from a file.
        root: the folder of the configuration file; relative paths in the settings start here.
        file: the configuration file, None when there was none.
        environment: the name of the environment table in force, None for the base.
    """

    service: str = Field(default="app", pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=63)
    app: str | None = Field(default=None, pattern=APP_PATTERN)
    state_dir: File = File(".golive")
    release: Release = table()
    deploy: Deploy = table()
    gateway: Gateway = table()
    rollout: Rollout = table()
    approvals: Approvals = table()
    slo: Table = Field(default_factory=default_table)
    gates: Gates = table()
    load: Load = table()
    jobs: Jobs = table()
    chassis: Chassis = table()
    db: Database = table()

    _root: File = PrivateAttr(default_factory=File.cwd)
    _file: File | None = PrivateAttr(default=None)
    _environment: str | None = PrivateAttr(default=None)
    _origins: Mapping[Path, Origin] = PrivateAttr(default_factory=dict)
    _filled: Mapping[Path, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _serve_the_app(cls, data: Any) -> Any:
        """Without a command of their own, versions run under ``golive serve``: that is what ``app`` is for."""
        if not isinstance(data, dict) or not isinstance(data.get("app"), str):
            return data
        deploy = data.get("deploy", {})
        if not isinstance(deploy, dict) or deploy.get("command"):
            return data
        command = ["{python}", "-m", "golive", "serve", data["app"], "--host", "127.0.0.1", "--port", "{port}"]
        return {**data, "deploy": {**deploy, "command": command}}

    @property
    def moves(self) -> Moves:
        """What the weight of a stage is a share of: as written, else what there is to start."""
        if self.rollout.moves is not None:
            return self.rollout.moves
        if not self.deploy.worker_command:
            return "requests"
        return "both" if self.deploy.command else "jobs"

    @property
    def root(self) -> File:
        """See the class."""
        return self._root

    @property
    def file(self) -> File | None:
        """See the class."""
        return self._file

    @property
    def environment(self) -> str | None:
        """See the class."""
        return self._environment

    def origin(self, *path: str | int) -> Origin:
        """Where the value at *path*, ``("rollout", "watch")``, was written; the default when it was not."""
        return self._origins.get(path, DEFAULT)


def settings_origins(settings: Settings) -> dict[Path, Origin]:
    """The origin of every value in *settings*, by path, in the order of :mod:`golive.config.sections`."""
    return {path: settings.origin(*path) for path, _ in leaves(settings)}


def leaves(settings: Settings) -> Iterator[tuple[Path, Any]]:
    """Every value by path, as golive.toml would write it: durations are texts, a list is one value, None is absent."""
    yield from _leaves((), settings.model_dump(mode="json", by_alias=True))


def _leaves(at: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and (value or not at):
        for key, inner in value.items():
            yield from _leaves((*at, key), inner)
    elif value is not None:
        yield at, value
