"""
One plain route of FastAPI, served without what it does not use. See :mod:`golive.chassis.fastpath`.

Imported only where FastAPI is already.
"""

from __future__ import annotations

import email.message
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from fastapi import params, routing
from fastapi._compat import Undefined
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies import models
from fastapi.dependencies import utils as solving
from fastapi.exceptions import RequestValidationError
from fastapi.utils import is_body_allowed_for_status_code
from starlette._exception_handler import wrap_app_handling_exceptions
from starlette.requests import Request
from starlette.responses import Response

from golive.chassis.types import ASGIApp, Message, Receive, Scope, Send

#: What an endpoint may ask for besides one body. Without any of it there is nothing to solve.
_ASKED = (
    "dependencies", "path_params", "query_params", "header_params", "cookie_params", "request_param_name",
    "websocket_param_name", "http_connection_param_name", "response_param_name", "background_tasks_param_name",
    "security_scopes_param_name",
)  # fmt: skip
_JSON = (b"content-type", b"application/json")


class Entry(NamedTuple):
    """
    One route in the order in which FastAPI looks.

    Attributes:
        regex: the paths it takes; None when nobody but its own class knows.
        methods: what it answers; None for every method.
        fixed: its path, when it takes one only.
        route: for a route of FastAPI's own: what its handler was made of, the route or the context of its inclusion.
        original: the route itself.
        included: the inclusion it stands in, the innermost; None at the top.
    """

    regex: re.Pattern[str] | None
    methods: frozenset[str] | None
    fixed: str | None
    route: Any
    original: Any
    included: Any


def why_not(entry: Entry) -> str:
    """Why FastAPI must serve this route itself; empty when it is plain."""
    route, original = entry.route, entry.original
    own = ("get_route_handler", "handle")
    if any(
        name in vars(original) or getattr(type(original), name) is not getattr(routing.APIRoute, name) for name in own
    ):
        return "its class has a handler of its own"
    if getattr(route.app, "__qualname__", "") != "request_response.<locals>.app" or original.form_limits:
        return "a limit of its own stands before its handler"
    if not models._is_coroutine_callable(route.dependant.call):
        return "its endpoint is not an async function"
    if route.is_sse_stream or route.is_json_stream or route.stream_item_field is not None:
        return "it streams"
    if route.body_field is not None and isinstance(route.body_field.field_info, params.Form):
        return "it takes a form"
    if any(
        models._is_gen_callable(each) or models._is_async_gen_callable(each) for each in _dependencies(route.dependant)
    ):
        return "it has a dependency with yield"
    return ""


def _dependencies(dependant: Any) -> Iterator[Any]:
    for each in dependant.dependencies:
        yield each.call
        yield from _dependencies(each)


