"""What pydantic found wrong, in golive's words: which key, what was expected, what to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from golive.config.locate import Path
from golive.config.shape import annotation_at, keys_at
from golive.config.source import Part
from golive.errors import did_you_mean

_KINDS = {
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "path_type": "a path",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
#: what a text must look like, by key, where a pattern alone would tell nobody anything
_PATTERNS = {
    "service": 'a name such as "checkout-api" (lower case, digits, single hyphens)',
    "app": 'an import string such as "main:app" or "checkout.main:app"',
    "table": "lower-case letters, digits and _ (at most 48)",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """*message* about the setting at *path*; *part* says whether the key or its value is wrong."""

    path: Path
    message: str
    part: Part = "value"


def explain(error: ValidationError) -> list[Fault]:
    """One :class:`Fault` for each complaint in *error*."""
    return [_explain(dict(detail)) for detail in error.errors(include_url=False)]


def _explain(detail: dict[str, Any]) -> Fault:
    at_key = detail["loc"][-1:] == ("[key]",)  # of a table with free keys
    path: Path = detail["loc"][:-1] if at_key else detail["loc"]
    kind, value, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(path)
    if kind == "missing":
        return Fault(path[:-1], f'"{path[-1]}" is missing.', "key")
    if kind == "literal_error":
        return Fault(
            path, f"expected {context['expected'].replace(chr(39), chr(34))}, got {value!r}{_near(value, path)}"
        )
    if kind in _KINDS:
        return Fault(path, f"expected {_KINDS[kind]}, got {_brief(value)}.")
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return Fault(path, f"expected {word} {context[bound]:g}, got {value!r}.")
    if kind == "string_pattern_mismatch":
        expected = _PATTERNS.get(str(path[-1]), f"a text like {context['pattern']}")
        return Fault(path, f"expected {expected}, got {value!r}.")
    if kind == "value_error":
        return Fault(path, str(context["error"]), "key" if at_key else "value")
    return Fault(path, f"{detail['msg']}, got {_brief(value)}.")


def unknown_key(path: Path) -> Fault:
    """The key at the end of *path* is not one golive knows."""
    known = keys_at(path[:-1])
    hint = did_you_mean(str(path[-1]), known)
    if not hint and annotation_at(path[:-1]) is not None:
        hint = f". Known here: {', '.join(known)}."
    return Fault(path, f"unknown key{hint}", "key")


def _near(value: object, path: Path) -> str:
    choices = [choice for choice in get_args(annotation_at(path)) if isinstance(choice, str)]
    return did_you_mean(value, choices) or "." if isinstance(value, str) else "."


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
