"""
Requests as bytes: everything that does not change from one to the next is joined once, before the run.

Placeholders: ``{n}``, ``{n%400}``, ``{n/5}``, ``{user}``, ``{uuid}``. Other braces are left alone: JSON needs no
escaping.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from urllib.parse import SplitResult

from golive.load.plan import RequestSpec, statuses

_PLACEHOLDER = re.compile(rb"\{(n(?:[%/][1-9]\d{0,8})?|user|uuid)\}")
_Render = Callable[[int], bytes]


class Template:
    """
    One :class:`RequestSpec`, compiled against a target.

    Attributes:
        head_only: the answer to HEAD has no body, whatever its headers say.
        expect: the statuses that are no failure.
    """

    __slots__ = ("_body", "_head", "_static", "expect", "head_only")

    def __init__(
        self, spec: RequestSpec, url: SplitResult, expect: tuple[str, ...], users: int, keep_alive: bool, seed: int
    ) -> None:
        self.expect = statuses(spec.expect if spec.expect is not None else expect)
        self.head_only = spec.method.upper() == "HEAD"
        fill = _filler(users, random.Random(seed))  # noqa: S311 - request ids, not secrets
        body = spec.body.encode() if isinstance(spec.body, str) else spec.body
        self._body = None if body is None else _compile(body, fill)
        head = _head(spec, url, keep_alive)
        self._head = _compile(head, fill)
        dynamic = _PLACEHOLDER.search(head) or (body is not None and _PLACEHOLDER.search(body))
        self._static = None if dynamic else self._render(0)

    def render(self, number: int) -> bytes:
        """The bytes of request *number*."""
        return self._static if self._static is not None else self._render(number)

    def _render(self, number: int) -> bytes:
        if self._body is None:
            return self._head(number) + b"\r\n"
        body = self._body(number)
        return b"%scontent-length: %d\r\n\r\n%s" % (self._head(number), len(body), body)


def _head(spec: RequestSpec, url: SplitResult, keep_alive: bool) -> bytes:
    lines = [f"{spec.method} {_target(spec, url)} HTTP/1.1"]
    names = {name.lower() for name in spec.headers}
    if "host" not in names:
        lines.append(f"host: {url.netloc}")
    if "user-agent" not in names:
        lines.append("user-agent: golive-load")
    if "accept" not in names:
        lines.append("accept: */*")
    if spec.body is None and spec.method.upper() in ("POST", "PUT", "PATCH"):
        lines.append("content-length: 0")
    if not keep_alive:
        lines.append("connection: close")
    lines += [f"{name}: {value}" for name, value in spec.headers.items()]
    return ("\r\n".join(lines) + "\r\n").encode()


def _target(spec: RequestSpec, url: SplitResult) -> str:
    base = url.path + (f"?{url.query}" if url.query and not spec.path else "")
    if not spec.path:
        return base or "/"
    return url.path.rstrip("/") + spec.path if spec.path[0] == "/" else (url.path or "/") + spec.path


def _compile(text: bytes, fill: Callable[[bytes], _Render]) -> _Render:
    """A function from a request's number to *text* with its placeholders filled."""
    pieces = _PLACEHOLDER.split(text)  # literal, name, literal, name, ..., literal
    if len(pieces) == 1:
        return lambda _number: text
    fillers = [fill(name) for name in pieces[1::2]]
    literals = pieces[0::2]

    def render(number: int) -> bytes:
        parts = [literals[0]]
        for filler, literal in zip(fillers, literals[1:], strict=True):
            parts += (filler(number), literal)
        return b"".join(parts)

    return render


def _filler(users: int, source: random.Random) -> Callable[[bytes], _Render]:
    def fill(name: bytes) -> _Render:
        if name == b"uuid":
            return lambda _number: _uuid4(source)
        if name == b"user":
            return lambda number: b"%d" % (number % users)
        if name == b"n":
            return lambda number: b"%d" % number
        divisor = int(name[2:])
        if name[1:2] == b"/":
            return lambda number: b"%d" % (number // divisor)
        return lambda number: b"%d" % (number % divisor)

    return fill


def _uuid4(source: random.Random) -> bytes:
    digits = b"%032x" % (source.getrandbits(128) & ~(0xF << 76) & ~(0x3 << 62) | (0x4 << 76) | (0x2 << 62))
    return b"-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
