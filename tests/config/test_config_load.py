"""Loading: layers, variables, environments, and faults with their places."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from golive.config import Settings, load_settings, settings_origins
from golive.errors import ConfigError, ExitCode

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]


def test_an_empty_file_and_an_app_are_enough(load: Load, project: Path) -> None:
    """Every default is usable, and the app is served by golive."""
    settings = load('app = "main:app"')
    assert settings.service == "checkout-api"
    assert settings.deploy.command_for(port=9001, version="v2", python="/py") == [
        "/py", "-m", "golive", "serve", "main:app", "--host", "127.0.0.1", "--port", "9001",
    ]  # fmt: skip
    assert settings.state_dir == project / ".golive"
    assert (settings.root, settings.file) == (project, project / "golive.toml")
    assert str(settings.slo["error_rate"].alert_if) == "> 2%"
    assert load("").app is None


def test_durations_are_timedeltas_everywhere(load: Load) -> None:
    """A text with a unit in the file, a timedelta in Python."""
    settings = load('[rollout]\nwatch = "1h30m"\n[rollout.fuse]\nprobe_interval = "250ms"')
    assert settings.rollout.watch == timedelta(hours=1, minutes=30)
    assert settings.rollout.fuse.probe_interval == timedelta(milliseconds=250)
    assert settings.deploy.stop_timeout == timedelta(seconds=35)


def test_settings_cannot_be_changed(load: Load) -> None:
    """What was loaded and checked stays what it is."""
    settings = load("")
    with pytest.raises(ValueError, match="frozen"):
        settings.gateway.port = 1


def test_a_command_may_be_one_string_and_never_goes_through_a_shell(load: Load) -> None:
    """Split like a shell would; what a shell would run stays a word."""
    settings = load("[deploy]\ncommand = \"uvicorn 'my app:app' --port {port} ; rm $HOME {{x}}\"")
    assert settings.deploy.command_for(port=1, version="v", python="p") == [
        "uvicorn", "my app:app", "--port", "1", ";", "rm", "$HOME", "{x}",
    ]  # fmt: skip


FAULTS = [
    ("wach = 1", 'golive.toml:1:1 wach: unknown key. Known here: service, app, state_dir'),
    ("[rollout]\nwach = '1h'", 'golive.toml:2:1 rollout.wach: unknown key, did you mean "watch"?'),
    ("[rolout]\nwatch = '1h'", 'golive.toml:1:2 rolout: unknown key, did you mean "rollout"?'),
    ("[rollout]\nwatch = 30",
     'golive.toml:2:9 rollout.watch: expected a duration such as "30m", got 30. Write "30s" or "30m".'),
    ("[rollout]\ntick = '0s'", 'golive.toml:2:8 rollout.tick: expected a duration longer than zero, got "0s".'),
    ("[rollout]\npace = 'fats'",
     "golive.toml:2:8 rollout.pace: expected \"careful\", \"fast\" or \"demo\", got 'fats', did you mean \"fast\"?"),
    ("gateway = 3", "golive.toml:1:11 gateway: expected a table, got 3."),
    ("[gateway]\nport = true", "golive.toml:2:8 gateway.port: expected a number, got true."),
    ("[gateway]\nport = 70000", "golive.toml:2:8 gateway.port: expected at most 65535, got 70000."),
    ("[gateway]\nport = 80.5", "golive.toml:2:8 gateway.port: expected a whole number, got 80.5."),
    ("[gateway]\nhost = 1", "golive.toml:2:8 gateway.host: expected a text, got 1."),
    ("[gateway]\nport = 9000\nadmin_port = 9000",
     "golive.toml:3:14 gateway.admin_port: expected another port than gateway.port, got 9000 for both."),
    ("[gateway]\nsticky.header = 'a b'", "golive.toml:2:17 gateway.sticky.header: expected the name of a header"),
    ("[approvals]\nprevent_self_review = 'maybe'",
     "golive.toml:2:23 approvals.prevent_self_review: expected true or false, got 'maybe'."),
    ("[gates]\npreflight = 'health'", "golive.toml:2:13 gates.preflight: expected a list, got 'health'."),
    ("service = 'Checkout API'", 'golive.toml:1:11 service: expected a name such as "checkout-api"'),
    ("app = 'main.app'", 'golive.toml:1:7 app: expected an import string such as "main:app"'),
    ("[deploy]\nready_path = 'ready'", "golive.toml:2:14 deploy.ready_path: expected a path such as"),
    ("[deploy]\ncommand = ['serve', '{prot}']",
     'golive.toml:2:11 deploy.command: unknown placeholder {prot}, did you mean "port"?'),
    ("[deploy]\ncommand = ['serve', '{port']", 'golive.toml:2:11 deploy.command: a brace in "{port" has no partner.'),
    ("[deploy]\ncommand = \"serve 'x\"", "golive.toml:2:11 deploy.command: expected a command, got one a shell"),
    ("[deploy]\nenv = { PORT = 80 }", "golive.toml:2:16 deploy.env.PORT: expected a text, got 80."),
    ("[release]\nsource = 'path'\npath = 'releases'",
     "golive.toml:3:8 release.path: expected a path with {version} in it"),
    ("app = 'a:b'\n[deploy]\nstop_timeout = '20s'",
     "golive.toml:3:16 deploy.stop_timeout: expected more than chassis.lame_duck + chassis.grace = 28s, got 20s."),
    ("app = 'a:b'\n[gateway]\nidle_timeout = '2m'",
     "golive.toml:3:16 gateway.idle_timeout: expected less than chassis.keep_alive = 1m15s, got 2m."),
    ("[deploy]\nworker_command = 'python -m golive worker a:b'\nstop_timeout = '10s'",
     "golive.toml:3:16 deploy.stop_timeout: expected more than jobs.drain = 25s, got 10s."),
    ("[db]\npool_min = 9", "golive.toml:2:12 db.pool_min: expected at most db.pool_max = 5, got 9."),
    ("[slo]\nerror_rate = { target = '< 1%', alert_iff = '> 2%' }",
     'golive.toml:2:33 slo.error_rate.alert_iff: unknown key, did you mean "alert_if"?'),
    ("[slo]\nlatency_p95 = { target = '< 3' }", "golive.toml:2:26 slo.latency_p95.target: expected seconds"),
    ("[slo]\np95_latency = { target = '< 3s' }",
     'slo.p95_latency: ends in no built-in indicator, did you mean "latency_p95"?'),
    ("slo = 1", "golive.toml:1:7 slo: expected a table of rows, got 1."),
    ("[slo]\nerror_rate = '< 1%'", 'golive.toml:2:14 slo.error_rate: expected a table such as { target = "< 1%" }'),
    ("[gates.smoke]\nrequests = [{ expect = 200 }]",
     'golive.toml:2:13 gates.smoke.requests.0: expected exactly one method such as get = "/api/status", got none.'),
    ("[gates.smoke]\nrequests = [{ get = '/', post = '/' }]", "expected exactly one method"),
    ("[gates.smoke]\nrequests = [{ get = '/', expect = 99 }]",
     'golive.toml:2:35 gates.smoke.requests.0.expect: expected a status such as 200 or "2xx"'),
    ("[chassis.aliases]\nhealth = 'ok'", "golive.toml:2:1 chassis.aliases.health: expected a path such as"),
        (
            "[chassis.aliases]\n'/h' = 'okay'",
            'chassis.aliases./h: expected "live", "ready", "startup", "ok", "status" or "database", got',
        ),
    ("environments = 1", "golive.toml:1:16 environments: expected a table, got 1."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FAULTS)
def test_a_fault_has_its_place_its_key_and_what_to_write(faults: Faults, text: str, expected: str) -> None:
    """Verbatim, with line and column: this is the first thing a newcomer sees of golive when something is wrong."""
    found = faults(text)
    assert len(found) == 1, found
    assert expected in found[0]


STAGES = [
    ("[]", 'rollout.stages: expected at least two stages, got none. Write stages, or preset = "progressive".'),
    ("[{ weight = 50 }, { weight = 10 }, { weight = 100 }]",
     "rollout.stages.1.weight: expected more than the 50 % of the stage before, got 10. Stages only go up."),
    ("[{ weight = 50 }, { weight = 50 }, { weight = 100 }]", "rollout.stages.1.weight: expected more than the 50 %"),
    ("[{ weight = 10 }, { weight = 120 }]",
     "rollout.stages.1.weight: expected more than 0 and at most 100 percent, got 120."),
    ("[{ weight = 0 }, { weight = 100 }]", "rollout.stages.0.weight: expected more than 0"),
    ("[{ weight = nan }, { weight = 100 }]", "rollout.stages.0.weight: expected more than 0"),
    ("[{ weight = 0.125 }, { weight = 100 }]",
     "rollout.stages.0.weight: expected a multiple of 0.01 percent, got 0.125. The finest step is 0.01."),
    ("[{ weight = '10%' }, { weight = 100 }]", "rollout.stages.0.weight: expected a percentage such as 10 or 0.5"),
    ("[{ weight = true }, { weight = 100 }]", "rollout.stages.0.weight: expected a percentage such as 10 or 0.5"),
    ("[{ weight = 10 }, { weight = 50 }]",
     "rollout.stages.1.weight: expected the last stage to be 100, got 50. A rollout ends with all traffic"),
    ("[{ weight = 100 }]", "rollout.stages.0.weight: expected less than 100 in the first stage"),
    ("[{ soak = '1h' }, { weight = 100 }]", 'rollout.stages.0: "weight" is missing.'),
    ("[{ weight = 1, soak = '2h', max_soak = '1h' }, { weight = 100 }]",
     "rollout.stages.0.max_soak: expected at least the soak of 2h, got 1h."),
    ("[{ weight = 1, approval = 'leads' }, { weight = 100 }]", 'rollout.stages.0.approval: unknown group "leads"'),
    ("[5, { weight = 100 }]", "rollout.stages.0: expected a table, got 5."),
    ("'canary'", "rollout.stages: expected a list, got 'canary'."),
]  # fmt: skip


@pytest.mark.parametrize(("stages", "expected"), STAGES)
def test_impossible_stages_are_refused_where_they_stand(faults: Faults, stages: str, expected: str) -> None:
    """Descending, over 100, empty, not a step of 0.01: the caret is under the number."""
    found = faults(f"[rollout]\nstages = {stages}\n")
    assert len(found) == 1, found
    assert expected in found[0]
    assert found[0].startswith("golive.toml:2:")


def test_more_than_fifty_stages_are_a_typing_error(faults: Faults) -> None:
    """The limit is visible."""
    stages = ", ".join(f"{{ weight = {n} }}" for n in range(1, 60)) + ", { weight = 100 }"
    assert "expected at most 50 stages, got 60." in faults(f"[rollout]\nstages = [{stages}]")[0]


def test_blue_green_may_be_one_stage_and_weights_may_be_fine(load: Load) -> None:
    """What the checks must not refuse: 100 at once when asked for, and steps of 0.01 percent."""
    assert load("[rollout]\nstrategy = 'blue-green'\nstages = [{ weight = 100 }]").rollout.stages is not None
    fine = load("[rollout]\nstages = [{ weight = 0.01 }, { weight = 0.29 }, { weight = 33.33 }, { weight = 100 }]")
    assert [stage.weight for stage in fine.rollout.stages or ()] == [0.01, 0.29, 33.33, 100]


def test_all_faults_come_at_once_in_the_order_of_the_file(faults: Faults) -> None:
    """One run of the editor mends them: unknown keys, wrong values, bad rows, contradictions and missing variables."""
    found = faults(
        "wach = 1\n"
        "[slo]\nerror_rate = { target = '1%' }\n"
        "[gateway]\nport = -1\n"
        "[rollout]\nstages = [{ weight = 50 }, { weight = 10 }]\n"
        "[deploy.env]\nTOKEN = '${TOKEN}'\n",
        {"GOLIVE_GATEWAY__PROT": "1"},
    )
    assert [fault.split(":")[0] + fault.split(":")[1] for fault in found if fault.startswith("golive")] == [
        "golive.toml1", "golive.toml3", "golive.toml5", "golive.toml7", "golive.toml7", "golive.toml9",
    ]  # fmt: skip
    assert found[0] == 'variable GOLIVE_GATEWAY__PROT: unknown setting "prot" in gateway, did you mean "port"?'


def test_the_line_and_a_caret_stand_below_the_message(faults: Faults) -> None:
    """The caret is under the first character of what is wrong, tabs and long lines included."""
    assert faults("[rollout]\n\twach = '1h'")[0].endswith("\n     wach = '1h'\n     ^")
    long = "[gates]\npreflight = [" + ", ".join(["'health'"] * 30) + ", 7]"
    *_, line, caret = faults(long)[0].split("\n")
    assert line[caret.index("^")] == "7"
    assert len(line) < 160


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = ", "golive.toml:1:5: Invalid value."),
        ("\n\n[rollout\nx = 1", "golive.toml:3:9: "),
        ("a = 1\na = 2", "golive.toml:2:"),
        ('a = "unfinished', "golive.toml:1:16: "),
    ],
)
def test_broken_toml_is_told_with_line_and_column(faults: Faults, text: str, expected: str) -> None:
    """Syntax errors look like all other errors."""
    assert faults(text)[0].startswith(expected)


def test_files_that_are_not_text_are_refused_in_words(project: Path) -> None:
    """Not UTF-8, far too large, a folder, missing, nested without end."""
    file = project / "golive.toml"

    def message() -> str:
        with pytest.raises(ConfigError) as caught:
            load_settings(file, environ={})
        return str(caught.value)

    assert message() == "golive.toml: cannot be read: No such file or directory."
    file.write_bytes(b'service = "a"\nx = "\xff"')
    assert message() == "golive.toml:2:6: expected UTF-8, got byte 0xff."
    file.write_bytes(b"#" * (1024 * 1024 + 1))
    assert message() == "golive.toml: expected at most 1 MiB of configuration, got more. Is this the right file?"
    file.write_text("a = " + "[" * 5000 + "]" * 5000)
    assert "golive.toml: expected tables a person can read" in message()
    file.write_bytes(b"\xef\xbb\xbfservice = 'bom'\r\n[rollout]\r\nwatch = '1h'\r\n")
    assert load_settings(file, environ={}).service == "bom"


def test_the_nearest_configuration_upward_governs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder deep inside; golive.toml, or a pyproject.toml that has the table, and never two."""
    (project / "pyproject.toml").write_text("[tool.golive]\nservice = 'from-pyproject'\nwach = 1\n")
    deep = project / "app" / "routes"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    with pytest.raises(ConfigError, match=r"pyproject\.toml:3:1 wach: unknown key"):
        load_settings(environ={})
    (project / "pyproject.toml").write_text("[tool.golive]\nservice = 'from-pyproject'\n")
    assert load_settings(environ={}).service == "from-pyproject"
    (project / "app" / "pyproject.toml").write_text("[project]\nname = 'golive-user'\n")
    (project / "app" / "golive.toml").write_text("service = 'nearest'")
    assert load_settings(environ={}).service == "nearest"
    assert load_settings(project, environ={}).service == "from-pyproject"
    (project / "golive.toml").write_text("")
    with pytest.raises(ConfigError, match="expected one configuration"):
        load_settings(project, environ={})


