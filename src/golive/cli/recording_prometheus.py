"""
A recording as Prometheus answers ``/api/v1/query_range``, from a file or from the server: a matrix, one series per
version, told apart by a label. Every fault names its place in the document.
"""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from golive.cli.recording import Recording, RecordingError
from golive.errors import UnavailableError
from golive.slo.firing import Point

BYTES_MAX = 64 * 1024 * 1024
URL_SECONDS = 30.0


def read_prometheus(name: str, source: str, label: str, into: Recording) -> None:
    """
    Add the series of *source*, a path or an http(s) URL, to *into* as *name*.

    Raises: RecordingError with the place of the first fault; UnavailableError when the server does not answer.
    """
    remote = source.startswith(("http://", "https://"))
    text = _fetched(source) if remote else _file(source)
    place = _address(source) if remote else source
    for version, points in series_in(text, place, label):
        into.add(name, version, points, place)
    into.sources.append(place)


def series_in(text: str, place: str, label: str) -> list[tuple[str, list[Point]]]:
    """
    The series of a range answer: version (empty without the label) and points.

    Raises: RecordingError; also when two series have the same version, which means that a query is not summed up.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise RecordingError(f"{place}:{error.lineno}:{error.colno}: expected JSON, got: {error.msg}.") from None
    if not isinstance(document, dict) or document.get("status") != "success":
        said = document.get("error") if isinstance(document, dict) else None
        got = f"an error: {said}" if said else "something else"
        raise RecordingError(f'{place}: expected an answer of /api/v1/query_range with "status":"success", got {got}.')
    data = document.get("data")
    kind = data.get("resultType") if isinstance(data, dict) else None
    if kind != "matrix":
        hint = " Ask /api/v1/query_range, not /api/v1/query." if kind in ("vector", "scalar") else ""
        raise RecordingError(f"{place}: data.resultType: expected matrix, got {kind!r}.{hint}")
    assert isinstance(data, dict)
    result = data.get("result")
    if not isinstance(result, list):
        raise RecordingError(f"{place}: data.result: expected a list of series, got {type(result).__name__}.")
    found: dict[str, list[Point]] = {}
    for number, each in enumerate(result):
        at = f"{place}: data.result[{number}]"
        version = _version(each, at, label)
        if version in found:
            raise RecordingError(
                f'{at}: expected one series per {label}, got a second one of "{version}". Sum them up in the query: '
                f"sum by ({label}) (...)."
            )
        found[version] = [_point(pair, f"{at}.values[{n}]") for n, pair in enumerate(each["values"])]
    return list(found.items())


def _version(series: Any, at: str, label: str) -> str:
    if not isinstance(series, dict) or not isinstance(series.get("metric"), dict):
        raise RecordingError(f"{at}: expected a series with its metric, got {type(series).__name__}.")
    if not isinstance(series.get("values"), list):
        raise RecordingError(f"{at}.values: expected a list of [time, value], got none.")
    return str(series["metric"].get(label, ""))


def _point(pair: Any, at: str) -> Point:
    try:
        seconds, text = pair
        moment, value = float(seconds), float(text)
    except (TypeError, ValueError):
        raise RecordingError(f'{at}: expected [time, "value"], got {str(pair)[:60]}.') from None
    if not math.isfinite(moment):
        raise RecordingError(f"{at}: expected a time in seconds, got {seconds!r}.")
    return moment, value if math.isfinite(value) else None


def _file(path: str) -> str:
    try:
        file = Path(path)
        if file.stat().st_size > BYTES_MAX:
            raise RecordingError(f"{path}: expected at most {BYTES_MAX // 2**20} MiB, got more. Ask for a wider step.")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise RecordingError(f"{path}: expected a file that can be read, got: {why}.") from error


def _fetched(url: str) -> str:
    place = _address(url)
    try:
        with urllib.request.urlopen(url, timeout=URL_SECONDS) as answer:  # noqa: S310 - http(s) only, checked above
            body: bytes = answer.read(BYTES_MAX + 1)
    except urllib.error.HTTPError as error:
        body = error.read(BYTES_MAX)  # Prometheus says what is wrong in the body
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{place}: expected an answer, got: {getattr(error, 'reason', error)}.") from error
    if len(body) > BYTES_MAX:
        raise RecordingError(f"{place}: expected at most {BYTES_MAX // 2**20} MiB, got more. Ask for a wider step.")
    return body.decode(errors="replace")


def _address(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
