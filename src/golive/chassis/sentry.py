"""
Unhandled errors to Sentry, or to anything that takes its envelopes, through Sentry's own client.

The client runs on the capture thread and on a thread of its own, never on the event loop: what it does for one event
takes milliseconds (measured: 2.4 ms). It is a private client without integrations, so that it neither replaces one the
application has set up nor hooks into anything. Local variables are not collected, and every event passes the redaction
of everything else that leaves the process.

What stays out: traces, sessions and breadcrumbs. If the application calls ``sentry_sdk.init`` itself, it sends its own.
"""

from __future__ import annotations

import importlib.util
from typing import Any
from urllib.parse import urlsplit

from golive.errors import ConfigError
from golive.redact import redact

#: Frames of a trace that are sent, the innermost last.
FRAMES_MAX = 100


def dsn_fault(dsn: str) -> str:
    """Why *dsn* names no project, without showing its key; empty when it does."""
    expected = 'expected a DSN such as "https://key@errors.example.com/1"'
    try:
        parts = urlsplit(dsn)
        _ = parts.port
    except ValueError:
        return f"{expected}, got one that is no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{expected}, got {parts.scheme or 'no scheme'!r} and {parts.hostname or 'no host'!r}"
    if not parts.username or not parts.path.rpartition("/")[2].isdigit():
        return f"{expected}, got one without a key or a project number"
    return ""


class SentrySink:
    """
    See :class:`golive.chassis.capture.ErrorSink`. The client is loaded with the first error.

    Attributes:
        lost: events the client could not deliver: the server was away, refused them, or asked us to slow down.

    Raises: ConfigError when sentry-sdk is not installed.
    """

    def __init__(self, dsn: str, *, release: str, environment: str) -> None:
        if importlib.util.find_spec("sentry_sdk") is None:
            raise ConfigError("sentry_dsn: expected sentry-sdk to be installed. Install golive[sentry].")
        self._dsn = dsn
        self._release = release
        self._environment = environment
        self._client: Any = None
        self.lost = 0

    def deliver(self, event: dict[str, Any], error: BaseException) -> None:
        """See :class:`golive.chassis.capture.ErrorSink`."""
        from sentry_sdk.utils import event_from_exception

        client = self._client or self._open()
        sent, _ = event_from_exception(
            error, client_options=client.options, mechanism={"type": "golive", "handled": False}
        )
        tags = {name: event[name] for name in ("request_id", "route", "method", "phase") if event.get(name)}
        for exception in sent["exception"]["values"]:
            frames = (exception.get("stacktrace") or {}).get("frames", [])
            del frames[:-FRAMES_MAX]
        client.capture_event({**sent, "tags": tags, "fingerprint": [event["fingerprint"]]})

    def flush(self, timeout_seconds: float) -> None:
        """Wait for what the client still holds."""
        if self._client is not None:
            self._client.flush(timeout=timeout_seconds)

    def _open(self) -> Any:
        from sentry_sdk import Client
        from sentry_sdk.transport import HttpTransport

        sink = self

        class Counting(HttpTransport):
            def on_dropped_event(self, _reason: str) -> None:
                sink.lost += 1

        self._client = Client(
            dsn=self._dsn,
            release=self._release,
            environment=self._environment,
            transport=Counting,
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_breadcrumbs=0,
            auto_session_tracking=False,
            send_client_reports=False,
            before_send=_redacted,
            shutdown_timeout=1,
        )
        return self._client


def _redacted(event: Any, _hint: Any) -> Any:
    """The last thing that touches an event before it is encoded. Frames are deeper than what is redacted for people."""
    exceptions = event.get("exception", {}).get("values", [])
    frames = [(exception.pop("stacktrace", None) or {}).get("frames", []) for exception in exceptions]
    clean: dict[str, Any] = redact(event)
    for exception, own in zip(clean.get("exception", {}).get("values", []), frames, strict=True):
        if own:
            exception["stacktrace"] = {"frames": [redact(frame) for frame in own]}
    return clean
