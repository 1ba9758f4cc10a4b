"""Settings of the jobs room, from code or from the environment. Every limit has a default with its reason."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

from golive.errors import ConfigError
from golive.jobs.machine import State
from golive.timing import parse_duration

_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class JobsSettings:
    """
    How jobs are kept and run.

    Raises: ConfigError naming every field that is out of range.
    """

    url: str = "sqlite:///.golive/jobs.db"
    """``sqlite:///relative``, ``sqlite:////absolute``, ``postgresql://...``, ``memory://`` (tests: keeps nothing)."""
    table: str = "block_jobs"
    """The name of the table, so that an existing dashboard finds it."""
    concurrency: int = 4
    """Jobs one worker process runs at the same time."""
    timeout: timedelta = timedelta(minutes=5)
    """A run longer than this fails with the code ``timeout``, unless its handler says otherwise."""
    attempts_max: int = 3
    """Runs held against a job before it is dead, unless its handler says otherwise."""
    lease: timedelta = timedelta(seconds=15)
    """A worker not heard of for this long is dead; its jobs run again within this plus two seconds."""
    drain: timedelta = timedelta(seconds=25)
    """On SIGTERM running jobs may take this long to end; then they are handed back. Below Kubernetes' 30 s."""
    backoff_base: timedelta = timedelta(seconds=1)
    backoff_max: timedelta = timedelta(minutes=10)
    payload_bytes_max: int = 256 * 1024
    """As much as SQS takes, so that a move to it changes nothing."""
    result_bytes_max: int = 1024 * 1024
    """The longest result; 64 MiB unless it is set, where results are kept outside the rows."""
    results: str = "inline"
    """Where results over ``result_inline_bytes_max`` are kept: ``inline``, ``file:folder``, ``s3://bucket/prefix``."""
    result_inline_bytes_max: int = 64 * 1024
    """A row that is read often should be small; this much is read with it."""
    results_keep: timedelta = timedelta(days=7)
    """Then a result that is kept outside the row is gone, and asking for it is answered with 410."""
    transport: str = "store"
    """Who tells workers of jobs: ``store`` (itself), ``rq`` or ``rq+redis://...``, ``sqs://queue-name``."""
    patience: timedelta = timedelta(seconds=10)
    """A job due for longer than this without being picked up is rung again, if the transport may have lost it."""
    app: str | None = None
    """``module:name`` of the application's Jobs, for an engine whose workers import it; None looks for it."""
    embedded: bool = False
    """True runs a worker inside the web process."""
    version: str | None = None
    """The release this process runs; recorded with every job it claims."""
    keep_succeeded: timedelta | None = timedelta(days=7)
    """How long a finished job can be read, and its idempotency key stands; then workers remove it. None: for ever."""
    keep_failed: timedelta | None = timedelta(days=90)
    keep_cancelled: timedelta | None = timedelta(days=7)
    hold: timedelta = timedelta(days=1)
    """How long a job waits for a worker that can read its payload, from its submission on, before it is dead."""
    alive_file: str = ""
    """A file a worker keeps fresh while it works (:mod:`golive.jobs.alive`); golive sets it for workers it starts."""

    def __post_init__(self) -> None:
        faults = [fault for fault in (_fault(self, field.name) for field in fields(self)) if fault]
        if faults:
            raise ConfigError(*faults)

    @property
    def keep_seconds(self) -> dict[State, float]:
        """How long finished jobs are kept, by state; a state that is not in it is kept for ever."""
        kept = {
            State.SUCCEEDED: self.keep_succeeded,
            State.FAILED: self.keep_failed,
            State.CANCELLED: self.keep_cancelled,
        }
        return {state: keep.total_seconds() for state, keep in kept.items() if keep is not None}

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> JobsSettings:
        """
        The settings the environment asks for; *overrides* win.

        Reads ``GOLIVE_JOBS_URL``, ``_TABLE``, ``_CONCURRENCY``, ``_TIMEOUT``, ``_ATTEMPTS_MAX``, ``_LEASE``,
        ``_DRAIN``, ``_HOLD``, ``_KEEP_SUCCEEDED``, ``_KEEP_FAILED``, ``_KEEP_CANCELLED`` (a duration or ``forever``),
        ``_ALIVE_FILE``, ``GOLIVE_VERSION``, and the spellings of deployed services: ``BLOCKS_CONCURRENCY``,
        ``BLOCKS_TIMEOUT_MS`` and ``ENABLE_BACKGROUND_WORKER``. Two spellings of one setting must agree.

        Raises: ConfigError naming every variable that is wrong.
        """
        return replace(cls(), **{**_read(os.environ if environ is None else environ), **overrides})


