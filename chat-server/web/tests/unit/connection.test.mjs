import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Backoff } from "../../connection.js";
import { Room } from "../../room.js";

/** A socket whose other end is the test. */
class FakeSocket {
  static OPEN = 1;
  static opened = [];
  readyState = 1;
  said = [];

  constructor(url) {
    this.url = url;
    FakeSocket.opened.push(this);
  }

  send(text) {
    this.said.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  /** The server says these, in one frame. */
  hear(...frames) {
    this.onmessage?.({ data: JSON.stringify(frames) });
  }

  /** The connection ends with this code. */
  end(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }

  /** The newest command of this type. */
  last(type) {
    return this.said.findLast((command) => command.type === type);
  }

  count(type) {
    return this.said.filter((command) => command.type === type).length;
  }
}

class FakeView {
  states = [];
  notes = [];
  state(state) {
    this.states.push(state);
  }
  note(text) {
    this.notes.push(text);
  }
  people() {}
  typing() {}
  heard() {}
  refresh() {}
}

const storage = { length: 0, key: () => null, getItem: () => null, setItem: () => {}, removeItem: () => {} };
const limits = { text_bytes: 20 };
const message = (seq, from = "bob", more = {}) => ({ type: "message", room: "r", seq, at: seq, from, text: `t${seq}`, ...more });
const joined = (id, last, more = {}) => ({
  type: "joined", id, room: "r", role: "member", epoch: "e1", first_seq: 1, last_seq: last, online: ["ann"], online_count: 1, ...more,
});

let room;
let view;
const socket = () => FakeSocket.opened.at(-1);

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1000 });
  FakeSocket.opened = [];
  view = new FakeView();
  room = new Room({ me: "ann", name: "r", storage, view, url: "ws://x/ws", Socket: FakeSocket, random: () => 0.5 });
  room.open();
});

afterEach(() => {
  room.close();
  mock.timers.reset();
});

/** Says welcome and lets the room be joined, whose newest event is `last`. */
function enter(last, more) {
  socket().hear({ type: "welcome", user: { id: "ann" }, limits });
  socket().hear(joined(socket().last("join").id, last, more));
}

/** Answers the newest command of `type`. */
function answer(type, reply) {
  socket().hear({ id: socket().last(type).id, room: "r", ...reply });
}

function reconnect() {
  mock.timers.tick(30_000);
}

const texts = () => [...Array(room.timeline.position + 1).keys()].map((seq) => room.timeline.row(seq)?.text).filter(Boolean);

test("the first join asks for no past, then for the newest page below where live begins", () => {
  enter(3);
  assert.equal(socket().last("join").after, undefined);
  assert.equal(socket().last("history").before, 4);
  socket().hear(message(4));
  answer("history", { type: "history", events: [message(1), message(2), message(3)], more: false });
  assert.deepEqual(texts(), ["t1", "t2", "t3", "t4"]);
});

test("after a lost connection it joins where it left off", () => {
  enter(3);
  socket().hear(message(4));
  socket().end();
  assert.equal(view.states.at(-1).name, "waiting");
  reconnect();
  socket().hear({ type: "welcome", limits });
  const { after, epoch } = socket().last("join");
  assert.deepEqual([after, epoch], [4, "e1"]);
});

test("a gap is closed by joining anew", () => {
  enter(3);
  socket().hear(message(5), message(6));
  assert.equal(FakeSocket.opened[0].readyState, 3);
  assert.equal(room.timeline.position, 3);
  reconnect();
  enter(6);
  assert.equal(socket().last("join").after, 3);
  socket().hear(message(4), message(5), message(6));
  assert.equal(room.timeline.position, 6);
});

test("a reset starts from history in the new epoch", () => {
  enter(3);
  socket().end();
  reconnect();
  enter(9, { epoch: "e2", reset: true });
  assert.equal(socket().last("history").before, 10);
  assert.deepEqual(room.timeline.resume(), { after: 9, epoch: "e2" });
});

test("an own message is pending, then stands at its ack's place among the others of the frame", () => {
  enter(3);
  room.send("mine");
  assert.equal(room.outbox.entries[0].state, "pending");
  const { id } = socket().last("send");
  socket().hear(message(4), { type: "ack", id, room: "r", seq: 5, at: 5 }, message(6));
  assert.equal(room.outbox.entries.length, 0);
  assert.equal(room.timeline.row(5).text, "mine");
  assert.equal(room.timeline.position, 6);
});

