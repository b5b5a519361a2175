"""The client `websockets`, with its own defaults."""

import asyncio

from bridge import Bridge, trust
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


class Socket:
    def __init__(self, connection, hear):
        self.connection = connection
        self.protocol = connection.subprotocol
        self.extensions = connection.response.headers.get("Sec-WebSocket-Extensions", "")
        self.reader = asyncio.create_task(self.read(hear))

    async def read(self, hear):
        try:
            while True:
                message = await self.connection.recv()
                hear({"type": "text", "text": message} if isinstance(message, str) else {"type": "binary"})
        except ConnectionClosed:
            hear({"type": "close", "code": self.connection.close_code, "reason": self.connection.close_reason})

    async def send(self, request):
        await self.connection.send(request["text"])

    async def send_binary(self, request):
        await self.connection.send(bytes(request["bytes"]))

    async def send_fragments(self, request):
        # Of an iterable, each item is a fragment.
        await self.connection.send([bytes(part) for part in request["parts"]], text=True)

    async def ping(self, request):
        pong = await self.connection.ping()
        await pong

    async def close(self, request):
        if "code" in request:
            await self.connection.close(request["code"], request["reason"])
        else:
            await self.connection.close()


async def open_socket(request, hear):
    connection = await connect(
        request["url"],
        subprotocols=request["protocols"] or None,
        additional_headers=request["headers"],
        **({} if request["ca"] is None else {"ssl": trust(request["ca"])}),
    )
    return Socket(connection, hear)


asyncio.run(Bridge(open_socket).serve())