def test_without_a_file_the_next_step_is_named(project: Path) -> None:
    """Or the defaults are given, to whoever can do without a file."""
    with pytest.raises(ConfigError, match="Run `golive init` to write one") as caught:
        load_settings(environ={})
    assert caught.value.exit_code == ExitCode.USAGE
    settings = load_settings(environ={"GOLIVE_GATEWAY__PORT": "9001"}, missing_ok=True)
    assert (settings.service, settings.gateway.port, settings.file) == ("checkout-api", 9001, None)


ENVIRONMENTS = """
[slo]
error_rate = { target = "<= 1%", alert_if = "> 2%" }
[rollout]
stages = [{ weight = 10 }, { weight = 100 }]
[environments.staging]
gateway.port = 8100
slo.error_rate.alert_if = "> 5%"
rollout.stages = [{ weight = 50 }, { weight = 100 }]
[environments.production.gateway]
port = 80
"""


def test_an_environment_is_laid_over_the_rest_key_by_key(load: Load) -> None:
    """A row keeps the keys the environment does not name; a list is replaced whole."""
    base, staging = load(ENVIRONMENTS), load(ENVIRONMENTS, environment="staging")
    assert (base.gateway.port, staging.gateway.port) == (8000, 8100)
    assert str(staging.slo["error_rate"].target) == "<= 1%"
    assert str(staging.slo["error_rate"].alert_if) == "> 5%"
    assert [stage.weight for stage in staging.rollout.stages or ()] == [50, 100]
    assert (base.environment, staging.environment) == (None, "staging")
    assert load(ENVIRONMENTS, {"GOLIVE_ENV": "production"}).gateway.port == 80


