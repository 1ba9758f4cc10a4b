"""
The app's own plain errors as problem documents, so that a caller meets one shape.

Only answers that carry nothing but the framework's default are translated: ``{"detail": ...}`` of FastAPI (validation
errors become ``errors``), Litestar's with its ``status_code``, and Starlette's text that
repeats the status. Everything else is the app's contract and
passes untouched. Switch it off with ``problems = false`` for clients that read FastAPI's shape.
"""

from __future__ import annotations

from typing import Any

import msgspec

from golive.chassis.problem import PHRASES, problem_body
from golive.chassis.types import Message

#: A default error is short; a longer body is not one, and is not held back.
BYTES_MAX = 65_536
#: Validation faults shown; the others are counted by the caller anyway.
ERRORS_MAX = 100


class HeldError:
    """
    The head of an error answer, held until its body shows whether it is a default.

    Attributes:
        start: the ``http.response.start`` message as the app sent it.
        body: what came so far.
    """

    __slots__ = ("body", "start")

    def __init__(self, start: Message) -> None:
        self.start = start
        self.body = b""

    def translate(self, request_id: str) -> tuple[Message, bytes]:
        """The head and body to send: a problem when the body was a default, otherwise what the app said."""
        status = self.start["status"]
        members = _default_members(status, self.body, _content_type(self.start))
        if members is None:
            return self.start, self.body
        body = problem_body(status, **members, request_id=request_id)
        dropped = (b"content-type", b"content-length")
        kept = [pair for pair in self.start.get("headers", ()) if pair[0].lower() not in dropped]
        headers = [*kept, (b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
        return {**self.start, "headers": headers}, body


def may_be_default(start: Message) -> bool:
    """Whether the answer that begins with *start* could be a framework's default error."""
    if start["status"] < 400:
        return False
    content_type = _content_type(start)
    if content_type not in (b"application/json", b"text/plain"):
        return False
    return all(int(value) <= BYTES_MAX for name, value in start.get("headers", ()) if name.lower() == b"content-length")


def _content_type(start: Message) -> bytes:
    for name, value in start.get("headers", ()):
        if name.lower() == b"content-type":
            return bytes(value).partition(b";")[0].strip().lower()
    return b""


def _default_members(status: int, body: bytes, content_type: bytes) -> dict[str, Any] | None:
    """The members of the problem, or None when *body* says more than the framework would."""
    if content_type == b"text/plain":
        return {} if body.decode("utf-8", "replace") == PHRASES.get(status) else None
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if isinstance(document, dict) and document.get("status_code") == status:
        return _litestar_members(status, document)
    if not isinstance(document, dict) or document.keys() != {"detail"}:
        return None
    detail = document["detail"]
    if isinstance(detail, str):
        return {} if detail == PHRASES.get(status) else {"detail": detail}
    if isinstance(detail, list) and all(isinstance(item, dict) and "loc" in item for item in detail):
        errors = [_validation_error(item) for item in detail[:ERRORS_MAX]]
        return {"detail": "The request does not have the expected form.", "errors": errors}
    return None


def _litestar_members(status: int, document: dict[str, Any]) -> dict[str, Any] | None:
    """Litestar's default repeats the status; ``extra`` lists what a validation found, and never the input."""
    detail, faults = document.get("detail"), document.get("extra")
    if not document.keys() <= {"status_code", "detail", "extra"} or not isinstance(detail, str):
        return None
    if faults is None:
        return {} if detail == PHRASES.get(status) else {"detail": detail}
    if not isinstance(faults, list) or not all(isinstance(item, dict) and "message" in item for item in faults):
        return None
    errors = [
        _validation_error(
            {"loc": [item.get("source", ""), *str(item.get("key", "")).split(".")], "msg": item["message"]}
        )
        for item in faults[:ERRORS_MAX]
    ]
    return {"detail": "The request does not have the expected form.", "errors": errors}


def _validation_error(item: dict[str, Any]) -> dict[str, str]:
    """Where and what, without ``input``: an error must not repeat the secret that was sent."""
    place = [str(part) for part in item["loc"]] if isinstance(item["loc"], list) else [str(item["loc"])]
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place[1:])
    return {
        "in": place[0] if place else "",
        "pointer": pointer,
        "detail": str(item.get("msg", "")),
        "type": str(item.get("type", "")),
    }
