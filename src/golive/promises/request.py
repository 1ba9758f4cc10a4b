"""One request, and what must come back. Everything that is judged by asking is declared with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SmokeRequest:
    """
    One request and what must come back.

    Attributes:
        expect: statuses (``200``) or classes (``"2xx"``).
        expect_json: fields the JSON answer must hold; nested objects are compared field by field.
        expect_headers: headers the answer must carry; an empty value means any.
        expect_schema: the part of JSON Schema in :mod:`golive.gates.schema` the JSON answer must conform to.
        within: the answer must be there after so many seconds.
    """

    path: str
    method: str = "GET"
    name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | None = None
    json: Any = None
    expect: tuple[int | str, ...] = (200,)
    expect_json: Mapping[str, Any] = field(default_factory=dict)
    expect_headers: Mapping[str, str] = field(default_factory=dict)
    expect_schema: Mapping[str, Any] = field(default_factory=dict)
    within: float = 10.0
