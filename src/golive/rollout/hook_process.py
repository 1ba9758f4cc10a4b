"""
The process that runs one hook: python -I -S hook_process.py FOLDER TIMEOUT_SECONDS COMMAND...

It is started by the controller and outlives it. What makes a hook run once is the *claim*: a file that appears in
FOLDER whole and at most once (a hard link), flushed to the disk before the command begins, and locked for as long as
this process lives. Whoever comes later, another controller or this one after a kill -9, reads the folder:

    no claim                 it never began, and may be started; of two that start it one gets the claim
    claim, locked            it runs; wait
    claim, free, outcome     it ended: {"exit_code": 1, "timed_out": false, "seconds": 3.2}
    claim, free, no outcome  this process died with the machine, or was killed: nobody knows

Imports nothing of golive and little else, so that it starts in some milliseconds with any interpreter.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import FileIO

OUTPUT_MAX = 1024 * 1024
"""Bytes of output that are kept; of what comes after only the last *TAIL_MAX*."""
TAIL_MAX = 64 * 1024
GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL after the time-out, and for output that children left behind still send."""
CLAIM, OUTCOME, OUTPUT = "claim", "outcome.json", "output"


def main(arguments: list[str]) -> int:
    """0 when the hook was run, 75 when somebody else has the claim."""
    folder, seconds, command = arguments[0], float(arguments[1]), arguments[2:]
    if not claim(folder):
        return 75
    began = time.monotonic()
    with open(os.path.join(folder, OUTPUT), "wb", buffering=0) as output:
        exit_code, timed_out = run(command, seconds, output)
    outcome = {"exit_code": exit_code, "timed_out": timed_out, "seconds": round(time.monotonic() - began, 3)}
    publish(folder, OUTCOME, json.dumps(outcome).encode(), os.replace)
    return 0


def claim(folder: str) -> bool:
    """Whether this process is the one that runs the hook; the lock lasts until it ends."""
    mine = os.open(os.path.join(folder, f".{CLAIM}.{os.getpid()}"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    fcntl.flock(mine, fcntl.LOCK_EX)
    try:
        publish(folder, CLAIM, str(os.getpid()).encode(), os.link)
    except FileExistsError:
        return False
    return True  # the descriptor stays open on purpose


def publish(folder: str, name: str, content: bytes, move: Callable[[str, str], None]) -> None:
    """Have *content* appear as *name*, whole and durable."""
    fresh = os.path.join(folder, f".{name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, content)
    os.fsync(descriptor)
    os.close(descriptor)
    move(fresh, os.path.join(folder, name))
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def run(command: Sequence[str], seconds: float, output: FileIO) -> tuple[int | None, bool]:
    """Run *command*; its exit code (None when it could not be started) and whether its time ran out."""
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        output.write(f"{command[0]}: {error.strerror}\n".encode())
        return None, False
    keep = Keeper(output)
    timed_out = not drain(child, keep, time.monotonic() + seconds)
    if timed_out:
        signal_group(child.pid, signal.SIGTERM)
        if not drain(child, keep, time.monotonic() + GRACE_SECONDS):
            signal_group(child.pid, signal.SIGKILL)
            child.wait()
    keep.finish()
    return child.returncode, timed_out


def drain(child: subprocess.Popen[bytes], keep: Keeper, deadline: float) -> bool:
    """Read what *child* prints until it ends; False at the *deadline*. A child's child may keep the pipe open."""
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    os.set_blocking(descriptor, False)
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            open_still = not selector.select(0.05) or keep.take(descriptor)
            if child.poll() is not None:
                while keep.take(descriptor):
                    pass
                return True
            if not open_still:
                selector.unregister(descriptor)
                return wait(child, deadline)
    return False


def wait(child: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait for a child that prints no more; False at the *deadline*."""
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


class Keeper:
    """Keeps the beginning of the output as it comes, and the end of what is too much."""

    def __init__(self, output: FileIO) -> None:
        self.output = output
        self.size = 0
        self.tail = b""

    def take(self, descriptor: int) -> bool:
        """Read once; False when there is nothing now, or ever."""
        try:
            chunk = os.read(descriptor, 65536)
        except BlockingIOError:
            return False
        room = max(0, OUTPUT_MAX - self.size)
        self.output.write(chunk[:room])
        self.tail = (self.tail + chunk[room:])[-TAIL_MAX:]
        self.size += len(chunk)
        return bool(chunk)

    def finish(self) -> None:
        """Write the end, with a mark where something is missing."""
        missing = self.size - OUTPUT_MAX - len(self.tail)
        if missing > 0:
            self.output.write(f"\n... {missing:,} bytes were left out ...\n".encode())
        self.output.write(self.tail)


def signal_group(pid: int, number: int) -> None:
    """Its whole session, children included."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