def test_an_environment_that_does_not_exist_is_told(faults: Faults, load: Load) -> None:
    """By option and by variable; only "development" and a file without environments need no table."""
    assert faults(ENVIRONMENTS, environment="stagin") == [
        '--env: golive.toml has no table [environments.stagin], did you mean "staging"?'
    ]
    assert faults(ENVIRONMENTS, {"GOLIVE_ENV": "qa"}) == [
        "variable GOLIVE_ENV: golive.toml has no table [environments.qa]. Known: staging, production."
    ]
    assert load(ENVIRONMENTS, {"GOLIVE_ENV": "development"}).gateway.port == 8000
    assert load("", {"GOLIVE_ENV": "production"}).environment == "production"


def test_a_fault_in_an_environment_points_into_its_table(faults: Faults) -> None:
    """At the overriding line, not at the overridden one."""
    text = "[gateway]\nport = 8000\n[environments.staging.gateway]\nport = 'x'\nprot = 1\n"
    assert [fault.split("\n")[0] for fault in faults(text, environment="staging")] == [
        "golive.toml:4:8 gateway.port: expected a whole number, got 'x'.",
        'golive.toml:5:1 gateway.prot: unknown key, did you mean "port"?',
    ]
    assert "an environment cannot change this" in faults("[environments.a]\nservice = 'b'", environment="a")[0]


