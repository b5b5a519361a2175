"""A room that is followed while connections come and go. It knows no socket; its rules are in docs/reconnect.md."""

import asyncio
import json
import os
import random
import uuid

PASSING = {"unavailable", "overloaded", "rate_limited", "internal"}


def headers():
    """What a server with tokens asks for. One that believes everybody reads the user in the URL."""
    token = os.environ.get("CHAT_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


class Lost(Exception):
    """This connection is of no more use: come back on another."""


class Room:
    """Calls `show(seq, user, text)` for every message, once and in order."""

    def __init__(self, name, show):
        self.name, self.show = name, show
        self.epoch, self.position = None, 0
        self.outbox = {}  # texts by key, until they are settled
        self.begin()

    def begin(self):
        """A new connection: what was asked on the last one is answered no more."""
        self.commands, self.sent, self.is_joined = asyncio.Queue(), {}, False

    def say(self, text):
        key = uuid.uuid4().hex
        self.outbox[key] = text
        if self.is_joined:
            self.send(key)

    def send(self, key):
        number = len(self.sent) + 1
        self.sent[number] = key
        self.command("send", id=number, key=key, text=self.outbox[key])

    def command(self, kind, **fields):
        self.commands.put_nowait({"type": kind, "room": self.name, **fields})

    async def write(self, send):
        """Hands over what is to be sent, for as long as the connection lasts."""
        while True:
            await send(json.dumps(await self.commands.get()))

    def take(self, frame):
        """Takes a frame of the subprotocol chat.v1.batch."""
        for message in json.loads(frame):
            match message["type"]:
                case "welcome":
                    self.user = message["user"]["id"]
                    self.command("join", after=self.position, epoch=self.epoch)
                case "joined":
                    self.joined(message)
                case "history":
                    for event in message["events"]:
                        self.shown(event)
                case "ack":
                    self.acked(message)
                case "error":
                    self.refused(message)
                case _ if "seq" in message and "from" in message:
                    self.moved(message)

    def joined(self, joined):
        self.epoch, self.is_joined = joined["epoch"], True
        if joined.get("reset"):  # the position means nothing: begin with the newest page
            self.position = joined["last_seq"]
            self.command("history", before=self.position + 1)
        for key in self.outbox:
            self.send(key)  # where it had arrived, its key makes it harmless

    def acked(self, ack):
        key = self.sent[ack["id"]]
        if ack.get("duplicate"):  # kept, and no position
            self.outbox.pop(key, None)
        else:
            self.moved({**ack, "type": "message", "from": self.user, "key": key, "text": self.outbox[key]})

    def moved(self, event):
        if event["seq"] != self.position + 1:
            raise Lost(f"number {self.position + 1} did not come")
        self.position = event["seq"]
        self.shown(event)

    def shown(self, event):
        if event["from"] == self.user:
            self.outbox.pop(event.get("key"), None)
        if event["type"] == "message" and "text" in event:
            self.show(event["seq"], event["from"], event["text"])

    def refused(self, error):
        if error["code"] in PASSING:
            raise Lost(error["message"])
        if error.get("id") not in self.sent:
            raise SystemExit(f"{self.name}: {error['message']}")
        print(f"not sent: {self.outbox.pop(self.sent[error['id']])!r}: {error['message']}")


def wait_before_next(code, failures):
    """Seconds, so that not all come back at once. After some codes there is no coming back."""
    if code in (4001, 4003):
        raise SystemExit(f"the server closed with {code}")
    return random.uniform(0, 5 if code == 1001 else min(30, 2**failures))