def valid_name(name: str) -> bool:
    """True for a name that is safe in a URL, a metric label and a file name: handlers, queues."""
    return _NAME.fullmatch(name) is not None


def _fault(settings: JobsSettings, name: str) -> str | None:
    value = getattr(settings, name)
    if isinstance(value, timedelta):
        shortest = timedelta(seconds=1) if name in ("lease", "patience") else timedelta(0)
        return None if value >= shortest else f"jobs.{name}: expected at least {shortest}, got {value}."
    if name in ("concurrency", "attempts_max", "payload_bytes_max", "result_bytes_max", "result_inline_bytes_max"):
        right = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        return None if right else f"jobs.{name}: expected a whole number >= 1, got {value!r}."
    if name == "table" and not _TABLE.fullmatch(value):
        return f"jobs.table: expected lower-case letters, digits and _ (at most 48), got {value!r}."
    return None


def _read(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, tuple[str, Any]] = {}
    faults: list[str] = []
    for variable, (field, parse) in _VARIABLES.items():
        if not (text := environ.get(variable, "").strip()):
            continue
        try:
            value = parse(text)
        except ValueError as error:
            faults.append(f"{variable}: {error}")
            continue
        if field in found and found[field][1] != value:
            faults.append(f"{variable}: expected the same as {found[field][0]}, got {text!r}. Set only one of them.")
        found.setdefault(field, (variable, value))
    if faults:
        raise ConfigError(*faults)
    return {field: value for field, (_, value) in found.items()}


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"expected a whole number, got {text!r}.")
    return int(text)


def _switch(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError(f'expected "true" or "false", got {text!r}.')
    return known[text.lower()]


def _keeping(text: str) -> timedelta | None:
    return None if text.lower() == "forever" else parse_duration(text)


def _milliseconds(text: str) -> timedelta:
    return timedelta(milliseconds=_count(text))


_VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "GOLIVE_JOBS_URL": ("url", str),
    "GOLIVE_JOBS_TABLE": ("table", str),
    "GOLIVE_JOBS_CONCURRENCY": ("concurrency", _count),
    "BLOCKS_CONCURRENCY": ("concurrency", _count),
    "GOLIVE_JOBS_TIMEOUT": ("timeout", parse_duration),
    "BLOCKS_TIMEOUT_MS": ("timeout", _milliseconds),
    "GOLIVE_JOBS_ATTEMPTS_MAX": ("attempts_max", _count),
    "GOLIVE_JOBS_LEASE": ("lease", parse_duration),
    "GOLIVE_JOBS_DRAIN": ("drain", parse_duration),
    "GOLIVE_JOBS_RESULT_BYTES_MAX": ("result_bytes_max", _count),
    "GOLIVE_JOBS_RESULTS": ("results", str),
    "GOLIVE_JOBS_RESULT_INLINE_BYTES_MAX": ("result_inline_bytes_max", _count),
    "GOLIVE_JOBS_RESULTS_KEEP": ("results_keep", parse_duration),
    "GOLIVE_JOBS_TRANSPORT": ("transport", str),
    "GOLIVE_JOBS_PATIENCE": ("patience", parse_duration),
    "GOLIVE_JOBS_APP": ("app", str),
    "GOLIVE_JOBS_HOLD": ("hold", parse_duration),
    "GOLIVE_JOBS_KEEP_SUCCEEDED": ("keep_succeeded", _keeping),
    "GOLIVE_JOBS_KEEP_FAILED": ("keep_failed", _keeping),
    "GOLIVE_JOBS_KEEP_CANCELLED": ("keep_cancelled", _keeping),
    "ENABLE_BACKGROUND_WORKER": ("embedded", _switch),
    "GOLIVE_VERSION": ("version", str),
    "GOLIVE_JOBS_ALIVE_FILE": ("alive_file", str),
}
