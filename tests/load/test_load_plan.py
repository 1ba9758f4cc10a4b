"""Plans: what is refused, when requests are due, what they look like."""

import itertools
import re
import uuid
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.errors import RefusedError, UnavailableError, UsageError
from golive.load import LoadPlan, RequestSpec, Stage
from golive.load.arrivals import intended_times, planned_duration
from golive.load.plan import statuses
from golive.load.target import is_loopback, resolve
from golive.load.template import Template

URL = "http://127.0.0.1:8000/base"


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"url": "ftp://127.0.0.1/"}, "url"),
        ({"url": "http://user:secret@127.0.0.1/"}, "user name or password"),
        ({"url": "http://127.0.0.1:99999/"}, "url"),
        ({"url": "http://127.0.0.1/a b"}, "url"),
        ({"rate": 0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"duration": -1}, "duration"),
        ({"arrivals": "random"}, "arrivals"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout": 0}, "timeout"),
        ({"expect": ("9xx",)}, "expect"),
        ({"expect": ()}, "expect"),
        ({"stages": [Stage(10, 0)]}, "stages/0/duration"),
        ({"requests": [RequestSpec(method="GET /x HTTP/1.1\r\nHost:")]}, "requests/0/method"),
        ({"requests": [RequestSpec(path="no-slash")]}, "requests/0/path"),
        ({"requests": [RequestSpec(headers={"X-A": "1\r\nX-B: 2"})]}, "requests/0/headers/X-A"),
        ({"requests": [RequestSpec(headers={"Content-Length": "3"})]}, "requests/0/headers"),
        ({"requests": [RequestSpec(weight=0)]}, "requests/0/weight"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_naming_the_field(wrong: dict[str, object], place: str) -> None:
    """Before the first byte leaves."""
    with pytest.raises(UsageError, match=re.escape(place)):
        LoadPlan(**({"url": URL} | wrong))  # type: ignore[arg-type]


def test_constant_arrivals_are_on_the_microsecond_after_an_hour() -> None:
    """Times are computed, not accumulated."""
    plan = LoadPlan(URL, rate=30, duration=3600)
    times = list(intended_times(plan))
    assert len(times) == 108_000
    assert times[-1] == pytest.approx(3600 - 1 / 30, abs=1e-6)


def test_stages_follow_each_other_and_ramps_are_even() -> None:
    """A ramp from 0 to 100 in 10 s is 500 requests, half of them in its last 2.93 s."""
    plan = LoadPlan(URL, stages=[Stage(100, 10, ramp=True), Stage(0, 5), Stage(20, 2)])
    times = list(intended_times(plan))
    assert planned_duration(plan) == 17
    assert len([t for t in times if t < 10]) == 500
    assert len([t for t in times if t < 10 * 0.5**0.5]) == pytest.approx(250, abs=1)
    assert not [t for t in times if 10 <= t < 15]
    assert len([t for t in times if t >= 15]) == 40


@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0.1, 3), st.booleans()), min_size=1, max_size=4),
    st.sampled_from(["constant", "poisson"]),
)
def test_arrivals_are_ascending_and_inside_the_plan(stages: list[tuple[float, float, bool]], arrivals: str) -> None:
    """Whatever the stages."""
    plan = LoadPlan(URL, stages=[Stage(*stage) for stage in stages], arrivals=arrivals)  # type: ignore[arg-type]
    times = list(intended_times(plan))
    assert times == sorted(times)
    assert all(-1e-9 <= time <= planned_duration(plan) + 1e-6 for time in times)


def test_poisson_arrivals_have_the_asked_rate_and_exponential_gaps() -> None:
    """Mean gap 1/rate, and a variation coefficient of one instead of zero."""
    times = list(intended_times(LoadPlan(URL, rate=1000, duration=20, arrivals="poisson", seed=7)))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.001, rel=0.03)
    assert deviation / mean == pytest.approx(1.0, abs=0.05)


def template(spec: RequestSpec, users: int = 3) -> Template:
    return Template(spec, urlsplit(URL), ("2xx",), users, True, seed=1)


def test_placeholders_are_filled_and_json_braces_stay() -> None:
    """Sticky and idempotent traffic can be generated from one line."""
    spec = RequestSpec(
        "POST", "/orders/{n}", {"Idempotency-Key": "k-{n%2}", "X-User": "{user}"}, '{"id": "{uuid}", "n": {n}}'
    )
    lines = template(spec).render(5).decode().split("\r\n")
    assert lines[0] == "POST /base/orders/5 HTTP/1.1"
    assert "Idempotency-Key: k-1" in lines
    assert "X-User: 2" in lines
    body = re.fullmatch(r'\{"id": "(.+)", "n": 5\}', lines[-1])
    assert body is not None
    assert uuid.UUID(body[1]).version == 4
    assert f"content-length: {len(lines[-1])}" in lines


def test_a_request_without_placeholders_is_rendered_once() -> None:
    """The same bytes object, not an equal one."""
    static = template(RequestSpec())
    assert static.render(1) is static.render(2)
    assert static.render(0).startswith(b"GET /base HTTP/1.1\r\nhost: 127.0.0.1:8000\r\n")


def test_statuses_are_classes_or_codes() -> None:
    """2xx and 409."""
    assert statuses(["2xx", "409"]) == set(range(200, 300)) | {409}


def test_only_this_machine_may_be_loaded_without_being_asked() -> None:
    """A load run elsewhere needs a confirmation, and a name that does not resolve says so."""
    with pytest.raises(RefusedError, match="not this machine"):
        resolve(LoadPlan("http://10.1.2.3/"))
    assert resolve(LoadPlan("http://10.1.2.3/", remote_allowed=True)).address[0] == "10.1.2.3"
    assert resolve(LoadPlan("http://127.0.0.2:81/")).address == ("127.0.0.2", 81)
    with pytest.raises(UnavailableError, match="cannot be resolved"):
        resolve(LoadPlan("http://no-such-host.invalid/"))


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("169.254.169.254", False),
    ],
)
def test_mapped_addresses_are_unmapped_before_they_are_trusted(address: str, loopback: bool) -> None:
    """::ffff:10.0.0.1 is not this machine."""
    assert is_loopback(address) is loopback