@lru_cache(maxsize=256)
def _is_json(content_type: bytes) -> bool:
    """Whether FastAPI takes a body of this type for JSON: the answer of the parser it asks for each request."""
    message = email.message.Message()
    message["content-type"] = content_type.decode("latin-1")
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def _says_json(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return _is_json(value)
    return False


class FastRoute:
    """
    One route and one method it answers.

    Args:
        entry: a route about which :func:`why_not` says nothing.
        method: as it stands in requests.
        itself: FastAPI's own way, for what is unusual.
    """

    def __init__(self, entry: Entry, method: str, itself: ASGIApp) -> None:
        route = self._route = entry.route
        dependant = self._dependant = route.dependant
        self._method = method
        self._place: tuple[str, dict[str, Any]] | None = None
        self._itself = itself
        self._scope = {"endpoint": route.endpoint, "route": entry.original}
        self._fastapi = (
            {"included_router": entry.included, "effective_route_context": route} if entry.included else None
        )
        self._has_body = route.body_field is not None
        fields = dependant.body_params
        one = not (route._embed_body_fields or len(fields) > 1 or solving._should_embed_body_fields(fields))
        self._field = fields[0] if fields and one else None
        self._alone = one and not any(getattr(dependant, name) for name in _ASKED)
        default = isinstance(route.response_class, DefaultPlaceholder)
        self._answers_with = route.response_class.value if default else route.response_class
        self._dumps = route.response_field is not None and default
        self._status: int = route.status_code or 200
        self._at_once = self._dumps and is_body_allowed_for_status_code(self._status)
        self._serialising = {
            "field": route.response_field,
            "include": route.response_model_include,
            "exclude": route.response_model_exclude,
            "by_alias": route.response_model_by_alias,
            "exclude_unset": route.response_model_exclude_unset,
            "exclude_defaults": route.response_model_exclude_defaults,
            "exclude_none": route.response_model_exclude_none,
            "is_coroutine": True,
            "dump_json": self._dumps,
        }

    async def serve(self, scope: Scope, parameters: dict[str, str] | None, receive: Receive, send: Send) -> None:
        """
        Answer *scope* as FastAPI would.

        Args:
            parameters: those of the path, as they stand in it; None for a path without any.
        """
        message: Message | None = None
        body: Any = None
        if self._has_body:
            unusual: Receive | None = None
            try:
                message = await receive()
                body = _json_of(scope, message)
            except Exception as error:
                unusual = _first(message, receive) if message is not None else _raises(error)
            if unusual is not None:  # nothing has run yet: FastAPI says what there is to say about it
                await self._itself(scope, unusual, send)
                return
        self._tell(scope, parameters)
        request = None if self._alone else _request(scope, message, body, receive, send)
        try:
            solved = await self._solve(request, body) if request is not None else None
            answer = await self._answer(scope, body, solved)
        except Exception as error:
            request = request or _request(scope, message, body, receive, send)
            await wrap_app_handling_exceptions(_fails(error), request)(scope, receive, send)
            return
        if isinstance(answer, bytes):
            length = (b"content-length", b"%d" % len(answer))
            await send({"type": "http.response.start", "status": self._status, "headers": [length, _JSON]})
            await send({"type": "http.response.body", "body": answer})
            return
        request = request or _request(scope, message, body, receive, send)
        await wrap_app_handling_exceptions(answer, request)(scope, receive, send)

    def _tell(self, scope: Scope, parameters: dict[str, str] | None) -> None:
        """Leave in *scope* what FastAPI's routers leave there."""
        known = dict(scope.get("path_params", {}))
        if parameters is not None:
            convertors = self._route.param_convertors
            for name, value in parameters.items():
                known[name] = convertors[name].convert(value)
        scope["path_params"] = known
        scope.update(self._scope)
        if self._fastapi is not None:
            scope.setdefault("fastapi", {}).update(self._fastapi)

    async def _solve(self, request: Request, body: Any) -> Any:
        """What the endpoint is called with, by FastAPI's own solver."""
        stack = request.scope["fastapi_middleware_astack"]  # for what somebody pushes; nothing here enters it
        request.scope["fastapi_inner_astack"] = request.scope["fastapi_function_astack"] = stack
        return await solving.solve_dependencies(
            request=request,
            dependant=self._dependant,
            body=body if self._has_body else Undefined,
            dependency_overrides_provider=self._route.dependency_overrides_provider,
            async_exit_stack=stack,
            embed_body_fields=self._route._embed_body_fields,
        )

    async def _answer(self, scope: Scope, body: Any, solved: Any) -> Response | bytes:
        """
        Run the endpoint; what it returned as bytes of JSON when there is nothing to say besides, else as a response.
        """
        values: dict[str, Any] = {}
        errors: list[Any] = []
        if solved is not None:
            values, errors = solved.values, solved.errors
        elif self._field is not None:
            values[self._field.name], errors = self._field.validate(body, {}, loc=("body",))
        if errors:
            raise RequestValidationError(errors, body=body, endpoint_ctx=self._context(scope))
        answer = await self._dependant.call(**values)
        if isinstance(answer, Response):
            if answer.background is None and solved is not None:
                answer.background = solved.background_tasks
            return answer
        content = await routing.serialize_response(
            response_content=answer, endpoint_ctx=self._context(scope), **self._serialising
        )
        return self._with_more(content, solved) if solved is not None or not self._at_once else content

    def _with_more(self, content: Any, solved: Any) -> Response | bytes:
        """*content* with what dependencies and the route say besides."""
        options: dict[str, Any] = {}
        more = [] if solved is None else solved.response.headers.raw
        if solved is not None:
            options = routing._build_response_args(status_code=self._route.status_code, solved_result=solved)
        elif self._route.status_code:
            options["status_code"] = self._route.status_code
        status = options.get("status_code", 200)
        if self._at_once and status == self._status and not more and options.get("background") is None:
            return content  # type: ignore[no-any-return]
        if self._dumps:
            response = Response(content=content, media_type="application/json", **options)
        else:
            response = self._answers_with(content, **options)
        if not is_body_allowed_for_status_code(response.status_code):
            response.body = b""
        response.headers.raw.extend(more)
        return response

    def _context(self, scope: Scope) -> Any:
        """Where the endpoint is written, for what an error says in the log; another below another mount."""
        root_path = scope.get("root_path", "").rstrip("/")
        if self._place is None or self._place[0] != root_path:
            context = dict(routing._extract_endpoint_context(self._dependant.call))
            if self._dependant.path:
                context["path"] = f"{self._method} {root_path}{self._dependant.path}"
            self._place = (root_path, context)
        return self._place[1]


def _json_of(scope: Scope, message: Message) -> Any:
    """The value of a whole JSON body. Raises for everything else, whatever it is."""
    if message["type"] != "http.request" or message.get("more_body") or not _says_json(scope):
        raise LookupError
    return json.loads(message["body"])


def _request(scope: Scope, message: Message | None, body: Any, receive: Receive, send: Send) -> Request:
    """The request as dependencies and exception handlers get it from FastAPI: its body was read and parsed already."""
    request = Request(scope, receive, send)
    if message is not None:
        request._body, request._json = message["body"], body
    return request


def _first(message: Message, receive: Receive) -> Receive:
    """A ``receive`` that gives *message* once more, then goes on."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return message

    return again


def _raises(error: Exception) -> Receive:
    async def receive() -> Message:
        raise error

    return receive


def _fails(error: Exception) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    return app
