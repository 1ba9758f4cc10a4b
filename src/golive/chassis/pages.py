"""
A single-page frontend beside an API: its files, and ``index.html`` for every address that only the browser knows.

    app = Pages(api, "dist")

The app answers first; what it does not know (404) and a browser navigates to is a page. A missing file is 404 and never
the page (a script that is HTML breaks in confusing ways), and so is everything below ``/api``, whose callers want to
read what is wrong. Left out: compression and ranges, which belong to a content network.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from pathlib import Path
from typing import Any

from golive.chassis.types import ASGIApp, Headers, Message, Receive, Scope, Send
from golive.errors import ConfigError

#: A file that is larger is refused: it is read into memory.
FILE_BYTES_MAX = 32 * 1024 * 1024
#: Names with a hash in them never change; everything else is asked for again.
_KEPT = b"public, max-age=31536000, immutable"


class Pages:
    """
    Args:
        app: the API; its own routes and its route table stay what they are.
        folder: the built frontend; ``index.html`` is in it.
        api: paths below which nothing is a page.
        assets: the folder whose names have hashes; browsers keep what is in it.

    Raises: ConfigError when *folder* has no ``index.html``.
    """

    def __init__(
        self, app: ASGIApp, folder: Path | str, *, api: tuple[str, ...] = ("/api",), assets: str = "/assets"
    ) -> None:
        self._app = app
        self._folder = Path(folder).resolve()
        self._api = tuple(path.rstrip("/") for path in api)
        self._assets = assets.rstrip("/") + "/"
        if not (self._folder / "index.html").is_file():
            raise ConfigError(f"pages: expected a folder with index.html, got {folder}. Build the frontend first.")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or self._is_api(scope["path"]):
            await self._app(scope, receive, send)
            return
        unknown = _Unknown(send)
        await self._app(scope, receive, unknown.send)
        if not unknown.held:
            return
        found = self._file(scope["path"])
        if found is None and _navigates(scope):
            found = self._folder / "index.html"
        if found is None:
            await unknown.release()
            return
        scope["path_template"] = "/{page}"
        await self._send(found, scope, send)

    def claims(self, path: str) -> bool:
        """Whether *path* is a page or file of the frontend, and no alias of the operator's; ``/`` always is."""
        return path == "/" or self._file(path) is not None

    def _is_api(self, path: str) -> bool:
        return any(path == api or path.startswith(api + "/") for api in self._api)

    def _file(self, path: str) -> Path | None:
        """The file at *path*, never one outside the folder, and never a hidden one."""
        parts = path.strip("/").split("/")
        if not parts[0] or any(part.startswith(".") or "\0" in part for part in parts):
            return None
        found = self._folder.joinpath(*parts)
        try:
            inside = found.resolve().is_relative_to(self._folder)
            return found if inside and found.is_file() and found.stat().st_size <= FILE_BYTES_MAX else None
        except (OSError, ValueError):
            return None

    async def _send(self, found: Path, scope: Scope, send: Send) -> None:
        body = await asyncio.to_thread(found.read_bytes)
        tag = b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        charset = "; charset=utf-8" if kind.startswith("text/") else ""
        kept = scope["path"].startswith(self._assets)
        headers: Headers = [
            (b"content-type", f"{kind}{charset}".encode()),
            (b"etag", tag),
            (b"cache-control", _KEPT if kept else b"no-cache"),
            (b"x-content-type-options", b"nosniff"),
        ]
        same = any(name == b"if-none-match" and tag in value for name, value in scope["headers"])
        if not same:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 304 if same else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if same or scope["method"] == "HEAD" else body})


class _Unknown:
    """The app's answer, held back while it may be a 404 that is a page."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._messages: list[Message] = []
        self.held = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 404:
            self.held = True
        if self.held:
            self._messages.append(message)
        else:
            await self._send(message)

    async def release(self) -> None:
        for message in self._messages:
            await self._send(message)


def _navigates(scope: Scope) -> bool:
    """Whether a browser wants a page: it says so, and the last part of the path has no ending of a file."""
    wants = any(name == b"accept" and (b"text/html" in value or value == b"*/*") for name, value in scope["headers"])
    plain = all(name != b"accept" for name, _ in scope["headers"])
    return (wants or plain) and "." not in scope["path"].rpartition("/")[2]
