"""Sends messages of growing size over a websocket and insists that each comes back.

Arguments: host name, port on 127.0.0.1, CA file, path, number of messages. With one more
argument, `hold`, it then prints `held` and keeps the socket until the server ends it. The environment
variable COOKIES is the value of a `Cookie` header.
"""
import asyncio
import os
import ssl
import sys
import websockets


async def main():
    name, port, ca, path, count = sys.argv[1:6]
    context = ssl.create_default_context(cafile=ca)
    cookies = {"Cookie": os.environ["COOKIES"]} if "COOKIES" in os.environ else {}
    socket = await websockets.connect(
        f"wss://{name}{path}", host="127.0.0.1", port=int(port), ssl=context,
        server_hostname=name, extra_headers=cookies, subprotocols=["echo.v1"], max_size=None, compression=None)
    assert socket.subprotocol == "echo.v1", socket.subprotocol
    for i in range(int(count)):
        message = bytes([i % 251]) * (1 << (i % 18)) if i % 2 else "text %d" % i
        await socket.send(message)
        assert await socket.recv() == message, "message %d came back changed" % i
    if "hold" in sys.argv[6:]:
        print("held", flush=True)
        try:
            while True:
                await socket.recv()
        except websockets.ConnectionClosed as closed:
            print("closed", closed.code, flush=True)
            return
    await socket.close()
    print("echoed", count, "closed", socket.close_code, flush=True)

asyncio.run(main())
