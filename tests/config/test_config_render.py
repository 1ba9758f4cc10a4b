"""Settings as text: what is printed is a configuration, tells origins, and keeps secrets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from golive.chassis.settings import ChassisSettings
from golive.config import Settings, load_settings
from golive.config.children import service_environ
from golive.config.render import NOT_YET, notices, to_toml
from golive.jobs.settings import JobsSettings

Load = Callable[..., Settings]

SECRETS = """
[deploy.env]
DATABASE_URL = "${DATABASE_URL}"
API_TOKEN = "literal-t0ken"
PLAIN = "visible"
[jobs]
url = "postgresql://ada:hunter2@db/jobs"
[chassis]
sentry_dsn = "https://k3y@errors.example/1"
redis_url = "redis://:hunter3@cache:6379"
[gates.smoke]
requests = [{ get = "/", headers = { x-api-key = "literal-k3y" } }]
"""


def test_what_is_shown_is_a_configuration_that_means_the_same(load: Load, project: Path) -> None:
    """The output of `config show` can be saved as golive.toml, and nothing changes."""
    text = (Path(load_settings.__globals__["__file__"]).with_name("example.toml")).read_text()
    example = load(text.replace("sentry_dsn ", "# sentry_dsn ").replace("DATABASE_URL =", "# DATABASE_URL ="))
    for shown in (to_toml(example), to_toml(example, origins=True)):
        assert load(shown).model_dump() == example.model_dump()


def test_tables_within_tables_are_toml_of_one_line(load: Load) -> None:
    """Bodies nest as JSON does: empty tables, lists of tables, keys that need quotes, control characters."""
    body = """{ a = { b = [1, { c = "d\\u0007" }, []], e = {} }, "odd key" = [[{ f = 1.5 }], true], t = "x\\ny" }"""
    text = f'[gates.smoke]\nrequests = [{{ post = "/x", json = {body} }}]\n'
    settings = load(text)
    for shown in (to_toml(settings), to_toml(settings, origins=True)):
        assert load(shown).model_dump() == settings.model_dump()


def test_an_origin_stands_behind_every_value(load: Load) -> None:
    """As a comment, so that the file stays a file."""
    shown = to_toml(load("[gateway]\nport = 9000"), origins=True)
    lines = {line.split(" = ")[0]: line.rsplit("# ", 1)[-1] for line in shown.splitlines() if " = " in line}
    assert lines["port"] == "golive.toml:2:1"
    assert lines["watch"] == "default"
    assert all(line.count("  # ") == 1 for line in shown.splitlines() if " = " in line)


def test_secrets_are_masked_wherever_they_hide(load: Load) -> None:
    """Passwords in URLs, names that sound secret, and what a variable put into a version's environment."""
    shown = to_toml(load(SECRETS, {"DATABASE_URL": "postgresql://ada:hunter1@db/app"}))
    for secret in ("hunter1", "hunter2", "hunter3", "t0ken", "k3y"):
        assert secret not in shown
    assert 'env.PLAIN = "visible"' in shown
    assert 'url = "postgresql://ada:***@db/jobs"' in shown


def test_settings_nothing_acts_upon_are_said_aloud(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that does nothing and says nothing would be worse than an error."""
    monkeypatch.setitem(NOT_YET, ("db",), "golive opens no pool for the app")
    monkeypatch.setitem(NOT_YET, ("chassis", "sentry_dsn"), "no error is sent there")
    said = list(notices(load("[chassis]\nsentry_dsn = 'https://e'", {"PG_MAX": "2"})))
    assert said == [
        "golive.toml:2:1 chassis.sentry_dsn: accepted, but this release does not act upon it: no error is sent there.",
        "variable PG_MAX db.pool_max: accepted, but this release does not act upon it: "
        "golive opens no pool for the app.",
    ]
    assert list(notices(load("[chassis]\ngrace = '20s'"))) == []


def test_the_rooms_inside_the_service_are_told_what_was_written(load: Load, project: Path) -> None:
    """The variables a version gets are the ones its chassis and its jobs read, with the same meaning."""
    settings = load(
        "[chassis]\ngrace = '20s'\naccess_log = false\ndrain_allow = ['/a', '/b']\n"
        "aliases = { '/health' = 'ready', '/' = 'ok' }\n"
        "[jobs]\nconcurrency = 9\ntimeout = '1m30s'\nembedded = true\n[environments.production]\n",
        environment="production",
    )
    environ = service_environ(settings)
    chassis, jobs = ChassisSettings.from_env(environ), JobsSettings.from_env(environ)
    assert (chassis.service, chassis.environment) == ("checkout-api", "production")
    assert (chassis.grace, chassis.access_log) == (settings.chassis.grace, False)
    assert chassis.drain_allow == ("/a", "/b")
    assert dict(chassis.aliases) == {"/health": "ready", "/": "ok"}
    assert (jobs.concurrency, jobs.timeout, jobs.embedded) == (9, settings.jobs.timeout, True)
    assert jobs.url == f"sqlite:///{project}/.golive/jobs.db"
    assert set(service_environ(load(""))) == {"GOLIVE_SERVICE", "GOLIVE_JOBS_URL"}


def test_what_the_chassis_verifies_callers_with_reaches_it_and_is_never_shown(load: Load, project: Path) -> None:
    """Secrets and hashes pass to the service under the chassis's own names; files that versions share are absolute."""
    hashed = "ci:" + "ab" * 32
    settings = load(
        f"[chassis]\nrequire_auth = true\napi_key_hashes = ['{hashed}']\nrate_limit = '100/minute'\n"
        "trusted_proxies = ['10.0.0.0/8']\nidempotency_store = 'sqlite:.golive/keys.db'\nerror_file = 'errors.ndjson'\n"
        "platform = 'ecs'\n",
        {"JWT_SECRET": "s3cret-of-at-least-thirty-two-bytes", "JWT_ISSUER": "https://issuer.example"},
    )
    chassis = ChassisSettings.from_env(service_environ(settings))
    assert (chassis.require_auth, chassis.api_key_hashes, chassis.jwt_secret) == (
        True, (hashed,), "s3cret-of-at-least-thirty-two-bytes",
    )  # fmt: skip
    assert (chassis.rate_limit, chassis.trusted_proxies) == ("100/minute", ("10.0.0.0/8",))
    assert chassis.jwt_issuer == "https://issuer.example"
    assert chassis.idempotency_store == f"sqlite:{project}/.golive/keys.db"
    assert chassis.error_file == f"{project}/errors.ndjson"
    assert chassis.platform == "ecs"
    shown = to_toml(settings)
    assert "s3cret" not in shown
    assert hashed not in shown
