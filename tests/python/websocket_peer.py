"""The other side of crates/wire/tests/websocket_python.rs: a client by the package `websockets`.

    websocket_peer.py PORT LIMIT

Each message must come back as it went; one larger than LIMIT must be answered by `too large` and leave the connection open.
"""

import asyncio
import sys

import websockets

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000]


async def run(port, limit):
    connection = websockets.connect(
        f"ws://127.0.0.1:{port}/", compression=None, max_size=None, ping_interval=None, user_agent_header="peer/1"
    )
    async with connection as socket:
        for size in SIZES:
            message = bytes(index * 7 % 256 for index in range(size))
            await socket.send(message)
            assert await socket.recv() == message, f"{size} bytes came back changed"
        parts = [b"one ", b"", b"message ", b"in parts" * 5_000]
        await socket.send(parts)
        assert await socket.recv() == b"".join(parts)
        await asyncio.wait_for(await socket.ping(b"there?"), 5)
        await socket.send(b"x" * (limit + 1))
        assert await socket.recv() == b"too large"
        await socket.send([b"y" * limit, b"z"])
        assert await socket.recv() == b"too large"
        await socket.send(b"still open")
        assert await socket.recv() == b"still open"
    assert socket.close_code == 1000, socket.close_code

    async with websockets.connect(f"ws://127.0.0.1:{port}/", compression=None) as socket:
        await socket.send("text")
        try:
            await socket.recv()
            raise AssertionError("a text message was answered")
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd.code == 1003, closed.rcvd
    print("ok")


asyncio.run(run(int(sys.argv[1]), int(sys.argv[2])))
