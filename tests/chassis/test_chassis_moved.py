"""Old addresses, the pages of a frontend, and who may read the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI, Request

from golive.chassis import Chassis, ChassisSettings
from golive.chassis.addresses import Sources
from golive.chassis.pages import Pages
from golive.errors import ConfigError


def _app() -> FastAPI:
    app = FastAPI()

    @app.post("/api/closed-venue-reasoning")
    async def reasoning(request: Request) -> dict[str, Any]:
        return {"query": str(request.query_params), "body": (await request.body()).decode()}

    @app.get("/api/orders/{order}")
    async def order(order: str) -> str:
        return order

    return app


@pytest.fixture
def moved() -> Any:
    redirects = {"/closed-venue-reasoning": "/api/closed-venue-reasoning", "/v1/*": "/api/*"}
    return Chassis(ChassisSettings(redirects=redirects)).wrap(_app())


async def test_an_old_address_leads_to_the_new_one_with_its_query(moved: Any, call: Any):
    """307: method and body stay; the address is one of this host, whatever stands behind it."""
    answer = await call(moved, "POST", "/closed-venue-reasoning", query=b"x=1&y=%2F")
    assert (answer.status, answer.headers["location"]) == (307, "/api/closed-venue-reasoning?x=1&y=%2F")
    assert answer.headers["x-request-id"]
    assert (await call(moved, "GET", "/v1/orders/a b")).headers["location"] == "/api/orders/a%20b"
    for path in ("/v1//evil.example", "/v1/\\evil.example", "/v1/\r\nset-cookie: a=b"):
        location = (await call(moved, "GET", path)).headers["location"]
        assert location.startswith("/api/"), location
        assert "\r" not in location, location
    assert (await call(moved, "GET", "//closed-venue-reasoning")).status == 404
    assert (await call(moved, "GET", "/closed-venue-reasoningx")).status == 404
    assert (await call(moved, "GET", "/x", root_path="/x")).status == 404


async def test_what_the_app_has_is_served_as_before_and_old_addresses_are_measured(moved: Any, call: Any):
    """Under the address that is configured, so that one can see who still uses it; never under what a caller sent."""
    assert (await call(moved, "GET", "/api/orders/7")).json() == "7"
    await call(moved, "GET", "/v1/orders/7")
    text = (await call(moved, "GET", "/metrics")).body.decode()
    assert 'route="/v1/*",status="307"} 1' in text
    assert 'route="/api/orders/{order}",status="200"} 1' in text


@pytest.mark.parametrize(
    ("old", "new"),
    [("/a", "https://evil.example"), ("/a", "//evil.example"), ("a", "/b"), ("/a/*", "/b"), ("/a", "/a")],
)
def test_a_redirect_that_leaves_the_host_or_leads_nowhere_refuses_the_start(old: str, new: str):
    """Named with the address it is for."""
    with pytest.raises(ConfigError, match=f"redirects: {old.replace('*', '.')}"):
        ChassisSettings(redirects={old: new})
    with pytest.raises(ConfigError, match="GOLIVE_CHASSIS_REDIRECTS"):
        ChassisSettings.from_env({"GOLIVE_CHASSIS_REDIRECTS": "/a"})


@pytest.fixture
def frontend(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>shop</title>")
    (folder / "assets" / "app-1f2e.js").write_text("run()")
    (folder / ".env").write_text("SECRET=1")
    (tmp_path / "outside.txt").write_text("not yours")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    return folder


async def test_a_page_that_only_the_browser_knows_is_the_index_and_the_api_stays_an_api(frontend: Path, call: Any):
    """A refresh of /company/123 works; /api/nope and a missing script are 404 and not the page."""
    app = Chassis().wrap(Pages(_app(), frontend))
    html = [(b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")]
    page = await call(app, "GET", "/company/123", headers=html)
    assert (page.status, page.headers["content-type"], page.body) == (
        200, "text/html; charset=utf-8", b"<title>shop</title>",
    )  # fmt: skip
    assert page.headers["cache-control"] == "no-cache"
    assert (await call(app, "GET", "/", headers=html)).body == page.body, "the alias gives way"
    assert (await call(app, "GET", "/healthz")).json()["ok"] is True
    unknown = await call(app, "GET", "/api/nope", headers=html)
    assert (unknown.status, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert (await call(app, "GET", "/assets/x.js", headers=html)).status == 404
    assert (await call(app, "GET", "/company/1", headers=[(b"accept", b"application/json")])).status == 404
    assert (await call(app, "POST", "/company/123")).status == 404
    script = await call(app, "GET", "/assets/app-1f2e.js")
    assert (script.body, "immutable" in script.headers["cache-control"]) == (b"run()", True)
    again = await call(app, "GET", "/company/123", headers=[*html, (b"if-none-match", page.headers["etag"].encode())])
    assert (again.status, again.body) == (304, b"")
    assert (await call(app, "GET", "/api/orders/7")).json() == "7"
    text = (await call(app, "GET", "/metrics")).body.decode()
    assert 'route="/{page}",status="304"} 1' in text
    assert "company" not in text, "the path of a page is no label"


@pytest.mark.parametrize(
    "path", ["/../outside.txt", "/assets/../../outside.txt", "/.env", "/link.txt", "/a\0b.txt", "/%2e%2e/outside.txt"]
)
async def test_no_file_outside_the_folder_and_none_that_is_hidden_is_ever_sent(frontend: Path, call: Any, path: str):
    """Whatever the path, links included."""
    answer = await call(Pages(_app(), frontend), "GET", path)
    assert answer.status == 404
    assert b"not yours" not in answer.body
    assert b"SECRET" not in answer.body


def test_a_frontend_that_was_not_built_refuses_the_start(tmp_path: Path):
    """Rather than a blank page in production."""
    with pytest.raises(ConfigError, match=r"index\.html"):
        Pages(_app(), tmp_path)


FORWARDED = [(b"x-forwarded-for", b"10.0.0.9")]


@pytest.mark.parametrize(
    ("entries", "client", "headers", "admitted"),
    [
        (("private",), ("10.1.2.3", 5000), [], True),
        (("private",), ("fd00::1", 5000), [], True),
        (("private",), ("::ffff:10.1.2.3", 5000), [], True),
        (("private",), None, [], True),
        (("private",), ("8.8.8.8", 5000), [], False),
        (("private",), ("2001:4860::1", 5000), [], False),
        (("private",), ("10.1.2.3", 5000), FORWARDED, False),
        (("private",), ("10.0.0.9", 0), FORWARDED, True),
        (("8.8.8.0/24",), ("8.8.8.8", 5000), [], True),
        (("8.8.8.0/24",), ("10.1.2.3", 5000), [], False),
        (("*",), ("8.8.8.8", 5000), FORWARDED, True),
        ((), ("127.0.0.1", 5000), [], False),
        (("private",), ("nonsense", 5000), [], False),
    ],
)
def test_the_metrics_are_for_the_machines_of_the_house(entries: Any, client: Any, headers: Any, admitted: bool):
    """A hop that nobody named may carry anybody's request."""
    assert Sources(entries).admit({"client": client, "headers": headers}) is admitted


