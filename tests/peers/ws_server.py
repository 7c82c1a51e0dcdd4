"""A websocket server that echoes; prints its port. Arguments, for TLS: certificate, key."""
import asyncio
import ssl
import sys
import websockets


def tls():
    if len(sys.argv) < 3:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    return context


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    async with websockets.serve(
        echo, "127.0.0.1", 0, ssl=tls(), subprotocols=["echo.v1"], max_size=None
    ) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
