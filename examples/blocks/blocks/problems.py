"""Errors of the routes beside the jobs, as RFC 9457 problem documents. A wrong body is 400, not FastAPI's 422."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from blocks.processor import BlocksProcessorError


def install(app: FastAPI) -> None:
    """Make *app* answer wrong bodies and :class:`BlocksProcessorError` with problem documents."""
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(BlocksProcessorError)(_failed)


async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """Names every fault by its place and leaves out what was sent: it may be private, and may not be JSON at all."""
    return _problem(400, "; ".join(_in_words(fault) for fault in error.errors()), code="invalid_request")


async def _failed(_: Request, error: BlocksProcessorError) -> JSONResponse:
    return _problem(error.status, error.message, code=error.code)


def _in_words(fault: Mapping[str, Any]) -> str:
    place = ".".join(map(str, fault["loc"][1:])) or "body"
    return f"{place}: {fault['msg'].removeprefix('Value error, ')}"


def _problem(status: int, detail: str, code: str) -> JSONResponse:
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    return JSONResponse(document, status, media_type="application/problem+json")
