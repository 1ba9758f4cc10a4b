"""
Reading an HTTP/1.1 answer without keeping it: status, a header of interest, and where it ends.

The common case, a whole answer with a Content-Length in one read, costs one search and two slices; chunked bodies,
bodies that end with the connection and interim 1xx answers take the slower path. What breaks the protocol is a
:class:`ProtocolError`: the connection is then useless, and the request is counted as failed.
"""

from __future__ import annotations

_HEAD_MAX = 64 * 1024
_UNTIL_EOF = -1


class ProtocolError(Exception):
    """The peer did not speak HTTP/1.1."""


class ResponseReader:
    """
    One answer after another on one connection: :meth:`begin`, then :meth:`feed` until it says the answer is whole.

    Attributes:
        status: of the answer being read; 0 before its head is complete.
        started: at least one byte of the answer has arrived.
        reusable: the connection may carry another request.
        head: status line and headers as they came, for :meth:`header`.
        body: as many of its first bytes as *body_max* allows.
    """

    __slots__ = (
        "_body_max", "_buffer", "_chunked", "_head_only", "_left", "_lower",
        "body", "head", "reusable", "started", "status",
    )  # fmt: skip

    def __init__(self, body_max: int = 0) -> None:
        self._body_max = body_max
        self.begin(False)

    def begin(self, head_only: bool) -> None:
        """Forget the last answer; *head_only* says the next one belongs to a HEAD request."""
        self._head_only = head_only
        self._buffer = b""
        self._left = 0
        self._chunked = False
        self.status = 0
        self.started = False
        self.reusable = True
        self.head = self._lower = b""
        self.body = b""

    def feed(self, data: bytes) -> bool:
        """
        True when the answer is whole.

        Raises: ProtocolError when the bytes cannot be an HTTP/1.1 answer, or go on after its end.
        """
        self.started = True
        if self.status == 0:
            data = self._buffer + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return self._wait_for_head(data)
            self._buffer = b""
            self._read_head(data[:end])
            if 100 <= self.status < 200:
                return self._skip_interim(data[end + 4 :])
            data = data[end + 4 :]
        return self._read_body(data)

    def ends_with_connection(self) -> bool:
        """The peer closed: True when that is how this answer ends, False when it was cut."""
        return self.status != 0 and self._left == _UNTIL_EOF

    def header(self, name: bytes) -> bytes | None:
        """The value of the header *name* (given in lower case), or None."""
        at = self._lower.find(b"\n" + name + b":")
        if at < 0:
            return None
        end = self.head.find(b"\r", at)
        return self.head[at + len(name) + 2 : end if end >= 0 else None].strip()

    def _wait_for_head(self, data: bytes) -> bool:
        if len(data) > _HEAD_MAX:
            raise ProtocolError(f"no end of the head within {_HEAD_MAX} bytes")
        if not data.startswith(b"HTTP/1."[: len(data)]):
            raise ProtocolError(f"expected HTTP/1.1, got {data[:16]!r}")
        self._buffer = data
        return False

    def _skip_interim(self, rest: bytes) -> bool:
        if self.status == 101:
            raise ProtocolError("the server switched protocols")
        self.status = 0
        return self.feed(rest) if rest else False

    def _read_head(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.") or not head[9:12].isdigit():
            raise ProtocolError(f"expected HTTP/1.1 and a status, got {head[:16]!r}")
        self.status = int(head[9:12])
        self.head, self._lower = head, head.lower()
        connection = (self.header(b"connection") or b"").lower()
        self.reusable = b"close" not in connection if head.startswith(b"HTTP/1.1") else b"keep-alive" in connection
        self._left = self._length()

    def _length(self) -> int:
        if self._head_only or self.status in (204, 304) or self.status < 200:
            return 0
        if b"chunked" in (self.header(b"transfer-encoding") or b"").lower():
            self._chunked = True
            return 0
        length = self.header(b"content-length")
        if length is None:
            self.reusable = False
            return _UNTIL_EOF
        if not length.isdigit():
            raise ProtocolError(f"content-length: expected a number, got {length[:16]!r}")
        return int(length)

    def _read_body(self, data: bytes) -> bool:
        if self._chunked:
            return self._read_chunks(data)
        if self._body_max:
            self._keep(data)
        if self._left == _UNTIL_EOF:
            return False
        self._left -= len(data)
        if self._left < 0:
            raise ProtocolError("bytes after the end of the answer")
        return self._left == 0

    def _read_chunks(self, data: bytes) -> bool:
        """``_left`` is what the current chunk still owes, its closing CRLF included."""
        data = self._buffer + data
        while data:
            if self._left > 0:
                if self._body_max:
                    self._keep(data[: max(self._left - 2, 0)])
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                continue
            line, newline, rest = data.partition(b"\r\n")
            if not newline:
                if len(data) > _HEAD_MAX:
                    raise ProtocolError(f"no end of a chunk size within {_HEAD_MAX} bytes")
                break
            size = _chunk_size(line)
            if size == 0:
                return self._read_trailers(data, rest)
            self._left, data = size + 2, rest
        self._buffer = data
        return False

    def _read_trailers(self, last_chunk: bytes, rest: bytes) -> bool:
        if rest.startswith(b"\r\n"):
            return _nothing_after(rest[2:])
        end = rest.find(b"\r\n\r\n")
        if end >= 0:
            return _nothing_after(rest[end + 4 :])
        if len(rest) > _HEAD_MAX:
            raise ProtocolError(f"no end of the trailers within {_HEAD_MAX} bytes")
        self._buffer = last_chunk
        return False

    def _keep(self, data: bytes) -> None:
        if len(self.body) < self._body_max:
            self.body += data[: self._body_max - len(self.body)]


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not 0 < len(digits) <= 16 or digits.strip(b"0123456789abcdefABCDEF"):
        raise ProtocolError(f"expected a chunk size, got {line[:16]!r}")
    return int(digits, 16)


def _nothing_after(rest: bytes) -> bool:
    if rest:
        raise ProtocolError("bytes after the end of the answer")
    return True