def test_variables_are_filled_in_and_a_missing_one_is_told_with_its_line(load: Load, faults: Faults) -> None:
    """${NAME}, ${NAME:-default} and the escape; numbers may come from variables too."""
    text = '[gateway]\nport = "${PORT:-9000}"\n[deploy.env]\nDB = "pg://${USER}@db"\n'
    text += 'RAW = "$${X} $HOME"\nLAST = "${L:-}"\n'
    settings = load(text, {"USER": "ada", "PORT": ""})
    assert settings.gateway.port == 9000
    assert settings.deploy.env == {"DB": "pg://ada@db", "RAW": "${X} $HOME", "LAST": ""}
    assert load(text, {"USER": "", "PORT": "9100"}).gateway.port == 9100
    assert faults(text)[0].startswith("golive.toml:4:6 deploy.env.DB: the variable USER is not set. Set it, or write")
    assert "expected ${NAME}" in faults('[deploy.env]\nA = "${not closed"')[0]


def test_a_variable_nobody_needs_may_be_missing(load: Load) -> None:
    """An overridden text and another environment's text are not filled in."""
    text = '[deploy.env]\nDB = "${DB}"\n[environments.staging.deploy.env]\nDB = "sqlite:///x"\nOTHER = "${OTHER}"\n'
    assert load(text, {"OTHER": "1"}, "staging").deploy.env["DB"] == "sqlite:///x"


