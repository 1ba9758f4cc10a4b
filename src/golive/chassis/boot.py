"""
From a name to a running app while the port already answers: import in a thread, lifespan in a task.

The import runs in a daemon thread, so that a SIGTERM in the middle of a ten-second import still ends the process at
once. That thread sees the server's event loop as its current one: libraries that make a queue or a lock at import time
find the loop they will run on. What cannot work there: installing signal handlers at import time (Python allows that
in the main thread only).
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
from typing import Any

from golive.chassis.types import ASGIApp, Message
from golive.errors import UsageError, did_you_mean


class BootError(Exception):
    """
    The app could not be started.

    Attributes:
        step: ``"import"`` or ``"lifespan"``.
        cause: what was raised, or None when the app reported the failure itself.
    """

    def __init__(self, step: str, cause: BaseException | None, message: str = "") -> None:
        super().__init__(message or f"{type(cause).__name__}: {cause}")
        self.step = step
        self.cause = cause


def load_app(target: str, *, factory: bool = False) -> ASGIApp:
    """
    The ASGI app called *target*, ``module:attribute``; with *factory* the attribute is called to make it.

    Raises: UsageError when *target* is malformed or names nothing; whatever the module raises otherwise.
    """
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        raise UsageError(f'expected an app such as "main:app", got {target!r}. Write module:attribute.')
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise  # the module exists and one of its own imports does not: that is the error to show
        raise UsageError(f"{target}: no module {error.name!r} in {folder} or on the path.") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{target}: {module_name} has no {part!r}{did_you_mean(part, dir(found))}")
        found = getattr(found, part)
    app = found() if factory else found
    if not callable(app):
        raise UsageError(f"{target}: expected an ASGI app, got a {type(app).__name__}.")
    return app  # type: ignore[no-any-return]


async def load_in_thread(target: str, *, factory: bool = False) -> ASGIApp:
    """As :func:`load_app`, off the event loop. Raises: BootError."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[ASGIApp] = loop.create_future()

    def settle(app: ASGIApp | None, error: BaseException | None) -> None:
        if loaded.done():
            return
        if error is not None:
            loaded.set_exception(BootError("import", error))
        else:
            assert app is not None
            loaded.set_result(app)

    def work() -> None:
        asyncio.set_event_loop(loop)
        app, failure = None, None
        try:
            app = load_app(target, factory=factory)
        except BaseException as error:  # SystemExit too: a module may call sys.exit
            failure = error
        try:
            loop.call_soon_threadsafe(settle, app, failure)
        except RuntimeError:  # the loop is gone: the process is ending
            pass

    threading.Thread(target=work, name="golive-import", daemon=True).start()
    return await loaded


class Lifespan:
    """
    The lifespan of an ASGI app, driven from outside.

    Args:
        app: an app whose lifespan has not been started.
        state: filled by the app; each request gets a copy as ``scope["state"]``.

    Attributes:
        refusal: what the app raised. Before any message of its own that means "no lifespan" (ASGI lifespan spec).
    """

    def __init__(self, app: ASGIApp, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.refusal: Exception | None = None

    async def startup(self) -> None:
        """Returns when the app has started, or has no lifespan. Raises: BootError when it says that it failed."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        self._task = asyncio.create_task(self._run(scope), name="lifespan")
        await self._inbox.put({"type": "lifespan.startup"})
        answer = await self._outbox.get()
        if answer["type"] == "lifespan.startup.failed":
            raise BootError("lifespan", None, answer.get("message") or "the app reported that its startup failed")

    async def shutdown(self, timeout_seconds: float) -> None:
        """Ask the app to clean up and wait for it at most *timeout_seconds*."""
        if self._task is None or self._task.done():
            return
        await self._inbox.put({"type": "lifespan.shutdown"})
        await asyncio.wait({self._task}, timeout=timeout_seconds)
        self._task.cancel()

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._inbox.get, self._outbox.put)
        except Exception as error:
            self.refusal = error
        finally:
            await self._outbox.put({"type": "lifespan.ended"})
