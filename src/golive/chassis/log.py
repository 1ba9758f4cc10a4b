"""
One JSON object per line on standard output, written off the event loop.

    request: note --every 20 ms, on the loop--> lines --every 30 ms, in a thread--> the descriptor

A request only leaves a note; notes become lines many at a time, which costs half of making each alone. They are made
on the loop although a thread could: two threads that both want the interpreter's lock spend more on passing it to and
fro than the lines cost (measured: 12 % of a service's CPU). The thread only writes, so that a slow or closed pipe
never slows a request: both buffers are bounded, what does not fit is dropped and counted. Left out: formats, levels
and rotation, which belong to whoever reads the stream.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from golive.redact import redact, redact_text

#: Lines that wait for the writer; at 300 bytes each about 3 MB.
LINES_MAX = 10_000
#: How long notes are gathered before they become lines, and lines before they are written. A kill -9 loses both.
NOTES_SECONDS = 0.02
BATCH_SECONDS = 0.03

#: What a pipe takes in one piece at least (PIPE_BUF is 4,096 on Linux).
ATOMIC_BYTES = 4096
#: Longer paths are cut.
PATH_MAX = 2048

_encoder = msgspec.json.Encoder()


class RequestNote(msgspec.Struct, gc=False):
    """
    What a request leaves behind for its log line.

    Attributes:
        at: Unix time in seconds.
        path: without the query string, which is where secrets and addresses travel.
        seconds: from the request's head to the end of its answer.
        size: bytes of the answer's body.
        replaced: the caller sent an id that is not one.
    """

    at: float
    method: str
    path: str
    route: str
    status: int
    seconds: float
    size: int
    request_id: str
    trace_id: str
    client: str | None
    version: str
    replaced: bool

    def line(self) -> _RequestLine:
        """The line, redacted. A path that is its route's template was written by the developer and holds nobody."""
        path = self.path if self.path == self.route else redact_text(self.path[:PATH_MAX])
        return _RequestLine(
            timestamp(self.at),
            "info" if self.status < 500 else "error",
            "request",
            self.method,
            path,
            self.route,
            self.status,
            round(self.seconds * 1000, 3),
            self.size,
            self.request_id,
            self.trace_id,
            self.client,
            self.version,
            self.replaced,
        )


class _RequestLine(msgspec.Struct, gc=False, omit_defaults=True):
    """The members of a request's line, in their order; a struct is written in half the time of a dictionary."""

    ts: str
    level: str
    event: str
    method: str
    path: str
    route: str
    status: int
    duration_ms: float
    bytes: int
    request_id: str
    trace_id: str
    client: str | None
    version: str
    request_id_replaced: bool = False


class LogSink:
    """
    Where lines go.

    Args:
        descriptor: the file descriptor to write to; standard output by default, looked up when the first line is
            written.
        lines_max: lines buffered before further ones are dropped.

    Attributes:
        shared: other processes write to the same pipe; lines then go in pieces small enough to stay whole.
        dropped: lines lost because the buffer was full or the descriptor failed.
    """

    def __init__(self, descriptor: int | None = None, lines_max: int = LINES_MAX) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._notes: deque[RequestNote] = deque()
        self._gathering = False
        self._lines_max = lines_max
        self._wake = threading.Event()
        self._asleep = True
        self._writing = False
        self._thread: threading.Thread | None = None
        self.shared = False
        self.dropped = 0

    def event(self, event: str, *, level: str = "info", **fields: Any) -> None:
        """Write one line about something that happened; *fields* are redacted."""
        self.record({"ts": timestamp(time.time()), "level": level, "event": event, **redact(fields)})

    def record(self, record: dict[str, Any]) -> None:
        """Write *record* as one line. Never raises and never blocks."""
        self._write_notes()  # what happened before stands before
        self._append(encode(record))

    def request(self, note: RequestNote) -> None:
        """Write the line of a request, soon. Called on the event loop; never raises and never blocks."""
        if len(self._notes) >= self._lines_max:
            self.dropped += 1
            return
        self._notes.append(note)
        if not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_later(NOTES_SECONDS, self._write_notes)

    def _write_notes(self) -> None:
        self._gathering = False
        while self._notes:
            try:
                self._append(encode(self._notes.popleft().line()))
            except Exception:  # another thread took the last one, or a line that cannot be made: it is lost, not we
                self.dropped += 1

    def _append(self, line: bytes) -> None:
        if len(self._lines) >= self._lines_max:
            self.dropped += 1
            return
        self._lines.append(line)
        if self._asleep:
            self._asleep = False
            self._start()
            self._wake.set()

    def flush(self, timeout_seconds: float = 2.0) -> bool:
        """Wait until everything is written; False when the reader of the stream was too slow."""
        self._write_notes()
        deadline = time.monotonic() + timeout_seconds
        while self._lines or self._writing:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def _start(self) -> None:
        """The writer starts with the first line, so that a process that forks before logging has no thread to lose."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="golive-log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(BATCH_SECONDS)
            self._asleep = True  # before the buffer is emptied: a line that comes later wakes us again
            self._writing = True
            self._write(self._take())
            self._writing = False

    def _take(self) -> list[bytes]:
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        return lines

    def _write(self, lines: list[bytes]) -> None:
        try:
            for piece in _whole_pieces(lines) if self.shared else [b"".join(lines)]:
                data = memoryview(piece)
                while data:
                    data = data[self._write_some(data) :]
        except OSError:  # the reader went away; requests must not notice
            self.dropped += len(lines)

    def _write_some(self, data: memoryview) -> int:
        descriptor = self._descriptor if self._descriptor is not None else sys.__stdout__.fileno()  # type: ignore[union-attr]
        try:
            return os.write(descriptor, data[:65536])
        except BlockingIOError:  # somebody made the pipe non-blocking: wait for room
            select.select([], [descriptor], [], 1.0)
            return 0


def _whole_pieces(lines: list[bytes]) -> Iterator[bytes]:
    """*lines* in pieces that a pipe takes whole; a line that is longer goes alone."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > ATOMIC_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"".join(piece)


def encode(record: dict[str, Any] | msgspec.Struct) -> bytes:
    """*record* as one JSON line; what JSON cannot hold is written as its ``repr``."""
    try:
        return _encoder.encode(record) + b"\n"
    except Exception:
        members = record if isinstance(record, dict) else msgspec.structs.asdict(record)
        return msgspec.json.encode({name: _plain(value) for name, value in members.items()}) + b"\n"


def _plain(value: Any) -> Any:
    """*value* as something JSON can hold: lone surrogates, cycles and objects with a broken ``repr`` included."""
    try:
        msgspec.json.encode(value)
        return value
    except Exception:
        try:
            return str(value).encode("utf-8", "backslashreplace").decode()
        except Exception:
            return f"<{type(value).__name__} that cannot be shown>"


_second = 0
_second_text = ""


def timestamp(seconds: float) -> str:
    """
    RFC 3339 in UTC with milliseconds. The text of the current second is kept: every line of that second shares it.
    """
    global _second, _second_text
    whole = int(seconds)
    if whole != _second:
        _second, _second_text = whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{_second_text}.{int((seconds - whole) * 1000):03d}Z"
