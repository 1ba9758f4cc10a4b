"""
Old addresses of an app: 307 to the new ones, which keeps method, body and query.

``{"/closed-venue-reasoning": "/api/closed-venue-reasoning", "/v1/*": "/api/v1/*"}``. Exact paths, or everything below
one where both sides end with ``/*``. The address is always one of this host: it begins with one slash, however many
slashes (``/v1//evil``) or backslashes the caller's rest begins with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from golive.chassis.routes import path_below
from golive.chassis.types import ASGIApp, Receive, Scope, Send

#: What may stand in a path unescaped (RFC 3986, section 3.3).
_SAFE = "/:@!$&'()*+,;=~-._"


def redirect_faults(redirects: Mapping[str, str]) -> list[str]:
    """Every entry that could not work or would leave the host."""
    faults = []
    for old, new in redirects.items():
        if not all(path.startswith("/") and not path.startswith("//") and path.isprintable() for path in (old, new)):
            faults.append(f'redirects: {old}: expected two paths that begin with one "/", got {new!r}.')
        elif old.endswith("/*") is not new.endswith("/*"):
            faults.append(f'redirects: {old}: expected both paths or none to end with "/*", got {new!r}.')
        elif old == new:
            faults.append(f"redirects: {old}: expected another path, got the same.")
        else:
            again = next((other for other in redirects if _takes_all(other, new)), None)
            if again is not None:
                faults.append(
                    f"redirects: {old}: expected the last address, got {new!r}, which {again} redirects again. "
                    "Write where that one leads, or take the loop out."
                )
    return faults


def _takes_all(old: str, new: str) -> bool:
    """
    Whether every address that the target *new* stands for is redirected again by *old*.

    Where that is true of no entry there is no loop: each further step then uses up a part of the caller's rest.
    """
    return new.startswith(old[:-1]) if old.endswith("/*") else new == old


class Redirects:
    """
    An app with old addresses in front of it; for everything else, its route table included, it is *app*.

    Args:
        redirects: see :func:`redirect_faults`.
    """

    def __init__(self, app: ASGIApp, redirects: Mapping[str, str]) -> None:
        self._app = app
        self._exact = {old: new for old, new in redirects.items() if not old.endswith("/*")}
        self._below = [(old[:-1], new[:-1]) for old, new in redirects.items() if old.endswith("/*")]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "http":
            root_path: str = scope.get("root_path", "")
            moved = self._moved(path_below(scope["path"], root_path))
            if moved is not None:
                template, place = moved
                scope["path_template"] = template  # the old address is a route: its metrics say who still uses it
                await _answer(send, "/" + (root_path + place).lstrip("/\\"), scope.get("query_string", b""))
                return
        await self._app(scope, receive, send)

    def _moved(self, path: str) -> tuple[str, str] | None:
        """The old address as it is configured, and the new one."""
        new = self._exact.get(path)
        if new is not None:
            return path, new
        for before, after in self._below:
            if path.startswith(before):
                return before + "*", after + path[len(before) :]
        return None


async def _answer(send: Send, place: str, query: bytes) -> None:
    location = quote(place, safe=_SAFE).encode() + (b"?" + query if query else b"")
    headers = [(b"location", location), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
