"""
The part of JSON Schema that answers of services need, in the order of its keywords. Pure.

``type``, ``enum``, ``required``, ``properties``, ``additionalProperties`` (true or false), ``items``, ``minItems``,
``minimum``, ``maximum``, ``minLength``, ``maxLength``, ``pattern``. Anything else is refused by name, so that no
keyword looks checked and is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_KNOWN = {"type", "enum", "required", "properties", "additionalProperties", "items", "minItems", "minimum", "maximum",
          "minLength", "maxLength", "pattern", "title", "description"}  # fmt: skip


def violation(value: Any, schema: Mapping[str, Any], place: str = "JSON") -> str | None:
    """The first thing about *value* that *schema* does not allow: ``expected JSON.cents to be an integer, got '1'``."""
    unknown = sorted(set(schema) - _KNOWN)
    if unknown:
        return f"the schema of {place} uses {unknown[0]}, which golive does not check"
    return _own(value, schema, place) or _inner(value, schema, place)


def _own(value: Any, schema: Mapping[str, Any], place: str) -> str | None:
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"expected {place} to be {' or '.join(kinds)}, got {_short(value)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"expected {place} to be one of {schema['enum']}, got {_short(value)}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            return f"expected {place} to be at least {schema['minimum']}, got {value}"
        if value > schema.get("maximum", value):
            return f"expected {place} to be at most {schema['maximum']}, got {value}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            return f"expected {place} to be a text of another length, got {len(value)} characters"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return f"expected {place} to fit {schema['pattern']}, got {_short(value)}"
    return None


def _inner(value: Any, schema: Mapping[str, Any], place: str) -> str | None:
    if isinstance(value, dict):
        for name in schema.get("required", []):
            if name not in value:
                return f"expected {place} to have {name}, got none"
        known = schema.get("properties", {})
        if schema.get("additionalProperties") is False and set(value) - set(known):
            return f"expected {place} to have no {min(set(value) - set(known))}"
        for name in value:
            found = violation(value[name], known[name], f"{place}.{name}") if name in known else None
            if found:
                return found
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            return f"expected {place} to have at least {schema['minItems']} items, got {len(value)}"
        for number, each in enumerate(value):
            found = violation(each, schema.get("items", {}), f"{place}[{number}]")
            if found:
                return found
    return None


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, ())) or (
        kind == "integer" and isinstance(value, float) and value == int(value)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
