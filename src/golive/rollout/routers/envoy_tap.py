"""
The gateway's own account of every request, sent to golive as it happens.

Envoy posts batches of log records (OTLP over HTTP) to a Unix socket below the gateway's directory, where nobody but
its owner can listen or look. Nothing is written to disk, and when no controller listens Envoy drops the records: a
log that nobody reads must not fill the disk of whoever serves the traffic. So this is evidence for a verdict, not an
audit trail.

Here is the rendering of Envoy's side and the reading of what it sends; only the two fields of OTLP that carry the
text are understood, everything else is skipped by the rules of protobuf.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

Json = dict[str, Any]

SOCKET_PATH_MAX = 100
"""Bytes. Operating systems allow 104 to 108 for the path of a Unix socket."""
BUFFER_BYTES = 256 * 1024
"""What Envoy holds back per worker between two posts, about two thousand requests."""

_CLUSTER = "golive_tap"
_NAMESPACE = "golive"
_TYPE = "type.googleapis.com/envoy.extensions"
_FIELDS = (
    *("%UPSTREAM_CLUSTER%", "%RESPONSE_CODE%", "%RESPONSE_FLAGS%", "%DURATION%"),
    *("%REQ(:METHOD)%", "%PATH(NQ)%", f"%DYNAMIC_METADATA({_NAMESPACE}:client)%"),
)
_TO_RECORDS = (1, 2, 2, 5, 1)  # resource_logs, scope_logs, log_records, body, string_value


class Request(msgspec.Struct, frozen=True):
    """
    One finished request.

    Attributes:
        cluster: which version it went to, as Envoy calls it; empty when to none.
        status: 0 when there was no answer.
        flags: Envoy's response flags, for example ``UC``: the version hung up; ``DC``: the client did.
        seconds: until the last byte of the answer.
        path: without the query.
        client: the identity by which it was split; empty when unknown.
    """

    cluster: str
    status: int
    flags: frozenset[str]
    seconds: float
    method: str
    path: str
    client: str


def access_log() -> Json:
    """The access log of the listener."""
    return {
        "name": "envoy.access_loggers.open_telemetry",
        "typed_config": {
            "@type": f"{_TYPE}.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
            "http_service": {"http_uri": {"uri": "http://tap/v1/logs", "cluster": _CLUSTER, "timeout": "1s"}},
            "log_name": "golive",
            "disable_builtin_labels": True,
            "buffer_flush_interval": "0.25s",
            "buffer_size_bytes": BUFFER_BYTES,
            "body": {"string_value": "\t".join(_FIELDS)},
        },
    }


def client_filter(client_header: str, cookie: str | None, header: str | None) -> Json:
    """The filter that keeps a client's identity for the log; the last one that is present wins, as in the split."""
    found = {"metadata_namespace": _NAMESPACE, "key": "client"}
    sources: list[Json] = [{"header": client_header}]
    sources += [{"cookie": cookie}] if cookie else []
    sources += [{"header": header}] if header else []
    return {
        "name": "envoy.filters.http.header_to_metadata",
        "typed_config": {
            "@type": f"{_TYPE}.filters.http.header_to_metadata.v3.Config",
            "request_rules": [{**source, "on_header_present": found} for source in sources],
        },
    }


def cluster(socket_path: str) -> Json:
    """Where the records go."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": socket_path}}}}
    return {
        "name": _CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": _CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def requests_in(batch: bytes) -> Iterator[Request]:
    """
    The requests in one posted batch. A record that is not ours is skipped.

    Raises: ValueError when *batch* is no protobuf message.
    """
    for text in _texts(batch, _TO_RECORDS):
        fields = text.decode(errors="replace").split("\t", len(_FIELDS) - 1)
        if len(fields) == len(_FIELDS):
            cluster_name, status, flags, milliseconds, method, path, client = fields
            yield Request(
                _known(cluster_name),
                _number(status),
                frozenset(_known(flags).split(",")) - {""},
                _number(milliseconds) / 1000,
                method,
                path,
                _known(client),
            )


def _known(text: str) -> str:
    return "" if text == "-" else text


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _texts(message: bytes, fields: tuple[int, ...]) -> Iterator[bytes]:
    """The innermost values below the path of field numbers *fields*."""
    if not fields:
        yield message
        return
    for number, value in _members(message):
        if number == fields[0]:
            yield from _texts(value, fields[1:])


def _members(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message: number and content."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 2:
                length, at = _varint(message, at)
                if at + length > len(message):
                    raise ValueError("a field longer than its message")
                yield key >> 3, message[at : at + length]
                at += length
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case other:
                raise ValueError(f"wire type {other}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins at *at*, and where it ends."""
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")
