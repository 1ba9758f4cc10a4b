"""
What the acceptance cases share: one service with everything on, its twin on the same Valkey, and a locked one.

All are real ``golive serve`` processes with real PostgreSQL and Valkey, started once for each worker of the tests.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

SOURCE = (Path(__file__).parent / "service.py").read_text()
SECRET = "a secret of more than thirty-two bytes"
KEYS = {"reader": "acme", "writer": "acme", "rival": "other"}


def api_key(name: str) -> str:
    """The header of a caller."""
    return f"x-api-key: key of {name}\r\n"


@pytest.fixture(name="api_key")
def api_key_fixture() -> Callable[[str], str]:
    return api_key


class Provider:
    """An identity provider: one RSA key, published; counts who asks."""

    def __init__(self) -> None:
        self.fetches = 0
        self.private = rsa.generate_private_key(65537, 2048)
        published = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key()))
        body = json.dumps({"keys": [{**published, "kid": "k1", "use": "sig", "alg": "RS256"}]}).encode()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.fetches += 1
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, kid: str = "k1", **claims: Any) -> str:
        return jwt.encode({"sub": "ada", "exp": 4102444800, **claims}, self.private, "RS256", {"kid": kid})


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.server.shutdown()
    running.server.server_close()


class Database:
    """A database of the real server, for the acceptance service alone; it can be taken away."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._run("drop database if exists acceptance")
        self._run("create database acceptance")
        self.url = server_url.replace("/postgres?", "/acceptance?", 1)
        assert self.url != server_url

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement)

    def away(self) -> None:
        """Nobody gets in, and whoever is in is put out."""
        self._run("alter database acceptance allow_connections false")
        self._run("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'acceptance'")

    def back(self) -> None:
        self._run("alter database acceptance allow_connections true")


@pytest.fixture(scope="session")
def database(postgres_server: Any) -> Database:
    return Database(str(postgres_server.get_uri()))


@pytest.fixture(scope="session")
def environment(valkey_server: Any, database: Database, provider: Provider) -> dict[str, str]:
    """Of the service with everything on."""
    scopes = {"reader": "orders:read", "writer": "orders:read orders:write", "rival": "orders:read orders:write"}
    hashed = [
        f"{name}@{tenant}:{hashlib.sha256(f'key of {name}'.encode()).hexdigest()}:{scopes[name]}"
        for name, tenant in KEYS.items()
    ]
    return {
        "API_KEY_HASHES": ",".join(hashed),
        "JWT_SECRET": SECRET,
        "JWT_ISSUER": "https://issuer.example",
        "JWT_AUDIENCE": "shop",
        "JWKS_URL": provider.url,
        "CORS_ORIGINS": "https://app.example",
        "CORS_ALLOW_CREDENTIALS": "true",
        "DATABASE_URL": database.url,
        "REDIS_URL": valkey_server.url,
        "GOLIVE_CHASSIS_REDIS_TIMEOUT": "1s",  # a busy machine is no absent server; the 50 ms are held elsewhere
        "GOLIVE_CHASSIS_IDEMPOTENCY_STORE": "postgres",
        "GOLIVE_CHASSIS_ERROR_FILE": "errors.ndjson",
        "GOLIVE_VERSION": "v42",
        "PG_MAX": "2",
        "PG_CONNECTION_TIMEOUT_MS": "1500",
        "GOLIVE_CHASSIS_DB_HELD_MAX": "300ms",
        "GOLIVE_CHASSIS_DB_REPLICAS": "100",
        "GOLIVE_CHASSIS_LAME_DUCK": "0s",
    }


@pytest.fixture(scope="session")
def served(start_once: Callable[..., Any], environment: dict[str, str]) -> Any:
    """A FastAPI app inside the chassis, with everything on."""
    return start_once(SOURCE, **environment).wait_started()


@pytest.fixture(scope="session")
def twin(served: Any, start_once: Callable[..., Any], environment: dict[str, str]) -> Any:
    """A second process of the same service; of its route templates only sixty have series of their own."""
    return start_once(SOURCE, **{**environment, "GOLIVE_CHASSIS_ROUTES_MAX": "60"}).wait_started()


LOCKED = """
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        if scope["path"] == "/last-words":
            import logging, sys
            logging.getLogger("shop").warning("the last words")
            sys.exit(7)
        if scope["path"] == "/fail":
            raise ValueError("hunter2")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"7")]})
        await send({"type": "http.response.body", "body": b"the app"})
"""


@pytest.fixture(scope="session")
def locked(start_once: Callable[..., Any]) -> Any:
    """A production service around a raw app that answers every path: credentials, three requests a minute."""
    hashed = "ci:" + hashlib.sha256(b"key of ci").hexdigest()
    return start_once(
        LOCKED,
        GOLIVE_ENV="production",
        REQUIRE_AUTH="true",
        API_KEY_HASHES=hashed,
        TRUSTED_PROXIES="10.0.0.0/8",
        GOLIVE_CHASSIS_RATE_LIMIT="3/hour",
        GOLIVE_CHASSIS_PLATFORM="kubernetes",
        CORS_ORIGINS="https://app.example",
    ).wait_started()


@pytest.fixture
def refused(start: Callable[..., Any]) -> Callable[..., str]:
    """``refused(**env)``: the start is refused with a usage error; what it said."""

    def refuse(**env: str) -> str:
        service = start("app = 1", **env)
        assert service.wait() == 2
        return str(service.stderr())

    return refuse


@pytest.fixture(scope="session")
def at_once() -> Iterator[Callable[..., list[Any]]]:
    """``at_once(calls)``: each call in a thread of its own, and their results."""
    with ThreadPoolExecutor(16) as pool:
        yield lambda calls: [future.result() for future in [pool.submit(call) for call in calls]]