async def test_a_stranger_is_told_that_there_are_no_metrics_and_probes_answer_everybody(call: Any):
    """404, as for any path that is not there."""
    app = Chassis(ChassisSettings(trusted_proxies=("10.0.0.0/8",))).wrap(_app())
    assert (await call(app, "GET", "/metrics", client=("10.1.1.1", 9))).status == 200
    assert (await call(app, "GET", "/metrics", client=("203.0.113.9", 9))).status == 200, "a documentation address"
    stranger = await call(app, "GET", "/metrics", client=("8.8.8.8", 9))
    assert (stranger.status, stranger.headers["content-type"]) == (404, "application/problem+json")
    behind = [(b"x-forwarded-for", b"8.8.8.8")]
    assert (await call(app, "GET", "/metrics", client=("10.1.1.1", 9), headers=behind)).status == 404
    assert (await call(app, "GET", "/livez", client=("8.8.8.8", 9))).status == 200
    with pytest.raises(ConfigError, match="metrics_from"):
        ChassisSettings(metrics_from=("everybody",))


@pytest.mark.parametrize(
    "rest",
    [
        "//evil.test/x",
        "///evil.test",
        "/\\evil.test",
        "\\/evil.test",
        "/\t/evil.test",
        "/\n//evil.test",
        "/\x00//evil.test",
    ],
)
@pytest.mark.parametrize("root_path", ["", "/proxy"])
async def test_a_redirect_to_the_root_leads_to_no_other_host(call: Any, rest: str, root_path: str):
    """Browsers read two slashes, a backslash for one and a tab between them as the beginning of a host."""
    app = Chassis(ChassisSettings(redirects={"/v1/*": "/*"})).wrap(_app())
    answer = await call(app, path=f"{root_path}/v1{rest if rest[0] == '/' else '/' + rest}", root_path=root_path)
    location = answer.headers["location"]
    assert answer.status == 307
    assert location.startswith("/")
    assert location[1:2] not in ("/", "\\")
    assert location.isprintable()
    assert urljoin("https://own.test/a", location).startswith("https://own.test/")


@pytest.mark.parametrize(
    ("redirects", "named"),
    [
        ({"/*": "/new/*"}, "/new/"),
        ({"/a": "/b", "/b": "/a"}, "/b redirects again"),
        ({"/a/*": "/*", "/b": "/a/b"}, "/a/. redirects again"),
        ({"/a/*": "/a/b/*"}, "/a/. redirects again"),
    ],
)
def test_a_redirect_to_an_address_that_is_redirected_refuses_the_start(redirects: dict[str, str], named: str):
    """A loop answers nobody, and of a chain only the last address is worth being remembered."""
    with pytest.raises(ConfigError, match=named):
        ChassisSettings(redirects=redirects)