test("a send whose ack was lost is sent again with its key, once the timeline has caught up", () => {
  enter(3);
  room.send("mine");
  const { key } = socket().last("send");
  socket().end();
  reconnect();
  enter(5);
  assert.equal(socket().count("send"), 0, "the replay may hold it");
  socket().hear(message(4), message(5));
  assert.equal(socket().last("send").key, key);
  answer("send", { type: "ack", seq: 6, at: 6 });
  assert.deepEqual([room.outbox.entries.length, room.timeline.position], [0, 6]);
});

test("a send that turns out to be kept is not sent again", () => {
  enter(3);
  room.send("mine");
  const { key } = socket().last("send");
  socket().end();
  reconnect();
  enter(4);
  socket().hear(message(4, "ann", { key }));
  assert.deepEqual([socket().count("send"), room.outbox.entries.length], [0, 0]);
});

test("a duplicate ack is no position", () => {
  enter(3);
  room.send("mine");
  const { key } = socket().last("send");
  answer("send", { type: "ack", seq: 7, at: 7, duplicate: true });
  assert.equal(room.timeline.position, 3);
  assert.equal(room.outbox.entries[0].state, "sent", "until its event comes");
  socket().hear(message(4), message(5), message(6), message(7, "ann", { key }));
  assert.equal(room.outbox.entries.length, 0);
});

test("a passing error is retried with the same key, any other is for the writer to see", () => {
  enter(3);
  room.send("one");
  const { key } = socket().last("send");
  answer("send", { type: "error", code: "unavailable", message: "later", retry_after_ms: 700 });
  mock.timers.tick(699);
  assert.equal(socket().count("send"), 1);
  mock.timers.tick(1);
  assert.equal(socket().last("send").key, key);
  answer("send", { type: "error", code: "too_large", message: "text: at most 20 bytes" });
  assert.equal(room.outbox.entries[0].state, "failed");
  room.retry(key);
  assert.equal(socket().count("send"), 3);
});

test("an edit that was lost is sent again unless the replay shows it", () => {
  enter(3);
  room.edit(2, "new");
  socket().end();
  reconnect();
  enter(4);
  socket().hear({ type: "edited", room: "r", seq: 4, at: 4, from: "ann", target: 2, text: "new" });
  assert.equal(socket().count("edit"), 0);
  room.edit(2, "newer");
  socket().end();
  reconnect();
  enter(4);
  assert.equal(socket().last("edit").text, "newer");
});

test("who is banned stays out", () => {
  enter(1);
  socket().end(4003);
  reconnect();
  assert.equal(FakeSocket.opened.length, 1);
  assert.deepEqual(view.states.at(-1), { name: "stopped", reason: "You are banned from this server." });
});

test("who may no longer read, or never might, is told why and stays out", () => {
  socket().hear({ type: "welcome", limits });
  answer("join", { type: "error", code: "not_found", message: "there is no such room" });
  assert.match(view.states.at(-1).reason, /no such room/);
  room = new Room({ me: "ann", name: "r", storage, view, url: "ws://x/ws", Socket: FakeSocket });
  room.open();
  enter(1);
  socket().hear({ type: "left", room: "r", reason: "banned" });
  assert.match(view.states.at(-1).reason, /banned/);
});

test("a silent connection is asked whether it lives, and given up", () => {
  enter(1);
  mock.timers.tick(20_000);
  assert.equal(socket().count("ping"), 1);
  answer("ping", { type: "pong", server_time: 1 });
  mock.timers.tick(20_000);
  assert.equal(socket().count("ping"), 2);
  mock.timers.tick(10_000);
  assert.equal(view.states.at(-1).name, "waiting");
});

test("read marks go out at most once a second", () => {
  enter(3);
  room.markRead();
  socket().hear(message(4), message(5));
  room.markRead();
  assert.equal(socket().count("read"), 1);
  mock.timers.tick(1000);
  room.markRead();
  assert.deepEqual([socket().count("read"), socket().last("read").seq], [2, 5]);
});

test("a text over the limit is not even tried", () => {
  enter(3);
  assert.equal(room.problemWith("x".repeat(20)), null);
  assert.match(room.problemWith("é".repeat(11)), /2 bytes/);
});

test("waits grow to a cap, are random below it, and start anew after success", () => {
  const backoff = new Backoff(() => 1);
  const waits = [1, 2, 3, 4, 5, 6, 7].map(() => backoff.next(1006));
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  backoff.reset();
  assert.equal(backoff.next(1006), 1000);
  assert.equal(new Backoff(() => 0).next(1006), 0);
  assert.equal(backoff.next(1001), 5000);
  assert.ok(new Backoff(() => 0).next(4029) >= 5000);
});
