"""A server that speaks Prometheus' HTTP API over counters of its own."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

_QUERY = re.compile(r'sum(?: by \((?P<by>\w+)\))? ?\((?P<name>\w+)\{(?P<label>\w+)="(?P<value>[^"]*)"\}\)')


class PrometheusServer:
    """
    Knows ``sum(NAME{label="value"})`` and ``sum by (le) (...)``.

    Attributes:
        series: name -> list of (labels, value).
        answer: when set, every query gets this (status, body) instead.
        offset: seconds by which its clock is wrong.
        asked: what was asked last, by parameter, and its headers.
    """

    def __init__(self) -> None:
        self.series: dict[str, list[tuple[dict[str, str], float]]] = {}
        self.answer: tuple[int, bytes] | None = None
        self.offset = 0.0
        self.asked: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = outer.respond(self.path, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def respond(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        self.headers = headers
        if self.answer is not None:
            return self.answer
        found = _QUERY.fullmatch(self.asked.get("query", ""))
        if found is None:
            return 400, b'{"status":"error","errorType":"bad_data","error":"parse error: unexpected end of input"}'
        groups: dict[str, float] = {}
        for labels, value in self.series.get(found["name"], []):
            if labels.get(found["label"]) == found["value"]:
                key = labels.get(found["by"], "") if found["by"] else ""
                groups[key] = groups.get(key, 0.0) + value
        now = time.time() + self.offset
        result: list[Any] = [
            {"metric": {found["by"]: key} if found["by"] else {}, "value": [now, f"{value:g}"]}
            for key, value in groups.items()
        ]
        return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def prometheus() -> Iterator[PrometheusServer]:
    """A server without series."""
    server = PrometheusServer()
    yield server
    server.close()
