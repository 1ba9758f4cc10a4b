"""
Quantities of the table: ``99%``, ``3s``, ``$0.01``, ``512MiB``, ``50``, read and written without losing a digit.

A quantity is a plain float in the base unit of its kind: a share in 0..1, seconds, US dollars, bytes, or a count.
Decimal arithmetic in between keeps ``99.9%`` at the float nearest to 0.999 and makes writing the inverse of reading.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Literal, get_args

Unit = Literal["ratio", "seconds", "usd", "bytes", "number"]
UNITS: tuple[Unit, ...] = get_args(Unit)

_SCALES: dict[str, tuple[Unit, Decimal]] = {
    "": ("number", Decimal(1)),
    "%": ("ratio", Decimal("0.01")),
    "ms": ("seconds", Decimal("0.001")),
    "s": ("seconds", Decimal(1)),
    "m": ("seconds", Decimal(60)),
    "h": ("seconds", Decimal(3600)),
    "B": ("bytes", Decimal(1)),
    "KiB": ("bytes", Decimal(2**10)),
    "MiB": ("bytes", Decimal(2**20)),
    "GiB": ("bytes", Decimal(2**30)),
    "TiB": ("bytes", Decimal(2**40)),
}
_QUANTITY = re.compile(r"(?P<dollar>\$\s*)?(?P<number>-?\d+(?:\.\d+)?)\s*(?P<suffix>%|[A-Za-z]*)", re.ASCII)


def parse_quantity(text: str) -> tuple[float, Unit]:
    """
    *text* in its base unit, and which unit that is.

    Raises: ValueError saying what was expected.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'expected a number such as "1%", "300ms", "$0.01", "512MiB" or "50", got "{text.strip()}".')
    number, suffix = Decimal(match["number"]), match["suffix"]
    if not math.isfinite(float(number)):
        raise ValueError(f"expected a number a computer can hold, got one of {len(text)} digits.")
    if match["dollar"]:
        if suffix:
            raise ValueError(f'expected dollars such as "$0.01", got "{text.strip()}".')
        return float(number), "usd"
    if suffix not in _SCALES:
        known = ", ".join(name for name in _SCALES if name)
        raise ValueError(f'unknown unit "{suffix}" in "{text.strip()}". Write one of {known}, or $ in front.')
    unit, scale = _SCALES[suffix]
    return float(number * scale), unit


def format_quantity(value: float, unit: Unit, digits: int | None = None) -> str:
    """
    *value* the way people write it: ``99.9%``, ``300ms``, ``$0.01``.

    Args:
        digits: significant digits to round to; None keeps every digit, so that :func:`parse_quantity` reads it back.
    """
    suffix, scale = _suffix(abs(value), unit)
    scaled = Decimal(repr(float(value))) / scale
    if not scaled.is_finite():
        return f"{'$' if unit == 'usd' else ''}{value}{suffix}"
    if digits is not None:
        scaled = Decimal(f"{scaled:.{digits}g}")
    number = f"{scaled:f}"
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"${number}" if unit == "usd" else f"{number}{suffix}"


def _suffix(size: float, unit: Unit) -> tuple[str, Decimal]:
    if unit == "ratio":
        return "%", _SCALES["%"][1]
    if unit == "seconds":
        suffix = "ms" if 0 < size < 1 else "s" if size % 60 or size < 180 else "m" if size % 3600 else "h"
        return suffix, _SCALES[suffix][1]
    if unit == "bytes":
        suffix = next((name for name in ("TiB", "GiB", "MiB", "KiB") if size >= _SCALES[name][1]), "B")
        return suffix, _SCALES[suffix][1]
    return "", Decimal(1)
