"""
Whether the FastAPI here is one that :mod:`golive.chassis.fastpath` was compared with.

Not its version decides but the text of what is done instead of it: a release that leaves these functions alone is as
good as the one before, and a function that somebody replaced or wrapped, as tracers do, is none that was compared.
"""

from __future__ import annotations

import hashlib
import linecache
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

#: What :func:`text_of_fastapi` said where ``tests/chassis/test_chassis_fastpath.py`` passed.
COMPARED = frozenset({"a935de0b03f34af2"})

#: What is done instead of FastAPI, or relied on to the letter.
_REPLACED = (
    ("fastapi.routing", "request_response", "get_request_handler", "run_endpoint_function", "_build_response_args"),
    ("fastapi.routing", "_extract_endpoint_context", "serialize_response", "_update_scope"),
    ("fastapi.routing.APIRoute", "matches", "handle", "get_route_handler"),
    ("fastapi.routing.APIRouter", "app", "handle", "matches", "_match_low_priority"),
    ("fastapi.routing._IncludedRouter", "effective_candidates", "_match", "matches", "handle", "_handle_selected"),
    ("fastapi.routing._EffectiveRouteContext", "from_api_route", "matches"),
    ("fastapi.dependencies.utils", "solve_dependencies", "request_body_to_args", "_validate_value_with_model_field"),
    ("fastapi.applications.FastAPI", "__call__", "build_middleware_stack"),
    ("starlette.applications.Starlette", "__call__"),
    ("starlette.routing.Router", "__call__"),
    ("starlette.routing.Route", "matches", "handle"),
    ("starlette.requests.Request", "stream", "body", "json"),
    ("starlette._exception_handler", "wrap_app_handling_exceptions"),
)


def obstacle() -> str:
    """Why FastAPI must serve everything itself, as a sentence; empty when it was compared, or is not here at all."""
    fastapi = sys.modules.get("fastapi")
    if fastapi is None or text_of_fastapi() in COMPARED:
        return ""
    return f"FastAPI {fastapi.__version__}: it was not compared with the fast path, or somebody replaced a part of it."


def text_of_fastapi() -> str:
    """A mark of the text of what is replaced; empty when a part is missing or is not FastAPI's own any more."""
    codes = []
    for place, *names in _REPLACED:
        module, _, name = place.rpartition(".")
        holder = sys.modules.get(place) or getattr(sys.modules.get(module), name, None)
        for name in names:
            part = getattr(holder, name, None)
            code = getattr(getattr(part, "__func__", part), "__code__", None)
            if code is None or hasattr(part, "__wrapped__"):
                return ""
            codes.append(code)
    return _mark(*codes)


@lru_cache(maxsize=8)
def _mark(*codes: CodeType) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for code in codes:
        lines = linecache.getlines(code.co_filename)
        digest.update("".join(_block(lines[code.co_firstlineno - 1 :])).encode())
    return digest.hexdigest()


def _block(lines: list[str]) -> Iterator[str]:
    """The function that begins with the first of *lines*. ``inspect`` parses for it, which takes far longer."""
    inside = False
    for line in lines:
        outside = line[:1].strip() if not lines[0][:1].isspace() else line.strip() and not line[:5].isspace()
        if inside and outside and line.strip()[0] != ")":
            return
        inside = inside or line.lstrip().startswith(("def ", "async def "))
        yield line
