"""Which request this is and to which trace it belongs; see :mod:`golive.chassis.requestid` and ``trace``."""

from __future__ import annotations

import os

from golive.chassis import requestid
from golive.chassis.alone.concern import Concern, answered
from golive.chassis.trace import Trace, read_traceparent
from golive.chassis.types import Receive, Scope, Send


class RequestIds(Concern):
    """
    ``X-Request-ID`` on every answer of the app, in ``scope["state"]`` and in ``requestid.request_id()``.

    An answer that the server makes because the app raised is not the app's: put :class:`Problems` inside.
    """

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        given = [value for name, value in scope["headers"] if name == b"x-request-id"]
        accepted = requestid.accept(given[0]) if len(given) == 1 else ""
        _, trace_id, flags, outer = requestid.current.get()
        known = accepted or trace_id or requestid.new_request_id()
        scope.setdefault("state", {})["request_id"] = known
        own = (b"x-request-id", known.encode())
        token = requestid.current.set((known, trace_id, flags, outer))
        try:
            await self.app(
                scope,
                receive,
                answered(
                    send,
                    lambda start: [*(pair for pair in start.get("headers", ()) if pair[0].lower() != own[0]), own],
                ),
            )
        finally:
            requestid.current.reset(token)


class TraceContext(Concern):
    """
    A well-formed ``traceparent`` is kept, a malformed one replaced and its ``tracestate`` dropped; ``traceparent()``.
    """

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        given = [value for name, value in scope["headers"] if name == b"traceparent"]
        trace = read_traceparent(given)
        if trace is None:
            trace = Trace(requestid.new_request_id(), os.urandom(8).hex(), "00")
            kept = [pair for pair in scope["headers"] if pair[0] not in (b"traceparent", b"tracestate")]
            fresh = f"00-{trace.trace_id}-{trace.parent_id}-{trace.flags}".encode()
            scope = {**scope, "headers": [*kept, (b"traceparent", fresh)]}
        known, _, _, outer = requestid.current.get()
        token = requestid.current.set((known, trace.trace_id, trace.flags, outer))
        try:
            await self.app(scope, receive, send)
        finally:
            requestid.current.reset(token)
