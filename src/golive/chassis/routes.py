"""
The route template a request was served by (``/items/{item_id}``): the only path that may become a label.

Where each framework keeps it differs, and one obvious place is wrong: since FastAPI 0.137 ``scope["route"].path``
lacks the prefixes of ``include_router``, so two routers collide; the effective route context has them. Starlette keeps
mounts in ``root_path`` with the caller's *values* filled in, which would be an unbounded label, so mounts are named
from the route table instead.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from golive.chassis.types import Scope

UNMATCHED = "__unmatched__"
#: The method of a websocket's route, which has none.
WEBSOCKET = "WEBSOCKET"

#: Mounts inside mounts that are followed; a table that contains itself ends here.
DEPTH_MAX = 16

_PARAMETER = re.compile(r"\\\{[^}]*?(:path)?\\\}")
_GROUP = re.compile(r"\(\?P<[^>]+>")


def path_below(path: str, root_path: str) -> str:
    """*path* as routers see it, without the *root_path* of a proxy or a mount: whole segments only."""
    if root_path and path.startswith(root_path) and path[len(root_path) : len(root_path) + 1] in ("", "/"):
        return path[len(root_path) :]
    return path


def router_of(app: object) -> object:
    """The app with the route table: *app*, or what is inside middleware that is wrapped around it (its ``app``)."""
    for _ in range(DEPTH_MAX):
        if hasattr(app, "routes") or not hasattr(app, "app"):
            break
        app = app.app
    return app


class RouteNames:
    """Names the routes of one app. The route table is read once, when a mount or a bare endpoint makes it necessary."""

    def __init__(self, app: object) -> None:
        self._app = app
        self._table: RouteTable | None = None

    def name(self, scope: Scope, root_path: str) -> str:
        """
        The template of the route that served *scope*, or :data:`UNMATCHED`.

        Args:
            scope: the request's scope after the app has run; routers write what they matched into it.
            root_path: the ``root_path`` it came with, which the template leaves out.
        """
        context = scope["fastapi"].get("effective_route_context") if "fastapi" in scope else None
        route = scope.get("route") if context is None else context.original_route
        if route is None or not hasattr(route, "endpoint"):
            return self._unnamed(scope)
        template: str = (context or route).path_format
        if not template:
            return self._unnamed(scope)  # a plain route that was included by a FastAPI router
        if scope.get("root_path", "") == root_path:
            return template
        prefix = self.table.mounts.get(id(context or route))
        return UNMATCHED if prefix is None else prefix + template

    def _unnamed(self, scope: Scope) -> str:
        """Litestar's own key, or a plain Starlette route inside FastAPI, which leaves only its endpoint behind."""
        template = scope.get("path_template")
        if isinstance(template, str) and template:
            return template
        endpoint = scope.get("endpoint")
        return UNMATCHED if endpoint is None else self.table.endpoints.get(id(endpoint), UNMATCHED)

    @property
    def table(self) -> RouteTable:
        """The route table, read on first use: routes may be added until the first request."""
        if self._table is None:
            self._table = RouteTable(self._app)
        return self._table


class AnyMethod(frozenset[str]):
    """Every method there is, and the made-up ones: of an endpoint that looks at the method itself."""

    def __contains__(self, method: object) -> bool:
        return method != WEBSOCKET


class Leaf(NamedTuple):
    """
    One route of an app, in the order in which its router looks.

    Attributes:
        template: its whole path, mounts and prefixes included.
        methods: what it answers; :data:`WEBSOCKET` for a websocket, :class:`AnyMethod` when it does not say.
        endpoint: what runs.
        pattern: the paths it takes, as its router reads them; None for one path and methods that can be listed.
    """

    template: str
    methods: frozenset[str]
    endpoint: Any
    pattern: re.Pattern[str] | None


