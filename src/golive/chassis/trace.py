"""
W3C trace context: which trace a request belongs to.

golive does not record spans; it keeps a well-formed trace, replaces a malformed one (so that a broken proxy cannot
join strangers' requests into one trace), and gives the id to the log and to outgoing calls. Source:
w3.org/TR/trace-context, sections 3.2 and 4.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from golive.chassis.requestid import current

_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


class Trace(NamedTuple):
    """
    A position in a trace: 32 and 16 hexadecimal digits, and the flags (``01``: sampled).
    """

    trace_id: str
    parent_id: str
    flags: str


def read_traceparent(values: list[bytes]) -> Trace | None:
    """
    The trace the header names, or None when it is absent, repeated or malformed.

    A version above 00 may carry more fields; its first four are read. Version ``ff``, upper case and all-zero ids are
    malformed.
    """
    match = _FORM.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more) or not trace_id.strip(b"0") or not parent_id.strip(b"0"):
        return None
    return Trace(trace_id.decode(), parent_id.decode(), flags.decode())


def traceparent() -> str:
    """
    The header to send with an outgoing call made while serving a request: the same trace, a new span.

    Empty outside a request.
    """
    _, trace_id, flags, _ = current.get()
    return f"00-{trace_id}-{os.urandom(8).hex()}-{flags}" if trace_id else ""
