"""
A server whose behaviour is known exactly, in a process of its own: the truth the load engine is tested against.

Prints its port. The path says what happens: /delay/MS, /stall/AFTER_MS/FOR_MS (everybody waits while the stall lasts,
counted from the first request; ?n= numbers it and /truth says when each was answered), /mixed/MS/SLOW_MS/EVERY (each
EVERY-th request is a slow one; /truth says how long each took in here), /status/CODE, /reset, /cut, /never, /chunked,
/until-close, /garbage, /close-next, /echo.
"""

import asyncio
import json
import socket
import struct
import sys
from typing import ClassVar


class Known(asyncio.Protocol):
    stall_origin: float | None = None
    replied: ClassVar[dict[int, float]] = {}
    took: ClassVar[list[float]] = []
    mixed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""
        self.served = 0

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.answer(head, body)
            self.served += 1

    def answer(self, head: bytes, body: bytes) -> None:
        loop = asyncio.get_running_loop()
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        verb, *arguments = path.partition("?")[0].strip("/").split("/")
        if verb == "delay":
            loop.call_later(int(arguments[0]) / 1000, self.reply, 200)
        elif verb == "mixed":
            fast, slow, every = map(int, arguments)
            Known.mixed += 1
            loop.call_later((fast if Known.mixed % every else slow) / 1000, self.reply_and_time, loop.time())
        elif verb == "stall":
            after, length, base = (int(argument) / 1000 for argument in arguments)
            Known.stall_origin = Known.stall_origin or loop.time()
            begin = Known.stall_origin + after
            now = loop.time()
            free_at = begin + length if begin <= now < begin + length else now
            number = int(path.partition("=")[2])
            loop.call_at(free_at + base, self.reply_and_note, number)
        elif verb == "truth":
            self.reply(200, {"replied": Known.replied, "took": Known.took})
        elif verb == "status":
            self.reply(int(arguments[0]))
        elif verb == "reset":
            self.reset()
        elif verb == "cut":
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            self.transport.close()
        elif verb == "never":
            pass
        elif verb == "chunked":
            self.transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            self.transport.write(b"6;x=y\r\n world\r\n0\r\ntrailer: 1\r\n\r\n")
        elif verb == "until-close":
            self.transport.write(b"HTTP/1.1 200 OK\r\n\r\nall there is")
            self.transport.close()
        elif verb == "garbage":
            self.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        elif verb == "close-next":
            self.reply(200) if self.served == 0 else self.transport.close()
        elif verb == "interim":
            self.transport.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
            self.reply(200)
        elif verb == "echo":
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            self.reply(200, {"method": method, "path": path, "body": body.decode(), "headers": headers})

    def reply_and_note(self, number: int) -> None:
        self.reply(200)
        Known.replied[number] = asyncio.get_running_loop().time()

    def reply_and_time(self, begin: float) -> None:
        self.reply(200)
        Known.took.append(asyncio.get_running_loop().time() - begin)

    def reply(self, status: int, document: object = None) -> None:
        if status == 204:
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        body = json.dumps(
            document if document is not None else {"arm": "Canary" if status < 400 else "Broken"}
        ).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nX-Arm: Arm-{status}\r\n\r\n"
        self.transport.write(head.encode() + body)

    def reset(self) -> None:
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Known, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the test lets go of us


asyncio.run(main())
