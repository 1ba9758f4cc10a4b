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
        hosts: the ``Host`` routes above it, which must all match as well.
        exact: whether *pattern* takes no path that the router would not give to this route. Only then may the route
            hide a rule behind it.
    """

    template: str
    methods: frozenset[str]
    endpoint: Any
    pattern: re.Pattern[str] | None
    hosts: tuple[Any, ...] = ()
    exact: bool = True

    @property
    def documents(self) -> bool:
        """Whether the framework made this route to describe the app: FastAPI's and Litestar's pages and schemas."""
        made = getattr(self.endpoint, "fn", self.endpoint)
        module, name = getattr(made, "__module__", None) or "", getattr(made, "__qualname__", "")
        fastapi = module == "fastapi.applications" and name.startswith("FastAPI.setup.")
        return self.pattern is None and (fastapi or module.startswith(("litestar._openapi.", "litestar.openapi.")))


class Above(NamedTuple):
    """What is above a route, mounts and hosts: *regex* takes the mounts' paths, the rest is as in :class:`Leaf`."""

    template: str = ""
    regex: str = ""
    hosts: tuple[Any, ...] = ()
    exact: bool = True
    depth: int = 0


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
        top = router_of(app)
        self._root_path = bool(getattr(top, "root_path", ""))
        self._read(getattr(top, "routes", None), Above())

    def _read(self, routes: Any, above: Above) -> None:
        if above.depth > DEPTH_MAX:
            return
        of_litestar = []
        for route in routes or ():
            if hasattr(route, "effective_route_contexts"):  # FastAPI's include_router, one entry for many routes
                self._read_included(route, above)
            elif hasattr(route, "endpoint"):
                self._add(route, above)
            elif hasattr(route, "route_handlers") or hasattr(route, "route_handler"):
                of_litestar.append(route)
            elif hasattr(route, "routes"):
                self._read_mount(route, above)
        self._read_litestar(of_litestar, above)

    def _read_mount(self, route: Any, above: Above) -> None:
        """A mount or a host: the routes inside, also inside middleware; an app without routes is one route itself."""
        template = above.template + getattr(route, "path", "")
        hosts = above.hosts
        if hasattr(route, "host_regex"):
            hosts, regex, exact = (*hosts, route), "", True
        else:
            regex, exact = _mount_regex(route)
        regex, exact = above.regex + regex, above.exact and exact
        inner = router_of(getattr(route, "app", route))
        if getattr(inner, "root_path", ""):  # it then looks below that path, wherever it hangs
            regex, exact = f"(?={regex}(?:/|$))(?:/(?s:.*))?", False
        elif self._root_path:  # where the proxy took it off, the routes inside are given the whole path
            regex, exact = f"(?:{regex}|(?={regex}(?:/|$)))", False
        routes = getattr(inner, "routes", None) or route.routes
        if routes:
            self._read(routes, Above(template, regex, hosts, exact, above.depth + 1))
            return
        pattern = re.compile(regex + r"(?:/.*)?\Z", re.DOTALL)
        for app in layers_of(getattr(route, "app", route)):
            for methods in (AnyMethod(), frozenset({WEBSOCKET})):
                self.leaves.append(Leaf(template + "/{path}", methods, app, pattern, hosts, exact=False))

    def _read_included(self, router: Any, above: Above) -> None:
        for context in router.effective_route_contexts():
            # one router included twice is two contexts over the same routes
            self.mounts.setdefault(id(context), above.template)
            plain = getattr(context, "starlette_route", None)  # a route or mount that is not FastAPI's own
            if plain is not None:
                self._read([plain], above._replace(depth=above.depth + 1))
            else:
                self._add(context, above)

    def _read_litestar(self, routes: list[Any], above: Above) -> None:
        """
        Its table is flat, names the whole path, and finds fixed paths first; it takes any number of slashes for one.

        An ASGI app answers every method, and mounted everything that begins with its path (``/sub`` is also
        ``/subway``), before routes with parameters. Those and a parameter of kind ``path`` take paths from others.
        """
        leaves = []
        takes_others = any(":path" in route.path or _mounts_in_litestar(route) for route in routes)
        for route in routes:
            mounted = _mounts_in_litestar(route)
            template = above.template + route.path if above.template else route.path
            pattern, exact = None, not takes_others
            if mounted:
                pattern, exact = re.compile(above.regex + _regex(route.path) + ".*", re.DOTALL), False
            elif above != Above():  # the path is not in its normal form here
                own = _regex(route.path).replace("/", "/+")
                pattern, exact = re.compile(above.regex + own + r"/*\Z", re.DOTALL), False
            elif "{" in route.path:
                pattern = re.compile(_regex(route.path) + r"\Z", re.DOTALL)
            single = getattr(route, "route_handler", None)  # a websocket, or an ASGI app
            for handler in [single] if single is not None else route.route_handlers:
                every = single is not None and "asgi" in type(route).__name__.lower()
                known = frozenset(getattr(handler, "http_methods", ())) or frozenset({WEBSOCKET})
                for methods in (AnyMethod(), frozenset({WEBSOCKET})) if every else (known,):
                    matches = pattern or (re.compile(re.escape(route.path) + r"\Z") if every else None)
                    leaves.append((mounted, Leaf(template, methods, handler.fn, matches, above.hosts, exact)))
        leaves.sort(key=lambda each: (each[0], [("{" in p) + (":path" in p) for p in each[1].template.split("/")]))
        self.leaves += [leaf for _, leaf in leaves]

    def _add(self, route: Any, above: Above) -> None:
        self.mounts.setdefault(id(route), above.template)
        template = above.template + (getattr(route, "path_format", "") or "")
        self.endpoints.setdefault(id(route.endpoint), template)
        methods = frozenset(getattr(route, "methods", None) or ())
        if not methods:
            methods = frozenset({WEBSOCKET}) if "websocket" in type(route).__name__.lower() else AnyMethod()
        own = getattr(route, "path_regex", None)
        pattern = None
        if "{" in template or isinstance(methods, AnyMethod) or above.hosts or not above.exact:
            tail = _GROUP.sub("(?:", own.pattern).removeprefix("^") if own is not None else "$"
            pattern = re.compile(above.regex + tail)
        self.leaves.append(Leaf(template, methods, route.endpoint, pattern, above.hosts, above.exact))