def test_what_a_variable_brought_is_not_repeated_in_an_error(faults: Faults) -> None:
    """A secret in the wrong place does not end on a screen or in a build log."""
    found = faults('[gateway]\nport = "${TOKEN}"', {"TOKEN": "s3cr3t"})
    assert found[0].startswith("golive.toml:2:8 gateway.port: expected a whole number, got '${TOKEN}'.")
    assert "s3cr3t" not in found[0]


def test_variables_override_everything(load: Load) -> None:
    """GOLIVE_SECTION__KEY wins over file and environment; lists in TOML or with commas, tables in TOML."""
    settings = load(
        ENVIRONMENTS,
        {
            "GOLIVE_GATEWAY__PORT": "9999",
            "GOLIVE_SLO__ERROR_RATE__ALERT_IF": "> 9%",
            "GOLIVE_SLO__ERROR_RATE__CANARY__TARGET": "<= 3%",
            "GOLIVE_GATES__PREFLIGHT": "health, smoke",
            "GOLIVE_ROLLOUT__STAGES": '[{ weight = 5, soak = "1m" }, { weight = 100 }]',
            "GOLIVE_DEPLOY__ENV__Some_Name": "x",
            "GOLIVE_DEPLOY__COMMAND": "run --port {port}",
            "GOLIVE_APPROVALS__PREVENT_SELF_REVIEW": "off",
            "GOLIVE_SERVICE": "renamed",
            "GOLIVE_DEBUG": "1",
            "GOLIVE_VERSION": "v1",
            "GOLIVE_ROLLOUT__WATCH": "  ",
        },
        "staging",
    )
    assert settings.gateway.port == 9999
    assert str(settings.slo["error_rate"].alert_if) == "> 9%"
    assert str(settings.slo["error_rate"].for_phase("canary").target) == "<= 3%"
    assert settings.gates.preflight == ["health", "smoke"]
    assert [stage.weight for stage in settings.rollout.stages or ()] == [5, 100]
    assert settings.deploy.env == {"Some_Name": "x"}
    assert settings.deploy.command == ["run", "--port", "{port}"]
    assert settings.approvals.prevent_self_review is False
    assert settings.service == "renamed"
    assert settings.rollout.watch == timedelta(hours=24)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("GOLIVE_ROLOUT__WATCH", "1h", 'unknown setting "rolout" at the top, did you mean "rollout"?'),
        ("GOLIVE_ROLLOUT__STAGES__0__WEIGHT", "1", "rollout.stages is a list; set all of it at once, in TOML."),
        ("GOLIVE_GATEWAY__PORT__X", "1", "gateway.port has nothing below it."),
        ("GOLIVE_ROLLOUT__STAGES", "[{", "expected TOML: "),
        ("GOLIVE_GATEWAY__PORT", "http", "gateway.port: expected a whole number, got 'http'."),
        ("GOLIVE_ROLLOUT__WATCH", "30", "rollout.watch: expected a duration such as \"30m\", got '30'."),
        ("PG_IDLE_TIMEOUT_MS", "soon", "expected a number of milliseconds, got 'soon'."),
        ("PG_MAX", "-1", "db.pool_max: expected at least 1, got '-1'."),
        ("DEPLOY_ERROR_THRESHOLD", "1.5", "expected a share between 0 and 1, got '1.5'."),
        ("DEPLOY_P99_THRESHOLD", "NaN", "expected a number that is not negative, got 'NaN'."),
        ("REQUIRE_AUTH", "perhaps", "chassis.require_auth: expected true or false, got 'perhaps'."),
    ],
)
def test_a_wrong_variable_is_named(faults: Faults, variable: str, value: str, expected: str) -> None:
    """The message begins with the variable, because that is what has to be changed."""
    found = faults("", {variable: value})
    assert len(found) == 1, found
    assert found[0].startswith(f"variable {variable}")
    assert expected in found[0]


