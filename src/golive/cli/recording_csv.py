"""
A recording as CSV, one line per instant and version:

    time,version,requests,errors,latency_p95
    2026-01-05T09:00:00Z,v1,1200,3,120ms
    2026-01-05T09:00:00Z,v2,60,0,

*time* is an instant or seconds since the epoch; *version* may be missing. The other columns are rows of the table (a
plain number in its base unit, or with a unit: ``120ms``, ``1.5%``), cumulative ``requests`` and ``errors``, or
``weight`` (percent). An empty cell is no data. Every fault names its line.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from golive.cli.recording import COUNTERS, WEIGHT, Recording, RecordingError, check_names
from golive.slo.firing import Point
from golive.slo.row import Row
from golive.slo.units import parse_quantity
from golive.timing import parse_instant

BYTES_MAX = 256 * 1024 * 1024


def read_csv(path: Path, rows: Mapping[str, Row], into: Recording) -> None:
    """
    Add what *path* holds to *into*.

    Raises: RecordingError with the line of the first fault.
    """
    try:
        if path.stat().st_size > BYTES_MAX:
            raise RecordingError(f"{path}: expected at most {BYTES_MAX // 2**20} MiB, got more. Cut the recording up.")
        with path.open(encoding="utf-8-sig", newline="") as handle:
            found = _read(handle, path, rows)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise RecordingError(f"{path}: expected a CSV file that can be read, got: {why}.") from error
    for (name, version), points in found.items():
        into.add(name, version, points, str(path))
    into.sources.append(str(path))


def _read(handle: TextIO, path: Path, rows: Mapping[str, Row]) -> dict[tuple[str, str], list[Point]]:
    lines = csv.reader(handle, strict=True)
    found: dict[tuple[str, str], list[Point]] = defaultdict(list)
    try:
        header = [name.strip() for name in next(lines, [])]
        _check_header(header, path, rows)
        for cells in lines:
            if any(cell.strip() for cell in cells):
                _take(found, header, cells, f"{path}:{lines.line_num}", rows)
    except csv.Error as error:
        raise RecordingError(f"{path}:{lines.line_num}: expected CSV, got: {error}.") from error
    if not found:
        raise RecordingError(f"{path}: expected at least one line of values, got none.")
    return found


def _check_header(header: Sequence[str], path: Path, rows: Mapping[str, Row]) -> None:
    place = f"{path}:1"
    if "time" not in header:
        shown = ",".join(header)[:80]
        raise RecordingError(f'{place}: expected a header with a column "time", got "{shown}".')
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise RecordingError(f'{place}: expected each column once, got "{twice[0]}" twice.')
    check_names((name for name in header if name not in ("time", "version")), rows, place)


def _take(
    found: dict[tuple[str, str], list[Point]], header: Sequence[str], cells: Sequence[str], place: str,
    rows: Mapping[str, Row],
) -> None:  # fmt: skip
    if len(cells) != len(header):
        raise RecordingError(f"{place}: expected {len(header)} columns as in the header, got {len(cells)}.")
    line = dict(zip(header, (cell.strip() for cell in cells), strict=True))
    at = _instant(line["time"], place)
    for name, value in _values(line, place, rows):
        found[name, line.get("version", "")].append((at, value))


def _values(line: Mapping[str, str], place: str, rows: Mapping[str, Row]) -> Iterator[tuple[str, float | None]]:
    for name, text in line.items():
        if name not in ("time", "version"):
            yield name, _value(name, text, f"{place}: {name}", rows.get(name))


def _value(name: str, text: str, place: str, row: Row | None) -> float | None:
    if not text or text.lower() in ("nan", "null", "none", "-"):
        return None
    try:
        value = _quantity(text, row) if row is not None else float(text.rstrip("%") if name == WEIGHT else text)
    except ValueError as error:
        said = str(error) if row is not None and "expected" in str(error) else f"expected a number, got {text!r}."
        raise RecordingError(f"{place}: {said}") from None
    if not math.isfinite(value) or (name in (*COUNTERS, WEIGHT) and value < 0):
        raise RecordingError(f"{place}: expected a number that is not negative, got {text!r}.")
    return value


def _quantity(text: str, row: Row) -> float:
    try:
        return float(text)  # in the base unit
    except ValueError:
        value, unit = parse_quantity(text)
        if unit != row.target.unit:
            raise ValueError(f"expected {row.target.unit}, got {text!r}, which is in {unit}.") from None
        return value


def _instant(text: str, place: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        try:
            return parse_instant(text).timestamp()
        except ValueError:
            raise RecordingError(
                f"{place}: time: expected an instant such as 2026-01-05T09:00:00Z or seconds, got {text!r}."
            ) from None
    try:
        datetime.fromtimestamp(seconds).astimezone()
    except (ValueError, OverflowError, OSError):
        raise RecordingError(f"{place}: time: expected seconds since the epoch, got {text!r}.") from None
    return seconds
