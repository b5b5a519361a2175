// The programs of docs/clients.md: they are what stands there, and they lose nothing.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { launch } from "../../web/tests/support/page.mjs";
import { OPEN } from "./doors.mjs";
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

  async start(wire, room) {
    const [interpreter, file] = this.#command;
    const url = `${wire.origin.replace(/^http/, "ws")}/ws?user=ann`;
    const flags = [fileURLToPath(new URL(file, FOLDER)), url, room];
    this.#child = spawn(interpreter, flags, { stdio: "pipe", env: environment() });
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

/** A page that does the same. */
class Page {
  #browser;
  #page;
  lines = new Inbox();

  async start(wire, room) {
    this.#browser = await launch();
    this.#page = await this.#browser.newPage();
    await this.#page.exposeFunction("show", (seq, user, text) => this.lines.push(`${seq} ${user}: ${text}`));
    for (const file of ["room.mjs", "follow_browser.mjs"]) {
      const body = readFileSync(new URL(file, FOLDER));
      await this.#page.route(`**/${file}`, (route) => route.fulfill({ contentType: "text/javascript", body }));
    }
    await this.#page.goto(`${wire.origin}/`);
    await this.#page.evaluate(async (name) => {
      const { follow } = await import("/follow_browser.mjs");
      window.room = follow("ann", name, window.show);
    }, room);
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
    test(`${name} follows a room through a lost network and a killed server, and says everything once`, async () => {
      const scene = new Scene({ driver: new Ws(), protocol: "chat.v1", door: OPEN });
      await scene.play(() => follow(scene, make()));
    });
  }
});

async function follow(scene, example) {
  const server = await scene.ownServer();
  const bob = await scene.peer("bob", { server });
  const room = await scene.room();
  await bob.join(room);
  await bob.say(room, "before");
  const wire = await Wire.open(new URL(server.url));
  await example.start(wire, room);
  try {
    await converse({ server, wire, bob, room, example });
  } finally {
    await example.stop();
    await wire.close();
  }
}

async function converse({ server, wire, bob, room, example }) {
  const said = [];
  const prints = async (user, text) => {
    said.push(text);
    assert.equal(await example.lines.next(performance.now() + WAIT_MS), `${said.length} ${user}: ${text}`);
  };
  await prints("bob", "before");
  await example.say("hello 👋");
  await prints("ann", "hello 👋");

  await bob.reaches(room, 2);
  wire.hold();
  await example.say("did it arrive?");
  await bob.reaches(room, 3);
  wire.cut();
  await bob.say(room, "missed");
  await example.say("said while away");
  await prints("ann", "did it arrive?");
  await prints("bob", "missed");
  await prints("ann", "said while away");

  await bob.reaches(room, 5);
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
