"""
FastAPI's routes without the layers between its router and its endpoints: the same answers for a third of the work.

A request for a plain JSON route passes three exit stacks, an e-mail parser and a dozen objects that such a route does
not use. Here the router's table is read once, and what a route needs is known before its first request. What decides
what the route *means* stays FastAPI's: its validation, its dependencies, its serialisation, its exception handlers,
and every middleware, which are all outside of this.

FastAPI does itself whatever is not plain (:func:`golive.chassis.fastroute.why_not`), and whatever is unusual about
a request before its endpoint has run. To be imported only where :mod:`golive.chassis.fastapitext` knows the FastAPI:
one that was not compared serves every request itself. ``tests/chassis/test_chassis_fastpath.py`` asks the same of both
ways and compares all they answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, APIRouter, _IncludedRouter
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from golive.chassis.fastroute import Entry, FastRoute, why_not
from golive.chassis.routes import path_below, router_of
from golive.chassis.types import ASGIApp, Receive, Scope, Send


class FastPath:
    """
    What FastAPI's router runs instead of its own search: plain routes at once, everything else by the router.

    Args:
        app: the FastAPI app whose router this hangs in.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._router = app.router
        self._itself: ASGIApp = app.router.app
        self._read: object = None
        self._fixed: dict[tuple[str, str], FastRoute | None] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, FastRoute | None] | None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve *scope* as the router would."""
        router = self._router
        if self._read != (router._routes_version, len(router.routes)):
            self._read_routes()
        if scope["type"] != "http" or self._app.dependency_overrides or "fastapi.telemetry" in scope:
            await self._itself(scope, receive, send)
            return
        root_path, path = scope.get("root_path", ""), scope["path"]
        if root_path:
            path = path_below(path, root_path)
        key = (scope["method"], path)
        if key in self._fixed:
            route, parameters = self._fixed[key], None
        else:
            route, parameters = self._by_pattern(*key)
        if route is None:
            await self._itself(scope, receive, send)
            return
        scope.setdefault("router", router)
        await route.serve(scope, parameters, receive, send)

    def _by_pattern(self, method: str, path: str) -> tuple[FastRoute | None, dict[str, str] | None]:
        """The first route that takes *path* and *method*, and its parameters as they stand in the path."""
        if "\n" in path:
            return None, None  # to the router ``/orders`` and a newline after it is ``/orders``
        for regex, methods in self._patterns:
            found = regex.match(path)
            if found is not None and (methods is None or method in methods):
                return (methods[method], found.groupdict()) if methods is not None else (None, None)
        return None, None

    def _read_routes(self) -> None:
        """Which route each path and method belong to; routes may be added until the first request and after it."""
        self._read = (self._router._routes_version, len(self._router.routes))
        self._fixed, self._patterns = {}, []
        for entry in entries_of(self._router.routes):
            if entry.regex is None:
                break  # it may take what is behind it
            plain = entry.route is not None and not why_not(entry)
            served = {m: FastRoute(entry, m, self._itself) if plain else None for m in entry.methods or ()}
            if entry.fixed is None or not served:
                self._patterns.append((entry.regex, served or None))
                continue
            for method, route in served.items():
                earlier = any(
                    regex.match(entry.fixed) and (methods is None or method in methods)
                    for regex, methods in self._patterns
                )
                if not earlier:  # else the search by patterns finds that one
                    self._fixed.setdefault((method, entry.fixed), route)


def install(app: object) -> None:
    """
    Serve the plain routes of *app*, and of apps mounted in it, the short way from now on.

    It hangs in the router of each FastAPI, inside every middleware, and reads the routes with its next request.
    """
    top: Any = router_of(app)
    if not obstacle(top) and not isinstance(top.router.middleware_stack, FastPath):
        top.router.middleware_stack = FastPath(top)
    for mount in _mounts(top):
        install(mount.app)


def explain(app: object, prefix: str = "") -> dict[str, str]:
    """By method and template of each route of FastAPI's own: ``"fast"``, or why FastAPI serves it itself."""
    top: Any = router_of(app)
    reason = obstacle(top)
    found = {}
    for entry in entries_of(getattr(top, "routes", None) or ()):
        if entry.regex is None:
            reason = reason or f"it is behind a {type(entry.original).__name__}, which may take its requests"
        elif entry.route is not None:
            name = f"{','.join(sorted(entry.methods or ()))} {prefix}{entry.route.path_format}"
            found[name] = reason or why_not(entry) or "fast"
    for mount in _mounts(top):
        found.update(explain(mount.app, prefix + mount.path))
    return found


def obstacle(app: Any) -> str:
    """Why no route of *app* can be served the short way; empty when some may."""
    if type(app) is not FastAPI:
        return "the app is not of FastAPI's own class"
    return "" if _is_plain_router(app.router) else "the app's router is not as FastAPI made it"


def _mounts(app: Any) -> list[Mount]:
    return [route for route in getattr(app, "routes", None) or () if isinstance(route, Mount)]


def _is_plain_router(router: Any) -> bool:
    """Whether *router* has no way of its own; a limit for forms is one."""
    return (
        type(router) is APIRouter
        and not {"app", "handle", "matches"} & vars(router).keys()
        and (router.middleware_stack == router.app or isinstance(router.middleware_stack, FastPath))
        and not router.form_limits
    )


def entries_of(routes: Iterable[Any], included: Any = None) -> Iterator[Entry]:
    """
    The routes that take requests. One about which only its own class knows what it takes has no ``regex``.

    Args:
        routes: of a router, or the candidates of an inclusion.
        included: that inclusion.
    """
    for route in routes:
        if isinstance(route, _IncludedRouter):
            if not _is_plain_router(route.original_router) or route.include_context.form_limits:
                yield Entry(None, None, None, None, route.original_router, included)
            yield from entries_of(route.effective_candidates(), route)
            continue
        original: BaseRoute = getattr(route, "original_route", route)
        plain = getattr(route, "starlette_route", None) or route
        kind = next((kind for kind in (APIRoute, Route, Mount) if isinstance(original, kind)), None)
        if isinstance(original, WebSocketRoute):
            continue
        if kind is None or type(original).matches is not kind.matches or "matches" in vars(original):
            yield Entry(None, None, None, None, original, included)
            continue
        methods = frozenset(getattr(plain, "methods", None) or ())
        fixed = plain.path_format if not plain.param_convertors else None
        of_fastapi = plain if kind is APIRoute else None
        yield Entry(plain.path_regex, methods or None, fixed, of_fastapi, original, included)
