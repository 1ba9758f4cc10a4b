"""
``KEY=value`` files for ``golive serve --env-file``.

Comments, blank lines, ``export``, single quotes (literal) and double quotes (``\\n`` and ``\\"`` are read). What is
already in the environment wins, so that the platform can override the file. Left out: interpolation, which has a
surprise per implementation.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from pathlib import Path

from golive.errors import ConfigError

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?")
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\", "\\t": "\t"}


def load_env_file(path: Path, environ: MutableMapping[str, str]) -> None:
    """
    Add the variables of the file *path* to *environ*; those already set keep their value.

    Raises: ConfigError when the file cannot be read, or naming every line that is not ``KEY=value``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--env-file {path}: cannot be read: {error}.") from None
    values, faults = {}, []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        value = _value(match[2]) if match else None
        if match is None or value is None:  # the line itself is not shown: it may hold a secret
            faults.append(f"{path}:{number}: expected KEY=value, with the value in closed quotes if it has any.")
        else:
            values[match[1]] = value
    if faults:
        raise ConfigError(*faults)
    for name, value in values.items():
        environ.setdefault(name, value)


def _value(raw: str) -> str | None:
    """The value as meant, or None when its quotes do not close."""
    if raw.startswith('"'):
        match = _DOUBLE.fullmatch(raw)
        return re.sub(r"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), match[1]) if match else None
    if raw.startswith("'"):
        match = _SINGLE.fullmatch(raw)
        return match[1] if match else None
    return re.split(r"\s#", raw, maxsplit=1)[0].rstrip()
