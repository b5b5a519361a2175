// Who is at the page, and what the page keeps of it.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Access } from "../../access.js";
import { Connection, commands } from "../../connection.js";

const ANN = { id: "ann", name: "Ann", role: "member" };

/** A server that knows one token, and can be away for some requests. */
function server({ by = "token", cookie = null, away = 0 } = {}) {
  const asked = [];
  let left = away;
  const fetch = async (path, { headers }) => {
    asked.push([path, headers.authorization]);
    if (left-- > 0) throw new TypeError("away");
    const user = headers.authorization === "Bearer good" ? ANN : cookie;
    return { ok: true, json: async () => ({ user, by }) };
  };
  return { asked, fetch };
}

function storage(token) {
  const kept = new Map(token === undefined ? [] : [["chat.token", token]]);
  return {
    kept,
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => kept.set(name, value),
    removeItem: (name) => kept.delete(name),
  };
}

test("somebody with a cookie is known, and has no token to forget", async () => {
  const access = new Access({ storage: storage(), ...server({ by: "elsewhere", cookie: ANN }) });
  assert.deepEqual(await access.ask(), { user: ANN, by: "elsewhere" });
  assert.equal(access.token, undefined);
});

test("a token is kept when it is good, and only then", async () => {
  const [kept, away] = [storage(), storage()];
  const access = new Access({ storage: kept, ...server() });
  assert.deepEqual(await access.tryToken("bad"), { problem: "This token is not accepted." });
  assert.deepEqual([access.token, kept.kept.size], [undefined, 0]);
  assert.deepEqual(await access.tryToken("good"), { user: ANN });
  assert.deepEqual([access.token, kept.getItem("chat.token")], ["good", "good"]);
  const refused = await new Access({ storage: away, ...server({ away: 1 }) }).tryToken("good");
  assert.deepEqual([refused, away.kept.size], [{ problem: "The server does not answer." }, 0]);
});

test("a token that has ended is forgotten", async () => {
  const kept = storage("ended");
  const access = new Access({ storage: kept, ...server() });
  assert.deepEqual(await access.ask(), { user: null, by: "token" });
  assert.deepEqual([access.token, kept.kept.size], [undefined, 0]);
});

test("a question in between changes nothing, and is asked once", async () => {
  const kept = storage("ended");
  const access = new Access({ storage: kept, ...server({ away: 1 }) });
  assert.equal(await access.askOnce(), null);
  assert.deepEqual(await access.askOnce(), { user: null, by: "token" });
  assert.deepEqual([access.token, kept.kept.size], ["ended", 1]);
});

test("a server that is away is asked again, with the token", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { asked, fetch } = server({ away: 2 });
  const known = new Access({ storage: storage("good"), fetch }).ask();
  while (asked.length < 3) {
    await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(2000);
  }
  assert.deepEqual(await known, { user: ANN, by: "token" });
  assert.deepEqual(asked, Array(3).fill(["/api/v1/auth", "Bearer good"]));
});

test("a token is the first thing that every socket says", () => {
  const sockets = [];
  class Socket {
    static OPEN = 1;
    readyState = 1;
    said = [];
    constructor() {
      sockets.push(this);
    }
    send(text) {
      this.said.push(JSON.parse(text));
    }
    close() {}
  }
  mock.timers.enable({ apis: ["setTimeout"] });
  const on = { state() {}, welcome() {}, joined() {}, frame() {} };
  const wiring = { url: "ws://x/ws", room: "r", resume: () => ({}), on, Socket, random: () => 0 };
  const connection = new Connection({ ...wiring, token: "good" });
  for (const turn of [0, 1]) {
    connection.connect();
    sockets[turn].onopen();
    assert.deepEqual(sockets[turn].said, [commands.auth("good")]);
    sockets[turn].onmessage({ data: JSON.stringify({ type: "welcome", limits: {} }) });
    assert.deepEqual(sockets[turn].said[1].type, "join");
    sockets[turn].onclose({ code: 1006 });
  }
  connection.stop();
  const nameless = new Connection(wiring);
  nameless.connect();
  sockets[2].onopen();
  assert.deepEqual(sockets[2].said, []);
  nameless.stop();
  mock.timers.reset();
});
