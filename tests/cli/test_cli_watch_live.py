"""`golive watch` on a real terminal (a pty), over a journal that somebody else writes."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from golive.rollout.journal import Answer, Journal
from golive.rollout.lease import Lease
from golive.rollout.machine import replay
from golive.testing.simulator import Faults

pytestmark = pytest.mark.process
PATIENCE = 40.0


class Terminal:
    """A golive command on a terminal of its own."""

    def __init__(self, process, master):
        self.process, self.master, self.text = process, master, ""

    def read_until(self, wanted, *, since=0):
        """Wait until *wanted* was written after position *since*; returns where the text ends now."""
        deadline = time.monotonic() + PATIENCE
        while wanted not in self.text[since:]:
            assert time.monotonic() < deadline, f"never saw {wanted!r} in {self.text[-3000:]!r}"
            if not self._read():
                break
        assert wanted in self.text[since:], self.text[-3000:]
        return len(self.text)

    def _read(self):
        ready, _, _ = select.select([self.master], [], [], 0.2)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace"))
        return bool(data)

    def press(self, key):
        os.write(self.master, key.encode())

    def end(self):
        """Read to the end; the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read() and self.process.poll() is None and time.monotonic() < deadline:
            pass
        while select.select([self.master], [], [], 0.1)[0] and self._read():
            pass
        return self.process.wait(PATIENCE)


@pytest.fixture
def project(tmp_path):
    """A project whose journal is written by the test."""
    (tmp_path / "golive.toml").write_text(
        'service = "web"\napp = "app:app"\n[slo]\nerror_rate = { target = "<= 1%", alert_if = "> 2%" }\n'
    )
    (tmp_path / ".golive").mkdir()
    return tmp_path


@contextmanager
def terminal(project, *arguments, **environ):
    """Run golive with *arguments* on a pty of 100 x 30."""
    master, slave = pty.openpty()
    env = {**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm-256color", "LANG": "C.UTF-8", **environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "golive", *arguments], cwd=project, env=env, stdin=slave, stdout=slave, stderr=slave,
        start_new_session=True,
        preexec_fn=_own_terminal,  # noqa: PLW1509 - a controlling terminal is what makes Control-C a signal
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)


