"""A chat of operators and managers: REST and WebSocket on FastAPI, messages in SQLite by SQLAlchemy.

It is written as somebody writes it who has read the documentation of FastAPI and no more; see README.md.
"""

import argparse
from datetime import datetime, timezone

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from sqlalchemy import String, Text, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker


class Base(DeclarativeBase):
    pass


class Message(Base):
    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    room: Mapped[str] = mapped_column(String(64), index=True)
    user: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]

    def to_dict(self):
        return {
            "type": "message",
            "message_id": self.id,
            "room": self.room,
            "user": self.user,
            "role": self.role,
            "text": self.text,
            "created_at": self.created_at.isoformat(),
        }


class Connections:
    """Who is in which room."""

    def __init__(self):
        self.rooms: dict[str, list[WebSocket]] = {}

    async def connect(self, room: str, websocket: WebSocket):
        await websocket.accept()
        self.rooms.setdefault(room, []).append(websocket)

    def disconnect(self, room: str, websocket: WebSocket):
        members = self.rooms[room]
        members.remove(websocket)
        if not members:
            del self.rooms[room]

    async def broadcast(self, room: str, sender: WebSocket, message: dict):
        for websocket in list(self.rooms[room]):
            if websocket is sender:
                continue
            try:
                await websocket.send_json(message)
            except (RuntimeError, WebSocketDisconnect):
                pass  # It has gone; its own task notices.


def make_app(database_url: str) -> FastAPI:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    # Without expire_on_commit the id would be read back after each commit, by a SELECT.
    new_session = sessionmaker(engine, expire_on_commit=False)
    connections = Connections()
    app = FastAPI()

    def save(session: Session, message: Message):
        session.add(message)
        session.commit()

    @app.get("/health")
    def health():
        return {"status": "ok"}

    @app.get("/rooms/{room}/messages")
    def history(room: str, limit: int = 50):
        with new_session() as session:
            newest = select(Message).where(Message.room == room).order_by(Message.id.desc()).limit(limit)
            return [message.to_dict() for message in reversed(session.scalars(newest).all())]

    @app.websocket("/ws/{room}")
    async def chat(websocket: WebSocket, room: str, user: str, role: str = "member"):
        await connections.connect(room, websocket)
        try:
            await websocket.send_json({"type": "joined", "room": room, "user": user})
            while True:
                said = await websocket.receive_json()
                now = datetime.now(timezone.utc)
                message = Message(room=room, user=user, role=role, text=said["text"], created_at=now)
                with new_session() as session:
                    save(session, message)
                await websocket.send_json({"type": "ack", "id": said["id"], "message_id": message.id})
                await connections.broadcast(room, websocket, message.to_dict())
        except WebSocketDisconnect:
            pass
        finally:
            connections.disconnect(room, websocket)

    return app


class Server(uvicorn.Server):
    """Says where it listens once it does: port 0 is any that is free."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()
                print(f"listening on http://{host}:{port}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 is any that is free (default: 8000)")
    parser.add_argument("--folder", default=".", help="where chat.db is, or is made (default: here)")
    args = parser.parse_args()
    app = make_app(f"sqlite:///{args.folder}/chat.db")
    # One worker, and the loop and the parsers that uvicorn[standard] brings. It logs no line for each connection.
    Server(uvicorn.Config(app, host="127.0.0.1", port=args.port, log_level="warning")).run()


if __name__ == "__main__":
    main()