class RouteTable:
    """
    What hangs where, by identity of route and endpoint objects.

    Attributes:
        mounts: id of a route (FastAPI: of its context) -> template of the mounts above it, empty at the top.
        endpoints: id of an endpoint -> its whole template.
        leaves: every route.
    """

    def __init__(self, app: object) -> None:
        self.mounts: dict[int, str] = {}
        self.endpoints: dict[int, str] = {}
        self.leaves: list[Leaf] = []
        self._read(getattr(router_of(app), "routes", None), "", 0)

    def _read(self, routes: Any, prefix: str, depth: int) -> None:
        if depth > DEPTH_MAX:
            return
        for route in routes or ():
            if hasattr(route, "effective_route_contexts"):  # FastAPI's include_router, one entry for many routes
                self._read_included(route, prefix, depth)
            elif hasattr(route, "endpoint"):
                self._add(route, prefix)
            elif hasattr(route, "route_handlers") or hasattr(route, "route_handler"):
                self._read_litestar(route)
            elif hasattr(route, "routes"):
                self._read(route.routes, prefix + getattr(route, "path", ""), depth + 1)

    def _read_included(self, router: Any, prefix: str, depth: int) -> None:
        for context in router.effective_route_contexts():
            self.mounts.setdefault(
                id(context), prefix
            )  # one router included twice is two contexts over the same routes
            plain = getattr(context, "starlette_route", None)  # a route or mount that is not FastAPI's own
            if plain is not None:
                self._read([plain], prefix, depth + 1)
            else:
                self._add(context, prefix)

    def _read_litestar(self, route: Any) -> None:
        """Its table is flat, names the whole path, and finds fixed paths first."""
        pattern = re.compile(_regex(route.path) + r"\Z", re.DOTALL) if "{" in route.path else None
        single = getattr(route, "route_handler", None)  # a websocket, or an ASGI app
        for handler in [single] if single is not None else route.route_handlers:
            methods = frozenset(getattr(handler, "http_methods", ())) or frozenset({WEBSOCKET})
            self.leaves.append(Leaf(route.path, methods, handler.fn, pattern))
        self.leaves.sort(key=lambda leaf: [("{" in part) + (":path" in part) for part in leaf.template.split("/")])

    def _add(self, route: Any, prefix: str) -> None:
        self.mounts.setdefault(id(route), prefix)
        template = prefix + (getattr(route, "path_format", "") or "")
        self.endpoints.setdefault(id(route.endpoint), template)
        methods = frozenset(getattr(route, "methods", None) or ())
        if not methods:
            methods = frozenset({WEBSOCKET}) if "websocket" in type(route).__name__.lower() else AnyMethod()
        own = getattr(route, "path_regex", None)
        pattern = None
        if "{" in template or isinstance(methods, AnyMethod):
            tail = _GROUP.sub("(?:", own.pattern).removeprefix("^") if own is not None else "$"
            pattern = re.compile((_regex(prefix) if prefix else "") + tail)
        self.leaves.append(Leaf(template, methods, route.endpoint, pattern))


def _regex(template: str) -> str:
    """The paths that *template* stands for (``/items/{id}``; ``{rest:path}`` spans segments)."""
    return _PARAMETER.sub(lambda found: ".*" if found[1] else "[^/]+", re.escape(template))


def hidden_routes(app: object) -> list[str]:
    """
    Routes nobody can reach, because one before them takes all their paths: ``/blocks/async`` after ``/blocks/{id}``.
    """
    seen: list[Leaf] = []
    hidden = []
    for leaf in RouteTable(app).leaves:
        for before in seen:
            methods = leaf.methods & before.methods
            if methods and _takes_all(before, leaf):
                named = ",".join(sorted(methods - {"HEAD"})) or "HEAD"
                hidden.append(f"{named} {leaf.template} is hidden by {before.template}. Declare it first.")
                break
        seen.append(leaf)
    return hidden


def _takes_all(before: Leaf, leaf: Leaf) -> bool:
    """Whether every path of *leaf* is one of *before*, tried with values that a parameter of any kind takes."""
    if before.pattern is None:
        return before.template == leaf.template
    if leaf.pattern is None:
        return before.pattern.match(leaf.template) is not None
    paths = [re.sub(r"\{[^}]*\}", value, leaf.template) for value in ("1", "zz-9", "1.5", "a/b")]
    own = [path for path in paths if leaf.pattern.match(path)]
    return bool(own) and all(before.pattern.match(path) for path in own)


def owns(app: object, path: str) -> bool:
    """
    Whether *app* answers GET *path* by a route of its own.

    An app without a route table may answer anything, so it owns every path. A mount at ``/`` (static files) owns ``/``
    itself but makes no promise about other paths. What stands around a route table may claim paths of its own
    (``claims(path)``, as :class:`golive.chassis.pages.Pages` does).
    """
    claims = getattr(app, "claims", None)
    if callable(claims) and claims(path):
        return True
    routes = getattr(router_of(app), "routes", None)
    if routes is None:
        return True
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": [], "query_string": b""}
    return any(_matches(route, dict(scope)) and (path == "/" or not _is_mount(route)) for route in routes)


def _matches(route: Any, scope: dict[str, Any]) -> bool:
    if hasattr(route, "route_handlers"):
        return _fits(route.path, scope["path"])
    match, _child = route.matches(scope) if hasattr(route, "matches") else (None, None)
    return match is not None and bool(match.value)


def _fits(template: str, path: str) -> bool:
    """Whether Litestar's *template* (``/{name:str}``, ``/{rest:path}``) may stand for *path*."""
    parts = re.split(r"\{[^}]*?(:path)?\}", template)
    pattern = "".join(
        re.escape(part or "") if place % 2 == 0 else ".*" if part else "[^/]+" for place, part in enumerate(parts)
    )
    return re.fullmatch(pattern, path) is not None


def _is_mount(route: Any) -> bool:
    return (
        hasattr(route, "routes") and not hasattr(route, "endpoint") and not hasattr(route, "effective_route_contexts")
    )
