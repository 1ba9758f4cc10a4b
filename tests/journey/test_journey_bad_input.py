"""Nonsense in, one clear line out, the right exit code, and traffic untouched."""

from __future__ import annotations

import socket
from typing import Any

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("[{ weight = 50 }, { weight = 10 }, { weight = 100 }]", "only go up"),
        ("[{ weight = 50 }, { weight = 150 }]", "100"),
        ("[]", "stages"),
        ("[{ weight = 100 }]", "blue-green"),
        ("[{ weight = 10 }, { weight = 50 }]", "100"),
        ("[{ weight = 10, soak = 30 }, { weight = 100 }]", "duration"),
    ],
    ids=["descending", "over 100", "empty", "all at once", "never ends", "no unit"],
)
def test_impossible_stages_are_refused_before_anything_moves(bare_project: Any, stages: str, said: str) -> None:
    """Each fault is named with its file, line and column; nothing is started."""
    config = bare_project.folder / "golive.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith("stages")]
    config.write_text("\n".join(lines).replace('watch = "1s"', f'watch = "1s"\nstages = {stages}'))
    done = bare_project.run("up")
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "golive.toml:" in done.stderr
    assert not (bare_project.folder / ".golive" / "gateway").exists()


def test_an_unknown_key_is_named_with_its_place_and_a_suggestion(bare_project: Any) -> None:
    """file:line:col, and what was probably meant."""
    config = bare_project.folder / "golive.toml"
    config.write_text(config.read_text().replace("[gateway]\nport", "[gateway]\nprot"))
    done = bare_project.run("up")
    assert done.returncode == 2
    assert "golive.toml:6:1" in done.stderr
    assert "port" in done.stderr


def test_a_taken_port_is_named_with_its_owner(bare_project: Any) -> None:
    """Somebody else listens there: exit 2, nothing started."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        config = bare_project.folder / "golive.toml"
        config.write_text(config.read_text().replace("port = 0", f"port = {port}"))
        done = bare_project.run("up")
    assert done.returncode == 2
    assert f"port {port}" in done.stderr


def test_a_damaged_journal_is_named_and_left_alone(bare_project: Any) -> None:
    """A file that is no database: exit 2 with what to do, and the file is as it was."""
    state = bare_project.folder / ".golive"
    state.mkdir()
    (state / "golive.db").write_bytes(b"this is not a database, it only looks like one from afar")
    for words in (["up"], ["status"], ["ship", "v2"], ["abort"], ["verify"]):
        done = bare_project.run(*words)
        assert done.returncode == 2, words
        assert "golive.db" in done.stderr
        assert "Traffic is untouched" in done.stderr
        assert "Traceback" not in done.stderr
    assert (state / "golive.db").read_bytes().startswith(b"this is not")


def test_without_a_controller_requests_say_what_to_do(bare_project: Any) -> None:
    """Nothing runs: exit 2 and the command that helps."""
    for words in (["ship", "v2"], ["pause"], ["resume"], ["approve"], ["reject"], ["abort"]):
        done = bare_project.run(*words)
        assert done.returncode == 2, words
        assert "golive up" in done.stderr


def test_versions_that_do_not_exist_are_refused_by_name(project: Any) -> None:
    """No path out of the release folder, no unknown rollout, no version twice; traffic as it was."""
    before = project.status()["traffic"]
    for version in ("../etc", "a b", "", "-x" * 40):
        done = project.run("ship", "--", version)
        assert done.returncode == 2, version
        assert "Traceback" not in done.stderr
    assert project.run("ship", "v1").returncode == 6
    assert project.run("verify", "web-99").returncode == 2
    assert project.run("ship", "v2", "--preset", "progresive").stderr.count('did you mean "progressive"') == 1
    assert project.run("ship", "v2", "--timeout", "soon").returncode == 2
    assert project.status()["traffic"] == before


def test_the_release_source_names_near_versions(bare_project: Any) -> None:
    """With releases as folders, a typing error is answered with the nearest one."""
    config = bare_project.folder / "golive.toml"
    config.write_text(config.read_text() + '\n[release]\nsource = "path"\npath = "releases/{version}"\n')
    for version in ("v1.0", "v1.1"):
        (bare_project.folder / "releases" / version).mkdir(parents=True)
        (bare_project.folder / "main.py").read_text()
        text = (bare_project.folder / "main.py").read_text()
        (bare_project.folder / "releases" / version / "main.py").write_text(text)
    bare_project.ok("up", "--detach", "--version", "v1.0")
    done = bare_project.run("ship", "v1.l")
    assert done.returncode == 2
    assert 'did you mean "v1.' in done.stderr
    assert bare_project.status()["rollouts"] == []


def test_a_release_in_a_freeze_is_refused_unless_somebody_says_why(project: Any) -> None:
    """Exit 6 with the end of the freeze, nothing moves; an override goes through and is journalled."""
    config = project.folder / "golive.toml"
    before = config.read_text()
    config.write_text(before.replace('pace = "demo"', 'pace = "demo"\nfreeze = ["2000-01-01 - 2999-12-31"]'))
    try:
        done = project.run("ship", "v2")
        assert done.returncode == 6, done.stdout + done.stderr
        assert "frozen until 3000-01-01" in done.stderr
        assert project.status()["rollouts"] == []
        project.write(broken=False, note="urgent")
        rollout = project.ok("ship", "v2", "--detach", "--override", "security fix").strip()
        project.ok("abort")
        seen = project.run("watch", rollout, "-o", "ndjson").stdout
        assert '"override":"security fix"' in seen
    finally:
        config.write_text(before)


def test_help_answers_for_every_verb(bare_project: Any) -> None:
    """Each verb explains itself."""
    listed = bare_project.ok("--help")
    for verb in ("init", "up", "ship", "status", "abort", "check", "load", "demo", "plan", "watch", "explain"):
        assert verb in listed
        assert "Usage" in bare_project.ok(verb, "--help")
