"""The response reader: however the bytes are cut, it finds the same end."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.load.response import ProtocolError, ResponseReader

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Arm: v42\r\n\r\n"
ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Arm: v42\r\n\r\nhello",
    "empty": b"HTTP/1.1 204 No Content\r\nX-Arm: v42\r\n\r\n",
    "chunked": CHUNKED + b"3\r\nhel\r\n2;e=1\r\nlo\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\na: b\r\nc: d\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nX-Arm: v42\r\nContent-Length: 0\r\n\r\n",
}


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 200), max_size=8))
def test_the_end_is_found_however_the_bytes_arrive(name: str, cuts: list[int]) -> None:
    """Every way to split an answer gives the same status, header, body and end."""
    data = ANSWERS[name]
    points = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    reader = ResponseReader(body_max=64 * 1024)
    results = [reader.feed(data[begin:end]) for begin, end in itertools.pairwise(points)]
    assert results == [False] * (len(results) - 1) + [True]
    assert reader.header(b"x-arm") == b"v42"
    assert reader.reusable
    assert reader.status in (200, 201, 204)


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", True),
    ],
)
def test_a_connection_is_reused_only_when_the_peer_keeps_it(data: bytes, reusable: bool) -> None:
    """HTTP/1.1 keeps by default, HTTP/1.0 closes by default."""
    reader = ResponseReader()
    assert reader.feed(data)
    assert reader.reusable is reusable


def test_a_head_answer_ends_with_its_head() -> None:
    """Content-Length says what GET would have sent."""
    reader = ResponseReader()
    reader.begin(head_only=True)
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")


def test_a_body_without_length_ends_with_the_connection() -> None:
    """Only the closing tells, and the connection is gone."""
    reader = ResponseReader()
    assert not reader.feed(b"HTTP/1.1 200 OK\r\n\r\nsome text")
    assert reader.ends_with_connection()
    assert not reader.reusable


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\ntoo much",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    """Bounded, and never mistaken for an answer."""
    with pytest.raises(ProtocolError):
        ResponseReader().feed(data)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Garbage gives an answer, a wait or a ProtocolError, nothing else."""
    reader = ResponseReader(body_max=64 * 1024)
    try:
        reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    except ProtocolError:
        return
    assert len(reader.body) <= len(data)