def layers_of(app: Any) -> list[Any]:
    """*app* and what it is wrapped around: a rule may be written on each."""
    layers = [app]
    while len(layers) < DEPTH_MAX and hasattr(layers[-1], "app"):
        layers.append(layers[-1].app)
    return layers


def _mount_regex(route: Any) -> tuple[str, bool]:
    """The paths above a mount's own, as its router reads them, and whether the rest can only begin at one place."""
    own = getattr(route, "path_regex", None)
    tail = "/(?P<path>.*)$"
    if own is None or not own.pattern.endswith(tail):
        return _regex(getattr(route, "path", "")), False
    kinds = {type(kind).__name__ for name, kind in route.param_convertors.items() if name != "path"}
    known = kinds <= {"StringConvertor", "IntegerConvertor", "FloatConvertor", "UUIDConvertor"}
    return _GROUP.sub("(?:", own.pattern.removeprefix("^").removesuffix(tail)), known


def _mounts_in_litestar(route: Any) -> bool:
    return bool(getattr(getattr(route, "route_handler", None), "is_mount", False))


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
        for before in seen if leaf.exact else ():
            methods = leaf.methods & before.methods
            if methods and _takes_all(before, leaf):
                named = ",".join(sorted(methods - {"HEAD"})) or "HEAD"
                hidden.append(f"{named} {leaf.template} is hidden by {before.template}. Declare it first.")
                break
        if leaf.exact and not leaf.hosts:
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
