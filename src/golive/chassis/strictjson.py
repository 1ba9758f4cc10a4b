"""
JSON that would break the service later, refused at the door: what no conforming program sends.

Python's parser takes ``NaN``, ``Infinity``, ``1e999`` and lone surrogates, and what happens then is a server error when
the value is written out again, in an answer, a log or a database. RFC 8259 has none of the first three, RFC 7493
(I-JSON) forbids the last. NUL is JSON, but PostgreSQL's text cannot hold it. A body is looked at once it is whole, and
only looked into when it holds the characters any of these needs; most do not.

Left out: whether it is JSON at all, and whether it is the JSON the route wants. The app says that better.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from golive.chassis.limits import LimitReachedError, Refusal
from golive.chassis.types import Message, Receive

if TYPE_CHECKING:
    from golive.chassis.exchange import Exchange

#: A number with fewer digits fits into a double.
DIGITS_MAX = 309

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_CONSTANT = re.compile(rb"\b(?:NaN|Infinity)\b")
#: Something of all that is looked for, or near it; numbers of many digits are looked for by themselves. It begins with
#: a set of characters, which the expression engine skips to six times faster than to alternatives.
_ODD = re.compile(rb"[\x00NI\\eE](?:(?<=\x00)|aN|nfinity|u(?:[dD]|0000)|(?<=[0-9].)\+?[0-9]{3})")
_LONG = b"0" * DIGITS_MAX
_DIGITS_AS_0 = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_NUMBER = re.compile(rb"\d+(?:\.\d+)?[eE]\+?\d{3,}|\d{309,}")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


@lru_cache(maxsize=256)
def is_json(content_type: bytes) -> bool:
    """Whether a body of this type is one JSON value: ``application/json`` and everything ``+json``."""
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")


def fault_in(body: bytes | bytearray) -> str:
    """What no JSON has, as a sentence for the caller; empty when there is nothing of the kind."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return "The body is not UTF-8."
    if not _ODD.search(body) and not (len(body) >= DIGITS_MAX and _LONG in body.translate(_DIGITS_AS_0)):
        return ""
    if b"\0" in body:  # UTF-16 or UTF-32, which parsers take and the looks below do not read; no JSON in UTF-8 holds it
        return "The body is not UTF-8."
    bare = _STRING.sub(b'""', body)
    if _CONSTANT.search(bare):
        return "JSON has no NaN and no Infinity."
    if any(float(number[:400]) == float("inf") for number in _NUMBER.findall(bare)):
        return "A number in the body is too large."
    if any(escape[1] == b"0000" for escape in _ESCAPE.finditer(body)):
        return "A string in the body holds the character NUL, which no database takes."
    return "A string in the body holds half a character (a lone surrogate)." if _has_lone_surrogate(body) else ""


def _has_lone_surrogate(body: bytes | bytearray) -> bool:
    high_ends_at = -1
    for escape in _ESCAPE.finditer(body):
        digits = escape[1]
        code = int(digits, 16) if digits else 0
        follows = high_ends_at == escape.start()
        is_low = 0xDC00 <= code <= 0xDFFF
        if is_low is not follows or (high_ends_at >= 0 and not follows):
            return True
        high_ends_at = escape.end() if 0xD800 <= code <= 0xDBFF else -1
    return high_ends_at >= 0


def strict_json(exchange: Exchange, receive: Receive) -> Receive:
    """*receive*, which gathers a JSON body, looks at it, and passes it on whole."""
    here = getattr(getattr(receive, "__self__", None), "whole_body", None)
    body = here() if here is not None else None
    if body is not None and not fault_in(body):
        return receive  # our server has it already, and there is nothing in it that the app may not read
    passed = False

    async def receive_whole() -> Message:
        """The whole body, then whatever comes. Raises: LimitReachedError when it is not to be had."""
        nonlocal passed
        message = await receive()
        if passed or message["type"] != "http.request":
            return message
        passed = True
        if message.get("more_body"):
            message = await _rest(message, receive)
            if message["type"] != "http.request":
                return message
        fault = fault_in(message.get("body", b""))
        if fault:
            exchange.override = exchange.override or Refusal(400, fault)
            raise LimitReachedError
        return message

    return receive_whole


async def _rest(message: Message, receive: Receive) -> Message:
    """The whole body in one message, or the one that says why it will not come."""
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            return message
        parts.append(message.get("body", b""))
    return {"type": "http.request", "body": b"".join(parts), "more_body": False}
