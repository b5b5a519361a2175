// When a connection asks whether its user may come back, and what it does with the answer.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Connection, SIGNED_OUT } from "../../connection.js";

/** A wait that is longer than any before a next try, and shorter than what a socket has to open. */
const A_WHILE_MS = 1000;

let sockets;
let questions;
let states;
let connection;

class Socket {
  static OPEN = 1;
  readyState = 1;
  constructor() {
    sockets.push(this);
  }
  send() {}
  close() {}
  welcome() {
    this.onmessage({ data: JSON.stringify({ type: "welcome", limits: {} }) });
  }
}

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  [sockets, questions, states] = [[], [], []];
  const on = { state: (state) => states.push(state), welcome() {}, joined() {}, frame() {} };
  const access = () => new Promise((resolve) => questions.push(resolve));
  const wiring = { url: "ws://x/ws", room: "r", resume: () => ({}), on, access, Socket };
  connection = new Connection({ ...wiring, random: () => 0.5 });
  connection.connect();
});

afterEach(() => {
  connection.stop();
  mock.timers.reset();
});

const end = (code) => sockets.at(-1).onclose({ code });
const waits = () => states.filter(({ name }) => name === "waiting").map(({ waitMs }) => waitMs);

/** The newest question is answered so. */
async function answer(mayEnter) {
  questions.at(-1)(mayEnter);
  await new Promise((resolve) => setImmediate(resolve));
}

/** The token of a socket that lived has ended. */
function tokenEnds() {
  sockets.at(-1).welcome();
  end(4001);
}

test("a lost connection comes back without a question", () => {
  sockets[0].welcome();
  end(1006);
  mock.timers.tick(A_WHILE_MS);
  assert.deepEqual([sockets.length, questions.length], [2, 0]);
});

test("where a token has ended it asks after a wait, and goes on with a newer one", async () => {
  tokenEnds();
  assert.deepEqual([questions.length, states.at(-1)], [0, { name: "waiting", waitMs: 500 }]);
  mock.timers.tick(500);
  assert.deepEqual([sockets.length, questions.length], [1, 1]);
  await answer(true);
  assert.equal(sockets.length, 2);
  sockets[1].welcome();
  end(1006);
  mock.timers.tick(A_WHILE_MS);
  assert.deepEqual([sockets.length, questions.length], [3, 1], "it is asked once for each doubt");
});

test("a socket that was never welcomed is a reason to ask, too", async () => {
  end(1006);
  mock.timers.tick(A_WHILE_MS);
  assert.deepEqual([sockets.length, questions.length], [1, 1]);
  await answer(false);
  assert.deepEqual(states.at(-1), { name: "stopped", reason: SIGNED_OUT });
  connection.connect();
  mock.timers.tick(60_000);
  assert.deepEqual([sockets.length, questions.length], [1, 1]);
});

test("where the answer and the socket contradict each other the waits grow", async () => {
  for (const code of [4001, 1006, 4001, 1006, 4001]) {
    end(code);
    mock.timers.tick(waits().at(-1));
    await answer(true);
  }
  assert.deepEqual(waits(), [500, 1000, 2000, 4000, 8000]);
});

test("without an answer it waits, and asks again before it opens a socket", async () => {
  tokenEnds();
  mock.timers.tick(A_WHILE_MS);
  await answer(null);
  assert.equal(states.at(-1).name, "waiting");
  mock.timers.tick(A_WHILE_MS);
  assert.deepEqual([sockets.length, questions.length], [1, 2]);
  // No answer at all is none, and one that comes too late counts no more.
  mock.timers.tick(15_000);
  assert.deepEqual(waits(), [500, 1000, 2000]);
  await answer(false);
  assert.equal(states.at(-1).name, "waiting");
  mock.timers.tick(2000);
  await answer(true);
  assert.deepEqual([sockets.length, questions.length], [2, 3]);
});

test("one question is asked at a time", () => {
  tokenEnds();
  for (const _ of [1, 2, 3]) connection.connect();
  assert.deepEqual([sockets.length, questions.length], [1, 1]);
});

test("what is stopped while it asks stays stopped", async () => {
  tokenEnds();
  connection.connect();
  connection.stop("Left");
  await answer(true);
  mock.timers.tick(60_000);
  assert.deepEqual([sockets.length, states.at(-1).reason], [1, "Left"]);
});