def _own_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Script:
    """Writes the journal of *project* entry by entry, as a controller that holds the lease."""

    def __init__(self, project, entries):
        self.journal = Journal(project / ".golive" / "golive.db")
        self.entries, self.written = list(entries), []
        self.lease = Lease(self.journal.connection, "web")

    def write(self, until_phase, stage=None):
        """Append up to the entry that entered this phase."""
        self.lease.acquire(datetime.now(UTC)) if not self.lease.fence else self.lease.renew(datetime.now(UTC))
        while self.entries:
            entry = self.entries.pop(0)
            self.written.append(entry.event)
            self.journal.append(entry.event, replay(self.written), None, fence=self.lease.fence)
            if entry.phase == until_phase and stage in (None, entry.stage):
                return

    def answer(self, verb, text, code=0):
        """Wait for a request of that verb and answer it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.lease.renew(datetime.now(UTC))
            for request in self.journal.requests("web"):
                assert request.verb == verb
                answer = Answer(request.id, code, text)
                self.journal.answer(answer, datetime.now(UTC), service="web", fence=self.lease.fence)
                return request
            time.sleep(0.02)
        raise AssertionError(f"nobody asked for {verb}")

    def die(self):
        """The controller is gone; its journal stays."""
        self.lease.release(datetime.now(UTC))


def test_the_view_follows_a_rollout_to_its_end(project, journey):
    """Stages, a controller that dies and comes back, and the end with the exit code of a rollback."""
    script = Script(project, journey(Faults(error_ratio=0.5)))
    script.write("soaking", 0)
    with terminal(project, "watch") as screen:
        screen.read_until("SOAKING")
        script.die()
        at = screen.read_until("no controller runs")
        script.write("rolled_back")
        screen.read_until("ROLLED BACK", since=at)
        assert screen.end() == 4
        assert "ROLLED BACK after" in screen.text
        assert "q leave" in screen.text


def test_q_leaves_and_the_rollout_goes_on(project, journey):
    """Leaving is no failure, and asks the controller for nothing."""
    script = Script(project, journey(Faults()))
    script.write("soaking", 1)
    with terminal(project, "watch", "web-1") as screen:
        screen.read_until("SOAKING")
        screen.press("q")
        assert screen.end() == 0
    assert script.journal.requests("web") == []
    assert not script.journal.rollout("web-1").final


def test_control_c_ends_with_130_and_says_that_the_rollout_goes_on(project, journey):
    """Control-C on the terminal reaches the view as a signal, and only the view ends."""
    script = Script(project, journey(Faults()))
    script.write("soaking", 1)
    with terminal(project, "watch") as screen:
        screen.read_until("SOAKING")
        screen.press("\x03")
        assert screen.end() == 130
        assert "the rollout goes on: golive watch web-1" in screen.text


def test_abort_asks_once_and_shows_the_answer(project, journey):
    """x alone does nothing; any key but y takes it back; x y sends the request without stopping the view."""
    script = Script(project, journey(Faults()))
    script.write("soaking", 1)
    with terminal(project, "watch") as screen:
        screen.read_until("SOAKING")
        screen.press("x")
        screen.read_until("all traffic back to v1?")
        screen.press("n")
        screen.press("x")
        screen.press("y")
        at = screen.read_until("abort: asking the controller")
        assert script.answer("abort", "rollout web-1: taking all traffic back to v1").actor
        screen.read_until("taking all traffic back to v1", since=at)
        screen.press("q")
        assert screen.end() == 0


def test_approve_and_a_refusal_are_shown(project, journey):
    """a is offered while somebody is waited for; the controller's refusal stands above the keys."""
    script = Script(project, journey(Faults(people=((900, "approve"),)), approvals=(None, "eng-leads", None, None)))
    script.write("waiting")
    with terminal(project, "watch") as screen:
        screen.read_until("approve 25 %")
        screen.press("a")
        script.answer("approve", "rollout web-1: ada is not in the group eng-leads.", 6)
        screen.read_until("ada is not in the group")
        screen.press("w")
        screen.read_until("error_rate: canary")
        screen.press("q")
        assert screen.end() == 7


def test_a_locale_without_utf8_gets_ascii(project, journey):
    """Not one character beyond ASCII reaches such a terminal."""
    script = Script(project, journey(Faults()))
    script.write("soaking", 1)
    with terminal(project, "watch", LANG="C", LC_ALL="C", NO_COLOR="1") as screen:
        screen.read_until("SOAKING")
        screen.press("q")
        assert screen.end() == 0
        assert screen.text.isascii()


def test_without_a_terminal_it_is_plain_lines(project, journey):
    """One line per event, no control characters; -o ndjson is the journal itself; -o json the end."""
    script = Script(project, journey(Faults(error_ratio=0.5)))
    script.write("rolled_back")

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "golive", "watch", *arguments], cwd=project, capture_output=True, text=True
        )

    plain = run()
    assert plain.returncode == 4
    assert "\x1b" not in plain.stdout
    assert "ROLLED BACK after 30.0 s: failed requests: canary" in plain.stdout
    assert run("-o", "ndjson").stdout.count('"schema":"golive/rollout/v1"') == len(script.written)
    assert '"phase": "rolled_back"' in run("-o", "json").stdout
    unknown = run("web-9")
    assert unknown.returncode == 2
    assert "web-9: there is none of that name" in unknown.stderr


def test_without_any_rollout_it_says_how_to_start_one(project):
    """A project that never shipped is told what to do."""
    result = subprocess.run([sys.executable, "-m", "golive", "watch"], cwd=project, capture_output=True, text=True)
    assert result.returncode == 2
    assert "golive ship VERSION" in result.stderr