def test_the_documents_own_names_are_understood(load: Load) -> None:
    """Both spellings of the pool, milliseconds, thresholds, and the service's switches."""
    settings = load(
        "",
        {
            "PG_MAX": "2", "PG_MIN": "0", "PG_IDLE_TIMEOUT_MS": "30000", "PG_CONNECTION_TIMEOUT_MS": "1500",
            "BLOCKS_CONCURRENCY": "6", "BLOCKS_TIMEOUT_MS": "45000", "ENABLE_BACKGROUND_WORKER": "true",
            "CORS_ORIGINS": "https://a.example, https://b.example", "CORS_ALLOW_CREDENTIALS": "true",
            "REQUIRE_AUTH": "1", "REDIS_URL": "redis://r:6379",
            "RATE_LIMIT_REDIS_URL": "redis://l:6379", "SENTRY_DSN": "https://k@s.example/1",
            "DEPLOY_ERROR_THRESHOLD": "0.01", "DEPLOY_P99_THRESHOLD": "1000", "DEPLOY_MEMORY_THRESHOLD": "0.8",
            "DEPLOY_CPU_THRESHOLD": "0.7", "SHUTDOWN_GRACE_SECONDS": "20", "GOLIVE_JOBS_LEASE": "10s",
        },
    )  # fmt: skip
    assert (settings.db.pool_min, settings.db.pool_max) == (0, 2)
    assert settings.db.connect_timeout == timedelta(seconds=1.5)
    assert (settings.jobs.concurrency, settings.jobs.embedded) == (6, True)
    assert (settings.jobs.timeout, settings.jobs.lease) == (timedelta(seconds=45), timedelta(seconds=10))
    assert settings.chassis.cors_origins == ["https://a.example", "https://b.example"]
    assert settings.chassis.grace == timedelta(seconds=20)
    rows = {name: (str(row.target), str(row.alert_if)) for name, row in settings.slo.items()}
    assert rows == {
        "error_rate": ("<= 1%", "> 1%"), "latency_p99": ("<= 1s", "> 1s"),
        "memory_ratio": ("<= 80%", "> 80%"), "cpu_ratio": ("<= 70%", "> 70%"),
    }  # fmt: skip
    assert settings.slo["error_rate"].judge(0.011).verdict == "FAIL"
    assert settings.slo["error_rate"].judge(0.009).verdict == "PASS"
    assert settings.slo["latency_p99"].judge(1.001).verdict == "FAIL"


