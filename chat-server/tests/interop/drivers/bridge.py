"""Lets the tests drive a Python client: lines of JSON come on standard input and go out on standard output.

A request is {"call": 1, "do": "send", "socket": 2, …}. Its answer is {"call": 1, "answer": …} or
{"call": 1, "error": "…"}. What a socket hears is {"socket": 2, "event": …}, where an event is
{"type": "text", "text": "…"} or {"type": "close", "code": …, "reason": "…"}.
"""

import asyncio
import json
import ssl
import sys

# A line holds one frame with all its quotes escaped, and a frame is 64 KiB at most.
LINE_BYTES_MAX = 1 << 20


class Bridge:
    """Answers requests with a client, which is a function `connect(request, hear)` that gives a socket."""

    def __init__(self, connect):
        self.connect = connect
        self.sockets = {}

    async def answer(self, request):
        if request["do"] == "hello":
            return None
        number = request["socket"]
        if request["do"] == "connect":
            socket = await self.connect(request, lambda event: say({"socket": number, "event": event}))
            self.sockets[number] = socket
            return {"protocol": socket.protocol, "extensions": socket.extensions}
        return await getattr(self.sockets[number], request["do"])(request)

    async def serve_one(self, request):
        try:
            say({"call": request["call"], "answer": await self.answer(request)})
        except Exception as error:  # whatever it is, the test must hear of it
            say({"call": request["call"], "error": f"{type(error).__name__}: {error}"})

    async def serve(self):
        lines = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        pipe = lambda: asyncio.StreamReaderProtocol(lines)  # noqa: E731
        await asyncio.get_running_loop().connect_read_pipe(pipe, sys.stdin)
        running = set()
        while line := await lines.readline():
            task = asyncio.create_task(self.serve_one(json.loads(line)))
            running.add(task)
            task.add_done_callback(running.discard)


def trust(path):
    """Whom the system trusts, and this authority."""
    context = ssl.create_default_context()
    context.load_verify_locations(path)
    return context


def say(what):
    # Escaped to ASCII: no character within a text is taken for the end of a line.
    print(json.dumps(what), flush=True)
