"""One request as golive.toml writes it, ``{ post = "/orders", json = {}, expect = 201 }``, and as a gate sends it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from golive.config.types import PositiveDuration, Section, UrlPath
from golive.promises import request

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


def _statuses(value: object) -> list[int | str]:
    wanted: list[Any] = value if isinstance(value, list) else [value]
    if not wanted or not all(re.fullmatch(r"[1-5](\d\d|xx)", str(status)) for status in wanted):
        raise ValueError(f'expected a status such as 200 or "2xx", or a list of them, got {value!r}.')
    return [int(status) if str(status).isdigit() else status for status in wanted]


_STATUS_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"type": "string"}]}
Statuses = Annotated[
    list[int | str],
    PlainValidator(_statuses),
    WithJsonSchema({"anyOf": [*_STATUS_SCHEMA["anyOf"], {"type": "array", "items": _STATUS_SCHEMA, "minItems": 1}]}),
]


class SmokeRequest(Section):
    """One request of the smoke gate: exactly one method with its path, and the answer that is right."""

    name: str | None = None
    get: UrlPath | None = None
    post: UrlPath | None = None
    put: UrlPath | None = None
    patch: UrlPath | None = None
    delete: UrlPath | None = None
    head: UrlPath | None = None
    options: UrlPath | None = None
    expect: Statuses = Field(default=[200])
    headers: dict[str, str] = Field(default={})
    body: str | None = None
    payload: Any = Field(default=None, alias="json")
    expect_json: dict[str, Any] = Field(default={})
    expect_headers: dict[str, str] = Field(default={})
    expect_schema: dict[str, Any] = Field(default={})
    within: PositiveDuration = timedelta(seconds=10)

    @model_validator(mode="after")
    def _one_method(self) -> SmokeRequest:
        named = [method for method in METHODS if getattr(self, method) is not None]
        if len(named) != 1:
            got = " and ".join(named) or "none"
            raise ValueError(f'expected exactly one method such as get = "/api/status", got {got}.')
        if self.body is not None and self.payload is not None:
            raise ValueError("expected body or json, got both.")
        return self

    @property
    def method(self) -> str:
        """``GET``, ``POST``, ..."""
        return next(method for method in METHODS if getattr(self, method) is not None).upper()

    @property
    def path(self) -> str:
        """The path with its query, from ``/``."""
        path = getattr(self, self.method.lower())
        assert isinstance(path, str), "the validator saw to it"
        return path


def smoke_request(declared: SmokeRequest) -> request.SmokeRequest:
    """One declared request."""
    return request.SmokeRequest(
        path=declared.path,
        method=declared.method,
        name=declared.name,
        headers=declared.headers,
        body=declared.body,
        json=declared.payload,
        expect=tuple(declared.expect),
        expect_json=declared.expect_json,
        expect_headers=declared.expect_headers,
        expect_schema=declared.expect_schema,
        within=declared.within.total_seconds(),
    )
