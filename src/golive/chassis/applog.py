"""
The app's own ``logging`` as JSON lines beside the chassis's, redacted and with the id of the request.

A handler for the standard library, so that no logger is forced on anybody. ``golive serve`` installs it on the root
logger when the app has configured none; elsewhere: ``logging.getLogger().addHandler(JsonLogHandler(chassis.log))``.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

from golive.chassis.log import LogSink, timestamp
from golive.chassis.requestid import request_id
from golive.redact import TEXT_MAX, redact, redact_text

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLogHandler(logging.Handler):
    """Writes each record to *sink* as one line; ``extra`` fields become members."""

    def __init__(self, sink: LogSink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """See :meth:`logging.Handler.emit`; a record that cannot be shown is written as that, and never raises."""
        line: dict[str, Any] = {
            "ts": timestamp(record.created),
            "level": record.levelname.lower(),
            "event": "log",
            "logger": record.name,
            "message": _message(record),
        }
        identity = request_id()
        if identity:
            line["request_id"] = identity
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
            line["error"] = type(record.exc_info[1]).__name__
            line["trace"] = redact_text(trace[-TEXT_MAX:])
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if extra:
            line["extra"] = redact(extra)
        self._sink.record(line)


def _message(record: logging.LogRecord) -> str:
    """The message with its arguments. Arguments that are mappings are redacted by key before they are formatted."""
    try:
        arguments = record.args
        if isinstance(arguments, dict):
            return redact_text(str(record.msg) % redact(arguments))
        shown = tuple(redact(item) if isinstance(item, dict | list | tuple) else item for item in arguments or ())
        return redact_text(str(record.msg) % shown if shown else str(record.msg))
    except Exception as error:
        return f"a message that cannot be shown ({type(error).__name__}), from {record.pathname}:{record.lineno}"


def install(sink: LogSink) -> bool:
    """
    Put the handler on the root logger, at level INFO, unless the app has configured logging; returns whether it did.
    """
    root = logging.getLogger()
    if root.handlers:
        return False
    root.addHandler(JsonLogHandler(sink))
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return True
