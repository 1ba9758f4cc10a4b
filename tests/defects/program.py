"""
A service for gates that start, stop and starve one: ``program.py PORT [DEFECT]``. Standard library only, so that it
starts at once. What it depends on is in its environment: CORS_ORIGINS, UPSTREAM, DATABASE.
"""

import asyncio
import os
import signal
import sqlite3
import sys

PORT, DEFECT = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
STATE = {"draining": False, "lost": False}


def check_configuration() -> None:
    wrong = [each for each in os.environ.get("CORS_ORIGINS", "").split(",") if each and not each.startswith("https://")]
    if wrong and DEFECT != "config-refusal: it starts all the same":
        if DEFECT == "config-refusal: it ends as if all were well":
            sys.exit(0)
        print("refused" if DEFECT == "config-refusal: nobody learns which setting" else "CORS_ORIGINS: not an origin")
        sys.exit(2)


async def upstream_answers() -> bool:
    address = os.environ.get("UPSTREAM", "")
    if not address:
        return True
    host, _, port = address.partition(":")
    try:
        async with asyncio.timeout(None if DEFECT == "dependency: readiness hangs with it" else 0.3):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"ping\n")
            answer = await reader.readline()
            writer.close()
            return answer == b"pong\n"
    except (OSError, TimeoutError):
        return False


async def respond(path: str) -> tuple[int, str]:
    if path == "/livez":
        if DEFECT == "dependency: liveness follows it":
            return (200, "ok") if await upstream_answers() else (503, "no")
        return (
            (503, "draining") if STATE["draining"] and DEFECT == "drain-health: it calls itself dead" else (200, "ok")
        )
    if path == "/health/ready":
        if STATE["draining"]:
            return (200, "ok") if DEFECT == "drain-health: it stays ready" else (503, "draining")
        good = await upstream_answers() or DEFECT == "dependency: nobody notices"
        STATE["lost"] = STATE["lost"] or not good
        if STATE["lost"] and DEFECT == "dependency: it never comes back":
            return 503, "lost"
        return (200, "ok") if good else (503, "no upstream")
    if path == "/slow":
        await asyncio.sleep(0.9)
        return 200, "done"
    if path == "/orders":
        try:
            with sqlite3.connect(os.environ["DATABASE"]) as database:
                return 200, str(database.execute("select id, note from orders").fetchall())
        except sqlite3.Error as error:
            return 500, str(error)
    return 404, "no such path"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    status, body = await respond(head.split(b" ")[1].decode())
    writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
    writer.close()


async def main() -> None:
    check_configuration()
    ended = asyncio.Event()

    def stop() -> None:
        STATE["draining"] = True
        asyncio.get_running_loop().call_later(1.0, ended.set)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    await asyncio.start_server(serve, "127.0.0.1", PORT)
    await ended.wait()


asyncio.run(main())
