"""The client `aiohttp`, with its own defaults unless a test asks for compression or to see pongs."""

import asyncio

import aiohttp
from bridge import Bridge, trust
from aiohttp import WSMsgType


class Socket:
    def __init__(self, session, connection, hear, sees_pongs):
        self.session = session
        self.connection = connection
        self.protocol = connection.protocol
        self.extensions = "permessage-deflate" if connection.compress else ""
        self.sees_pongs = sees_pongs
        self.pongs = asyncio.Queue()
        self.closing = None
        self.reader = asyncio.create_task(self.read(hear))

    async def read(self, hear):
        reason = ""
        while True:
            message = await self.connection.receive()
            if message.type is WSMsgType.TEXT:
                hear({"type": "text", "text": message.data})
            elif message.type is WSMsgType.BINARY:
                hear({"type": "binary"})
            elif message.type is WSMsgType.PING:  # with autoping off it is for us to answer
                await self.connection.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self.pongs.put_nowait(message.data)
            else:
                reason = message.extra if message.type is WSMsgType.CLOSE else ""
                break
        if self.closing is not None:
            await self.closing  # only then is the code there that the server sent back
        hear({"type": "close", "code": self.connection.close_code, "reason": reason})
        await self.session.close()

    async def send(self, request):
        await self.connection.send_str(request["text"])

    async def send_binary(self, request):
        await self.connection.send_bytes(bytes(request["bytes"]))

    async def ping(self, request):
        assert self.sees_pongs, "pongs are seen only with autoping off"
        await self.connection.ping(b"there?")
        assert await self.pongs.get() == b"there?"

    async def close(self, request):
        how = {"code": request["code"], "message": request["reason"].encode()} if "code" in request else {}
        self.closing = asyncio.ensure_future(self.connection.close(**how))
        await self.closing


async def open_socket(request, hear):
    options = request["options"]
    sees_pongs = options.get("pongs", False)
    session = aiohttp.ClientSession()
    try:
        connection = await session.ws_connect(
            request["url"],
            protocols=request["protocols"],
            headers=request["headers"],
            ssl=True if request["ca"] is None else trust(request["ca"]),
            autoping=not sees_pongs,
            compress=15 if options.get("compress", False) else 0,
        )
    except BaseException:
        await session.close()
        raise
    return Socket(session, connection, hear, sees_pongs)


asyncio.run(Bridge(open_socket).serve())
