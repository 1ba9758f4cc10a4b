"""Settings as text again: golive.toml with origins, its JSON Schema, and what this release does not act upon."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any
from urllib.parse import urlsplit

from golive.config.locate import Path
from golive.config.settings import Settings, leaves

MASK = "***"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SECRET = re.compile(r"secret|token|passw|passphrase|api[-_]?key|private|credential|dsn", re.IGNORECASE)
_SECRET_HEADER = re.compile(r"authorization|cookie|key|signature", re.IGNORECASE)

#: settings that are read, checked and shown, and that nothing in this release acts upon yet
NOT_YET: dict[Path, str] = {}


def shown_values(settings: Settings) -> dict[Path, Any]:
    """Every value by path, secrets masked, the state directory as it would be written."""
    return {path: _shown(settings, path, value) for path, value in leaves(settings)}


def _shown(settings: Settings, path: Path, value: Any) -> Any:
    if path == ("state_dir",):
        folder = File(value)
        return str(folder.relative_to(settings.root)) if folder.is_relative_to(settings.root) else value
    return _masked(settings, path, value)


def _masked(settings: Settings, path: Path, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(settings, (*path, key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(settings, (*path, number), inner) for number, inner in enumerate(value)]
    if not isinstance(value, str) or not value:
        return value
    from_variable = path[:2] == ("deploy", "env") and path in settings._filled
    headers = "headers" in path or path[:3] in (("gates", "tenants", "first"), ("gates", "tenants", "second"))
    secret_header = headers and _SECRET_HEADER.search(str(path[-1]))
    name = next(part for part in reversed(path) if isinstance(part, str))  # of the list, for what is in one
    if from_variable or secret_header or _SECRET.search(name):
        return MASK
    return _without_password(value)


def _without_password(text: str) -> str:
    try:
        password = urlsplit(text).password if "://" in text else None
    except ValueError:
        return MASK
    return text.replace(f":{password}@", f":{MASK}@") if password else text


def to_toml(settings: Settings, *, origins: bool = False) -> str:
    """The settings in force as a golive.toml; with *origins*, where each value comes from stands behind it."""
    lines: list[tuple[str, str]] = []
    table = None
    for path, value in shown_values(settings).items():
        if len(path) > 1 and path[0] != table:
            table = path[0]
            lines += [("", ""), (f"[{key(table)}]", "")]
        inside = path[1:] if len(path) > 1 else path
        lines.append((f"{'.'.join(map(key, inside))} = {_value(value)}", str(settings.origin(*path))))
    if not origins:
        return "".join(f"{line}\n" for line, _ in lines)
    width = min(max(len(line) for line, _ in lines), 60)
    return "".join(f"{line:<{width}}  # {origin}\n" if origin else f"{line}\n" for line, origin in lines)


def key(part: str | int) -> str:
    """A TOML key, quoted where it must be."""
    return str(part) if _BARE.fullmatch(str(part)) else _string(str(part))


def dotted(path: Path) -> str:
    """``slo.error_rate.target``"""
    return ".".join(map(key, path))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        pairs = [f"{key(name)} = {_value(inner)}" for name, inner in value.items() if inner is not None]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    return f"{value:g}" if isinstance(value, float) and value == int(value) and abs(value) < 1e6 else repr(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of golive.toml, for editors. Environments may hold any part of it."""
    schema = Settings.model_json_schema(by_alias=True)
    partial = {name: inner for name, inner in schema["properties"].items() if name != "service"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "golive.toml",
        "description": "Configuration of golive, see docs/configuration.md",
        "properties": {
            **schema["properties"],
            "environments": {
                "type": "object",
                "description": "golive --env NAME: laid over the rest key by key",
                "additionalProperties": {"type": "object", "properties": partial, "additionalProperties": False},
            },
        },
    }


def notices(settings: Settings) -> Iterator[str]:
    """One line for each setting somebody wrote and this release does not act upon, so that nobody relies on it."""
    for path, _ in leaves(settings):
        reason = NOT_YET.get(path) or NOT_YET.get(path[:1])
        origin = settings.origin(*path)
        if reason and origin.kind != "default":
            yield f"{origin} {dotted(path)}: accepted, but this release does not act upon it: {reason}."
