// The programs of docs/clients.md: they are what stands there, and they lose nothing.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { launch } from "../../web/tests/support/page.mjs";
import { tokenFor } from "../../web/tests/support/tokens.mjs";
import { Authority } from "./authority.mjs";
import { BEARER, OPEN, secured } from "./doors.mjs";
import { Inbox, WAIT_MS } from "./drivers/inbox.mjs";
import { environment, python } from "./drivers/python.mjs";
import { Ws } from "./drivers/ws.mjs";
import { Scene } from "./scene.mjs";
import { contents } from "./steps/reading.mjs";
import { Wire } from "./wire.mjs";

const FOLDER = new URL("examples/", import.meta.url);
const PAGE = new URL("../../../docs/clients.md", import.meta.url);
const LANGUAGES = { py: "python", mjs: "js" };

/** A program that prints what it follows, and says what it reads. */
class Program {
  #command;
  #child;
  #log = "";
  lines = new Inbox();

  constructor(...command) {
    this.#command = command;
  }

  async start({ wire, room, authority }) {
    const [interpreter, file] = this.#command;
    const url = `${wire.origin.replace(/^http/, "ws")}/ws${authority ? "" : "?user=ann"}`;
    const flags = [fileURLToPath(new URL(file, FOLDER)), url, room];
    const env = { ...environment(), ...(authority && variables(authority)) };
    this.#child = spawn(interpreter, flags, { stdio: "pipe", env });
    this.#child.stderr.on("data", (data) => (this.#log += data));
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.lines.push(line));
  }

  async say(text) {
    this.#child.stdin.write(`${text}\n`);
  }

  async stop() {
    if (this.#child.exitCode !== null) throw new Error(`it ended with ${this.#child.exitCode}:\n${this.#log}`);
    const exit = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exit;
  }
}

/** As docs/clients.md says. */
function variables(authority) {
  return { CHAT_TOKEN: tokenFor("ann"), SSL_CERT_FILE: authority.path, NODE_EXTRA_CA_CERTS: authority.path };
}

/** A page that does the same. */
class Page {
  #browser;
  #page;
  lines = new Inbox();

  async start({ wire, room, authority }) {
    this.#browser = await launch(authority === null ? {} : { HOME: authority.home });
    this.#page = await this.#browser.newPage();
    await this.#page.exposeFunction("show", (seq, user, text) => this.lines.push(`${seq} ${user}: ${text}`));
    for (const file of ["room.mjs", "follow_browser.mjs"]) {
      const body = readFileSync(new URL(file, FOLDER));
      await this.#page.route(`**/${file}`, (route) => route.fulfill({ contentType: "text/javascript", body }));
    }
    await this.#page.goto(`${wire.origin}/`);
    const asked = authority === null ? { user: "ann", name: room } : { token: tokenFor("ann"), name: room };
    await this.#page.evaluate(async (fields) => {
      const { follow } = await import("/follow_browser.mjs");
      window.room = follow({ ...fields, show: window.show });
    }, asked);
  }

  async say(text) {
    await this.#page.evaluate((words) => window.room.say(words), text);
  }

  async stop() {
    await this.#browser.close();
  }
}

const EXAMPLES = {
  "follow_websockets.py": () => new Program(python(), "follow_websockets.py"),
  "follow_aiohttp.py": () => new Program(python(), "follow_aiohttp.py"),
  "follow_ws.mjs": () => new Program(process.execPath, "follow_ws.mjs"),
  "follow_undici.mjs": () => new Program(process.execPath, "follow_undici.mjs"),
  "follow_browser.mjs": () => new Page(),
};

// All at once: they mostly wait, each a random while before it comes back.
describe("the programs", { concurrency: true }, () => {
  for (const [name, make] of Object.entries(EXAMPLES)) {
    for (const isSecured of [false, true]) {
      const how = isSecured ? "with a token, over TLS" : "where everybody is believed";
      test(`${name} follows a room through a lost network and a killed server, ${how}`, () => play(make(), isSecured));
    }
  }
});

let authority;

before(async () => {
  authority = await Authority.found();
});

after(() => authority.dispose());

async function play(example, isSecured) {
  const door = isSecured ? await secured(BEARER, authority, "IP:127.0.0.1") : OPEN;
  const driver = new Ws();
  await driver.start(door);
  const scene = new Scene({ driver, protocol: "chat.v1", door });
  await scene.play(() => follow(scene, example));
}

async function follow(scene, example) {
  const server = await scene.ownServer();
  const bob = await scene.peer("bob", { server });
  const room = await scene.room({ server });
  await bob.join(room);
  await bob.say(room, "before");
  const wire = await Wire.open(new URL(server.url));
  await example.start({ wire, room, authority: scene.door.authority });
  try {
    await converse({ server, wire, bob, room, example, base: scene.door.base });
  } finally {
    await example.stop();
    await wire.close();
  }
}

async function converse({ server, wire, bob, room, example, base }) {
  const said = [];
  const prints = async (user, text) => {
    said.push(text);
    assert.equal(await example.lines.next(performance.now() + WAIT_MS), `${base + said.length} ${user}: ${text}`);
  };
  await prints("bob", "before");
  await example.say("hello 👋");
  await prints("ann", "hello 👋");

  await bob.reaches(room, base + 2);
  wire.hold();
  await example.say("did it arrive?");
  await bob.reaches(room, base + 3);
  wire.cut();
  await bob.say(room, "missed");
  await example.say("said while away");
  await prints("ann", "did it arrive?");
  await prints("bob", "missed");
  await prints("ann", "said while away");

  await bob.reaches(room, base + 5);
  await server.kill();
  await server.start();
  await bob.connect();
  await bob.join(room);
  await bob.say(room, "after");
  await prints("bob", "after");
  assert.deepEqual(contents(bob, room).map(({ text }) => text), said);
}

test("docs/clients.md shows every example, and nothing else", () => {
  const page = readFileSync(PAGE, "utf8");
  const blocks = page.matchAll(/^```(python|js)\n([\s\S]*?)^```$/gm);
  const shown = [...blocks].map(([, language, text]) => `${language}\n${text}`);
  const files = readdirSync(FOLDER).filter((name) => name !== "__pycache__");
  const written = files.map((name) => {
    const language = LANGUAGES[name.split(".").at(-1)];
    return `${language}\n${readFileSync(new URL(name, FOLDER), "utf8")}`;
  });
  assert.deepEqual(shown.sort(), written.sort());
});
