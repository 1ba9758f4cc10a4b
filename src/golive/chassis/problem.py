"""
Errors on the wire as RFC 9457 problem documents (``application/problem+json``).

``status`` equals the real status, ``detail`` is written for the caller and holds nothing of our insides (RFC 9457,
section 5).
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Mapping
from typing import Any

import msgspec

from golive.chassis.types import Headers, Receive, Send

CONTENT_TYPE = (b"content-type", b"application/problem+json")
#: How long a refused upload is read and thrown away.
LINGER_SECONDS = 1.0

#: status -> the phrase of RFC 9110.
PHRASES = {status.value: status.phrase for status in http.HTTPStatus}


def problem_body(status: int, detail: str = "", *, kind: str = "about:blank", **extensions: Any) -> bytes:
    """
    A problem document.

    Args:
        status: the HTTP status it travels with.
        detail: one sentence for the caller; left out when empty.
        kind: the ``type`` URI; with ``about:blank`` the title is the status phrase.
        extensions: further members, e.g. ``request_id``; those that are None are left out.
    """
    document: dict[str, Any] = {"type": kind, "title": PHRASES.get(status, "Error"), "status": status}
    if detail:
        document["detail"] = detail
    document.update((name, value) for name, value in extensions.items() if value is not None)
    return msgspec.json.encode(document)


async def send_problem(
    send: Send,
    status: int,
    detail: str = "",
    *,
    headers: Mapping[bytes, bytes] | None = None,
    unread: Receive | None = None,
    **extensions: Any,
) -> None:
    """
    Send a whole problem answer; *headers* are added to its own. See :func:`problem_body`.

    Args:
        unread: the request's ``receive`` when its body was not read. The answer goes out at once, then what still
            comes is thrown away for a moment: closing over unread data resets the connection, and the caller loses the
            answer.
    """
    body = problem_body(status, detail, **extensions)
    fields: Headers = [CONTENT_TYPE, (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    fields.extend((headers or {}).items())
    await send({"type": "http.response.start", "status": status, "headers": fields})
    if unread is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await _discard(unread)
        body = b""
    await send({"type": "http.response.body", "body": body})


async def _discard(receive: Receive) -> None:
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass
    except TimeoutError:
        pass  # it had its moment
