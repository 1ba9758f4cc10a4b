"""example.toml is documentation and test data at once: it holds every setting, and its defaults are true."""

import dataclasses
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_origin

import pytest

import golive.config
from golive.chassis.settings import ChassisSettings
from golive.config import Settings, load_settings
from golive.config.locate import locate
from golive.config.render import NOT_YET, json_schema
from golive.config.sections import METHODS, Section, SmokeRequest
from golive.config.settings import leaves
from golive.config.shape import annotation_at, keys_at
from golive.jobs.settings import JobsSettings
from golive.load.plan import LoadPlan
from golive.slo.indicators import INDICATORS
from golive.slo.table import KEYS, PHASES

EXAMPLE = Path(golive.config.__file__).with_name("example.toml")
TEXT = EXAMPLE.read_text()


def model_keys(at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every setting of the model; of a list of tables the keys of one element."""
    for key in keys_at(at):
        path = (*at, key)
        kind = annotation_at(path)
        if get_origin(kind) is list and keys_at((*path, "0")):
            yield from model_keys((*path, "0"))
        elif isinstance(kind, type) and issubclass(kind, Section):
            yield from model_keys(path)
        else:
            yield path


def written_keys() -> set[tuple[str, ...]]:
    """Every key the example writes, list indexes folded into one."""
    return {tuple("0" if isinstance(part, int) else part for part in path) for path in locate(TEXT)}


def test_the_example_loads_as_it_stands_in_every_environment() -> None:
    """Without any variable set, because each has a default."""
    settings = load_settings(EXAMPLE, environ={})
    assert settings.service == "checkout-api"
    assert settings.rollout.stages is not None
    assert load_settings(EXAMPLE, environ={}, environment="staging").gateway.port == 8100


def test_the_example_holds_every_setting_there_is() -> None:
    """A setting without an entry is not documented, and the build says which one it is."""
    requests = {path for path in model_keys() if annotation_at(path[:-1]) is SmokeRequest}
    told_once = {path for path in requests if path[:3] != ("gates", "smoke", "requests") or path[-1] in METHODS}
    assert set(model_keys()) - written_keys() - told_once == set()
    assert {key for key in KEYS if f"{key} = " not in TEXT} == set()
    assert {phase for phase in PHASES if f"\n{phase}." not in TEXT} == set()
    for word in (*METHODS, *INDICATORS):
        assert word in TEXT, word


def test_what_the_example_calls_a_default_is_one() -> None:
    """Every line without "(example)" says the value golive has when nobody says anything."""
    spots, lines = locate(TEXT), TEXT.split("\n")
    default = dict(leaves(Settings(app="main:app", service="checkout-api")))
    example = dict(leaves(load_settings(EXAMPLE, environ={})))
    checked = 0
    for path, value in example.items():
        spot = spots.get(path)
        if spot is None or path[0] == "environments" or path == ("state_dir",):
            continue
        line = lines[TEXT.count("\n", 0, spot.key)]
        if "(example)" not in line:
            assert default[path] == value, path
            checked += 1
    assert checked > 60


@pytest.mark.parametrize(
    ("section", "room"), [("chassis", ChassisSettings), ("jobs", JobsSettings)], ids=["chassis", "jobs"]
)
def test_the_tables_of_the_rooms_are_the_rooms_own_settings(section: str, room: Any) -> None:
    """Same names, same defaults: the rooms run where this package is not loaded; only a test holds them together."""
    theirs = {field.name: getattr(room(), field.name) for field in dataclasses.fields(room)}
    ours = getattr(Settings(), section)
    # said elsewhere, or by the code that makes the handlers
    elsewhere = {"service", "version", "alive_file", "environment", "latency_edges_seconds"}
    elsewhere |= {"backoff_base", "backoff_max", "payload_bytes_max", "result_bytes_max"}
    elsewhere |= {name for name in theirs if name.startswith("db_")}  # the table [db]; see below
    acted_upon = {key for key in type(ours).model_fields if (section, key) not in NOT_YET}
    missing = set(theirs) - elsewhere - acted_upon
    assert not missing, f"add to {section} in config/sections.py and config/example.toml: {sorted(missing)}"
    assert acted_upon <= set(theirs), "a setting the room does not know does nothing"
    for key in acted_upon:
        mine = getattr(ours, key)
        assert (tuple(mine) if isinstance(mine, list) else mine) == theirs[key], key


def test_the_table_of_the_pool_is_the_chassis_own() -> None:
    """``[db] pool_max`` is the chassis' ``db_pool_max``, and so on for each."""
    theirs = {
        field.name.removeprefix("db_"): field.default
        for field in dataclasses.fields(ChassisSettings)
        if field.name.startswith("db_")
    }
    assert {key: getattr(Settings().db, key) for key in type(Settings().db).model_fields} == theirs


def test_the_defaults_of_a_load_run_are_the_engines_own() -> None:
    """`golive load` without options does what the library does."""
    plan, ours = LoadPlan("http://127.0.0.1"), Settings().load
    assert (ours.rate, ours.users, ours.connections_max, ours.arrivals) == (
        plan.rate, plan.users, plan.connections_max, plan.arrivals,
    )  # fmt: skip
    assert (ours.duration.total_seconds(), ours.timeout.total_seconds()) == (plan.duration, plan.timeout)


def conforms(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "") -> Iterator[str]:
    """The part of JSON Schema our schema uses, checked the plain way; yields what does not conform."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in schema:
        if all(any(conforms(value, choice, root)) for choice in schema["anyOf"]):
            yield f"{at}: {value!r} is none of {schema['anyOf']}"
        return
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": int | float, "boolean": bool}
    if "type" in schema and schema["type"] != "null" and not isinstance(value, kinds[schema["type"]]):  # type: ignore[arg-type]
        yield f"{at}: {value!r} is no {schema['type']}"
    elif schema.get("type") == "null":
        yield f"{at}: {value!r} is not null"
    elif isinstance(value, dict):
        for key, inner in value.items():
            below = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
            if below is False:
                yield f"{at}.{key} is unknown"
            elif isinstance(below, dict):
                yield from conforms(inner, below, root, f"{at}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from conforms(inner, schema.get("items", {}), root, f"{at}.{number}")
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"


def test_the_json_schema_accepts_the_example_and_refuses_what_golive_refuses() -> None:
    """An editor that follows the schema agrees with golive about keys and kinds of value."""
    schema = json_schema()
    assert list(conforms(tomllib.loads(TEXT), schema, schema)) == []
    for text, expected in [
        ("wach = 1", ".wach is unknown"),
        ("[gateway]\nport = '80'", ".gateway.port: '80' is no integer"),
        ("[rollout]\npace = 'x'", ".rollout.pace: 'x' is none of"),
        ("[slo.error_rate]\ntarge = '< 1%'", ".slo.error_rate.targe is unknown"),
        ("[environments.a.gateway]\nprot = 1", ".environments.a.gateway.prot is unknown"),
        ("[environments.a]\nservice = 'x'", ".environments.a.service is unknown"),
    ]:
        found = list(conforms(tomllib.loads(text), schema, schema))
        assert len(found) == 1
        assert found[0].startswith(expected)
