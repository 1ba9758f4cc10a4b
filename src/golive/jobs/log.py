"""
The worker's log: one JSON line per event, with the job's id, kind and attempt. Payloads and results are never logged,
and what handlers say passes the redaction of everything that leaves a process of golive.

Events go to the standard logger ``golive.jobs``; an application keeps its own configuration, ``golive worker`` installs
:class:`JsonLines`, which also adds the job to lines the handlers themselves log.
"""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec

from golive.jobs.context import current
from golive.redact import redact, redact_text
from golive.timing import format_instant

logger = logging.getLogger("golive.jobs")

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR


def event(name: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Log the event *name* with its *fields*, and the trace of *error* if there is one."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"golive_fields": fields}, exc_info=error)


def enabled(level: int) -> bool:
    """Whether an event of *level* goes anywhere: asked where its fields would cost more than the question."""
    return logger.isEnabledFor(level)


class JsonLines(logging.Formatter):
    """``{"at": ..., "level": "info", "event": "job.succeeded", "job_id": ..., "attempt": 1, ...}``"""

    def format(self, record: logging.LogRecord) -> str:
        """One line; whatever JSON cannot hold is written as its ``str()``."""
        line: dict[str, Any] = {
            "at": format_instant(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact_text(record.getMessage()),
        }
        if job := current.get():
            line |= {"job_id": job.id, "kind": job.kind, "attempt": job.attempt, **redact(job.bound)}
        line |= redact(getattr(record, "golive_fields", {}))
        if record.exc_info and record.exc_info[1]:
            line["trace"] = redact_text("".join(traceback.format_exception(record.exc_info[1])))
        return msgspec.json.encode(line, enc_hook=str).decode()
