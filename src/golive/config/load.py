"""
From the file and the environment to :class:`~golive.config.settings.Settings`, or to every fault at once.

Weakest first: defaults, the file, its table ``[environments.NAME]``, aliases, ``GOLIVE_*`` variables. What the
file takes from variables (``${NAME}``) is filled in last, and only in what won.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

from pydantic import ValidationError

from golive.config.checks import check
from golive.config.faults import Fault, explain
from golive.config.layers import Layers, drop
from golive.config.locate import Path
from golive.config.origins import DEFAULT, Origin
from golive.config.settings import Settings
from golive.config.slo import DEFAULT_ROWS
from golive.config.source import NotFoundError, Source, find, parse, read, shown
from golive.config.variables import ENVIRONMENT, overrides
from golive.errors import ConfigError, did_you_mean
from golive.slo.table import SloError, parse_table


def load_settings(
    path: File | None = None,
    *,
    environment: str | None = None,
    environ: Mapping[str, str] | None = None,
    missing_ok: bool = False,
) -> Settings:
    """
    The settings in force.

    Args:
        path: the file, or the folder to look in and above. None: the current folder.
        environment: which ``[environments.NAME]`` to lay over the rest. None: what ``GOLIVE_ENV`` says, if anything.
        environ: instead of ``os.environ``.
        missing_ok: without any file, settings from defaults and the environment instead of an error.

    Raises: ConfigError with every fault found, each as ``file:line:col key: what is wrong`` or ``variable NAME: ...``.
    """
    environ = os.environ if environ is None else environ
    loading = _Loading(_source(path, missing_ok), _folder(path), environ, environment)
    return loading.settings()


def faults_elsewhere(path: File | None, environment: str | None, environ: Mapping[str, str]) -> list[str]:
    """
    What is wrong with another environment than the one in force. Variables it needs may be missing here.

    Raises: ConfigError when the file itself cannot be read.
    """
    try:
        _Loading(_source(path, missing_ok=False), _folder(path), environ, environment, unset_ok=True).settings()
    except NotFoundError:
        raise
    except ConfigError as error:
        return list(error.faults)
    return []


def check_text(text: str, file: File) -> Settings:
    """What *text* would mean as *file*, without looking at the environment. Raises: ConfigError with every fault."""
    return _Loading(parse(file, text), file.parent, {}, None).settings()


def environments(path: File | None = None) -> list[str]:
    """The names of the environment tables in the file. Raises: ConfigError when it cannot be read."""
    source = _source(path, missing_ok=False)
    assert source is not None, "a missing file has raised"
    tables = source.data.get("environments", {})
    return list(tables) if isinstance(tables, dict) else []


def service_name(root: File) -> str:
    """The name of the folder *root* as the name of a service."""
    name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:63].strip("-")
    return name or "app"


def _folder(path: File | None) -> File:
    if path is None:
        return File.cwd()
    return path.absolute() if path.is_dir() else path.absolute().parent


def _source(path: File | None, missing_ok: bool) -> Source | None:
    try:
        return read(path) if path is not None and not path.is_dir() else read(find(_folder(path)))
    except NotFoundError:
        if missing_ok:
            return None
        raise


@dataclass
class _Loading:
    """One load: lays the layers, then collects what is wrong with the result."""

    source: Source | None
    folder: File
    environ: Mapping[str, str]
    asked: str | None
    unset_ok: bool = False
    layers: Layers = field(default_factory=Layers)
    faults: list[tuple[tuple[int, ...], str]] = field(default_factory=list)

    @property
    def root(self) -> File:
        return self.source.file.parent if self.source else self.folder

    def settings(self) -> Settings:
        environment = self._lay()
        settings = self._validate()
        if self.faults or settings is None:
            raise ConfigError(*dict.fromkeys(text for _, text in sorted(self.faults)))
        settings._root = self.root
        settings._file = self.source.file if self.source else None
        settings._environment = environment
        settings._origins = self.layers.origins
        settings._filled = dict(self.layers.filled)
        return settings

    def _lay(self) -> str | None:
        """All layers, weakest first; returns the environment in force."""
        written = dict(self.source.data) if self.source else {}
        tables = written.pop("environments", {})
        self.layers.lay({"service": service_name(self.root), "state_dir": ".golive"}, (), lambda _: DEFAULT)
        if "slo" not in written:
            self.layers.lay({"slo": {name: dict(row) for name, row in DEFAULT_ROWS.items()}}, (), lambda _: DEFAULT)
        self.layers.lay(written, (), lambda path: self._origin("file", path))
        environment = self._lay_environment(tables)
        found, faults = overrides(self.environ)
        self.faults += [((0,), fault) for fault in faults]
        for override in found:
            origin = Origin("variable", f"variable {override.variable}")
            self.layers.lay(override.value, override.path, lambda _, origin=origin: origin)  # type: ignore[misc]
        for path, message in self.layers.fill(self.environ):
            if not self.unset_ok:
                self._tell(Fault(path, message))
            drop(self.layers.data, path)
        return environment

    def _lay_environment(self, tables: Any) -> str | None:
        name = self.asked or self.environ.get(ENVIRONMENT, "").strip() or None
        if not isinstance(tables, dict):
            self._tell(Fault(("environments",), f"expected a table, got {tables!r}."), ("environments",))
            return name
        if name is None or (not self.asked and name not in tables and (name == "development" or not tables)):
            return name  # "development" is what the base is for; without tables a name is only a name
        if name not in tables or not isinstance(tables[name], dict):
            where = "--env" if self.asked else f"variable {ENVIRONMENT}"
            known = did_you_mean(name, list(tables)) or f". Known: {', '.join(tables) or 'none'}."
            file = shown(self.source.file) if self.source else "no file"
            self.faults.append(((0,), f"{where}: {file} has no table [environments.{name}]{known}"))
            return name
        below: Path = ("environments", name)
        for key in ("service", "environments"):  # one service, one name: a rollout in staging is of the same service
            if key in tables[name]:
                self._tell(Fault((*below, key), "an environment cannot change this.", "key"), written_at=(*below, key))
        overlay = {key: value for key, value in tables[name].items() if key not in ("service", "environments")}
        self.layers.lay(overlay, (), lambda path: self._origin("environment", (*below, *path)))
        return name

    def _origin(self, kind: Any, written_at: Path) -> Origin:
        assert self.source is not None, "only a file has tables"
        return Origin(kind, self.source.place(written_at, "key"), written_at)

    def _validate(self) -> Settings | None:
        data = dict(self.layers.data)
        if isinstance(data.get("slo"), dict):
            try:
                data["slo"] = parse_table(data["slo"])
            except SloError as error:
                for fault in error.faults:
                    unknown = fault.message.startswith("unknown key")
                    self._tell(Fault(("slo", *fault.key), fault.message, "key" if unknown else "value"))
                del data["slo"]
        settings = self._model(data)
        if settings is not None:
            for found in check(settings):
                self._tell(found)
            state_dir = self.root / settings.state_dir.expanduser()
            settings = settings.model_copy(update={"state_dir": state_dir})
        return settings

    def _model(self, data: dict[str, Any]) -> Settings | None:
        """The settings; of faulty ones what is left without the faulty tables, so that the rest is checked too."""
        try:
            return Settings.model_validate(data)
        except ValidationError as error:
            found = explain(error)
        for fault in found:
            self._tell(fault)
        sound = {key: value for key, value in data.items() if key not in {fault.path[0] for fault in found}}
        return Settings.model_validate(sound) if len(sound) < len(data) else None

    def _tell(self, fault: Fault, written_at: Path | None = None) -> None:
        """Remember *fault* with the place it was written at."""
        origin = self._nearest(fault.path)
        written_at = written_at or origin.written_at
        key = ".".join(map(str, fault.path))
        message = self._without_secrets(fault)
        if self.source is None or written_at is None:
            place = f"{origin} " if origin.kind == "variable" else ""
            self.faults.append(((1,), f"{place}{key}: {message}"))
            return
        place = self.source.place(written_at, fault.part)
        order = tuple(int(number) for number in re.findall(r":(\d+)", place[len(shown(self.source.file)) :]))
        excerpt = self.source.excerpt(written_at, fault.part)
        self.faults.append(((2, *order), f"{place} {key}: {message}{excerpt}"))

    def _nearest(self, path: Path) -> Origin:
        for length in range(len(path), 0, -1):
            if path[:length] in self.layers.origins:
                return self.layers.origins[path[:length]]
        return DEFAULT

    def _without_secrets(self, fault: Fault) -> str:
        """The message; what a variable of the environment put into the file is not repeated on a screen."""
        before = self.layers.filled.get(fault.path)
        if before is None:
            return fault.message
        value: Any = self.layers.data
        for part in fault.path:
            value = value[part]
        return fault.message.replace(str(value), before) if value else fault.message
