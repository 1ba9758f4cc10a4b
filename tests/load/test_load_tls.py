"""The engine and the probing client over TLS, against a certificate nobody vouches for."""

import asyncio
import ssl
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from golive.gates import Target
from golive.gates.http import Client, NoAnswerError
from golive.load import Failure, LoadPlan, run

BODY = b"x" * 300_000  # many TLS records, more than one read


@pytest.fixture
async def tls_url(tmp_path: Path) -> AsyncIterator[str]:
    """A keep-alive HTTPS server with a self-signed certificate for 127.0.0.1."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    server.close()


async def test_answers_of_many_tls_records_are_read_whole_on_reused_connections(tls_url: str) -> None:
    """What waits inside the TLS library is read without waiting for the socket."""
    report = await asyncio.to_thread(run, LoadPlan(tls_url, rate=40, duration=1.0, tls_verify=False))
    assert report.statuses == Counter({200: 40})
    assert report.failed == 0
    assert report.connections_opened < 40


async def test_a_certificate_nobody_vouches_for_is_a_connect_failure(tls_url: str) -> None:
    """Verification is on unless switched off by name."""
    report = await asyncio.to_thread(run, LoadPlan(tls_url, rate=20, duration=0.5))
    assert report.failures == Counter({Failure.CONNECT: 10})


async def test_the_probing_client_verifies_too(tls_url: str) -> None:
    """The reason names TLS."""
    with pytest.raises(NoAnswerError, match="TLS failed"):
        await Client(Target(tls_url)).get("/")
    assert (await Client(Target(tls_url, tls_verify=False)).get("/")).body == BODY
