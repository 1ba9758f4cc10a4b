"""Promises that need a process of their own, a fault or an alarm to be judged. Durations are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from golive.promises.kinds import Argv, Seconds, UrlPath
from golive.promises.request import SmokeRequest

_START_PAGE = SmokeRequest("/")


@dataclass(frozen=True, slots=True)
class RefusalCase:
    """With *env* the service must not start, and its last words must name *names*."""

    env: Mapping[str, str]
    names: str


@dataclass(frozen=True, slots=True)
class ConfigRefusalProbe:
    """
    A wrong configuration stops the start, at once and by name. Source: seed 004 (CORS checked at run time, too late).

    Attributes:
        command: starts the service; ``{port}`` is filled. None of its own: that of ``[deploy]``.
        within: seconds until it must have ended.
    """

    cases: tuple[RefusalCase, ...]
    command: Argv = ()
    within: Seconds = 20.0


@dataclass(frozen=True, slots=True)
class DependencyProbe:
    """
    A dependency that accepts and never answers makes the service not ready, and nothing else.

    golive starts the service with *env*, in which ``{proxy}`` is the address of a proxy in front of *upstream*, and
    lets the proxy go silent.

    Attributes:
        upstream: ``host:port`` of the dependency.
        command: starts the service; ``{port}`` is filled. None of its own: that of ``[deploy]``.
        ready, live: paths; live must stay 200 and answer within *live_max*.
        notice_max: seconds until ready is no longer 200; *recover_max* until it is again once the proxy speaks.
    """

    upstream: str
    env: Mapping[str, str]
    command: Argv = ()
    ready: UrlPath = "/health/ready"
    live: UrlPath = "/livez"
    live_max: Seconds = 1.0
    notice_max: Seconds = 15.0
    recover_max: Seconds = 30.0
    start_max: Seconds = 30.0


@dataclass(frozen=True, slots=True)
class OldCodeProbe:
    """
    The old version works on the new schema: a rollback, and a canary, need exactly that. Source: seed 001.

    Attributes:
        prepare: commands, in order: make an empty database, bring it to the new schema. ``{scratch}`` is a fresh
            folder.
        old: starts the version in production; ``{port}`` and ``{scratch}`` are filled.
        requests: what it must still answer.
    """

    prepare: tuple[Argv, ...]
    old: Argv
    requests: tuple[SmokeRequest, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    start_max: Seconds = 30.0


@dataclass(frozen=True, slots=True)
class AlarmDrillProbe:
    """
    An alarm that was never seen is a hope. Source: seed 003 ("configured and tested").

    Attributes:
        fire: sets the alarm off; ``{webhook}`` is a URL golive listens at, ``{marker}`` a word nobody else uses.
        expect: texts that must be in one notification; ``{marker}`` is filled.
        within: seconds until it must have come.
    """

    fire: Argv
    expect: tuple[str, ...] = ("{marker}",)
    within: Seconds = 60.0


@dataclass(frozen=True, slots=True)
class RehearsalProbe:
    """
    The way back was walked, not only described. Source: seed 003 ("rollback plan documented and tested", < 5 minutes).

    Attributes:
        run: does a rollback, e.g. in staging; none: only the record is read.
        verify: what the service answers afterwards.
        within: seconds from the start of *run* until *verify* is answered as declared.
        record: a rehearsal is written here; one not older than *age_max* seconds counts.
    """

    run: Argv = ()
    verify: SmokeRequest = _START_PAGE
    within: Seconds = 300.0
    record: str = ".golive/rehearsals.jsonl"
    age_max: Seconds = 30 * 86400.0


TABLES: dict[str, type] = {
    "config_refusal": ConfigRefusalProbe,
    "dependency": DependencyProbe,
    "old_code": OldCodeProbe,
    "alarm_drill": AlarmDrillProbe,
    "rollback_rehearsal": RehearsalProbe,
}