def test_two_aliases_that_disagree_are_a_fault_and_two_that_agree_are_not(load: Load, faults: Faults) -> None:
    """PG_MAX=2 and DB_POOL_MAX=20 cannot both be meant, and golive's own name is no different."""
    assert faults("", {"PG_MAX": "2", "DB_POOL_MAX": "20"}) == [
        "variable DB_POOL_MAX: disagrees with PG_MAX; both set db.pool_max. Set one of them."
    ]
    assert "jobs.timeout" in faults("", {"BLOCKS_TIMEOUT_MS": "30000", "GOLIVE_JOBS_TIMEOUT": "31s"})[0]
    assert load("", {"PG_MAX": "2", "DB_POOL_MAX": "2"}).db.pool_max == 2
    assert load("", {"BLOCKS_TIMEOUT_MS": "30000", "GOLIVE_JOBS_TIMEOUT": "30s"}).jobs.timeout.seconds == 30
    assert "both set db.pool_max" in faults("", {"PG_MAX": "2", "GOLIVE_DB__POOL_MAX": "7"})[0]
    assert load("", {"GOLIVE_JOBS_LEASE": "60s", "GOLIVE_JOBS__LEASE": "1m"}).jobs.lease.seconds == 60


def test_every_value_knows_where_it_comes_from(load: Load) -> None:
    """Default, file, environment table, alias, variable: the place as a person would look it up."""
    settings = load(ENVIRONMENTS, {"PG_MAX": "2", "GOLIVE_ROLLOUT__WATCH": "1h"}, "staging")
    origins = {path: str(origin) for path, origin in settings_origins(settings).items()}
    assert origins["slo", "error_rate", "target"] == "golive.toml:3:16"
    assert origins["slo", "error_rate", "alert_if"] == "golive.toml:8:16"
    assert origins["slo", "error_rate", "window"] == "default"
    assert origins["gateway", "port"] == "golive.toml:7:9"
    assert origins["rollout", "stages"] == "golive.toml:9:9"
    assert origins["rollout", "watch"] == "variable GOLIVE_ROLLOUT__WATCH"
    assert origins["db", "pool_max"] == "variable PG_MAX"
    assert origins["deploy", "stop_timeout"] == origins["service",] == "default"
    assert settings.origin("gateway", "port").kind == "environment"


def test_the_real_environment_is_read_when_none_is_given(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`environ` is for tests; a process reads its own."""
    (project / "golive.toml").write_text("")
    monkeypatch.setenv("GOLIVE_GATEWAY__PORT", "9321")
    assert "GOLIVE_GATEWAY__PORT" in os.environ
    assert load_settings().gateway.port == 9321


def test_a_large_file_loads_in_reasonable_time(load: Load) -> None:
    """Two thousand variables for a version are read within seconds: nothing is quadratic enough to hurt."""
    text = "[deploy.env]\n" + "".join(f'NAME_{n} = "value {n}"\n' for n in range(2000))
    began = time.monotonic()
    assert len(load(text).deploy.env) == 2000
    assert time.monotonic() - began < 10
