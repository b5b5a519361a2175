// The page in a browser against the real server (CHAT_SERVER_BIN).

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";

import { AWAY, Person, launch } from "../support/page.mjs";
import { Server } from "../support/server.mjs";

const CSP = {
  "default-src": "'none'",
  "script-src": "'self'",
  "style-src": "'self'",
  "connect-src": "'self'",
  "img-src": "'self' data:",
  "base-uri": "'none'",
  "form-action": "'none'",
  "frame-ancestors": "'none'",
};

const screenshots = mkdtempSync(join(tmpdir(), "chat-web-screenshots-"));
let server;
let browser;
let people = [];

before(async () => {
  server = new Server();
  await server.start();
  browser = await launch();
  console.log(`screenshots: ${screenshots}`);
});

after(async () => {
  await browser?.close();
  await server?.dispose();
});

afterEach(async () => {
  for (const person of people) await person.page.context().close();
  people = [];
});

async function enter(user, room, options) {
  const person = await Person.enter(browser, server.url, user, room, options);
  people.push(person);
  return person;
}

const shoot = (person, name) => person.page.screenshot({ path: join(screenshots, `${name}.png`) });

function assertNoComplaints(allowed) {
  const complaints = people.flatMap((person) => person.complaints);
  assert.deepEqual(complaints.filter((text) => !allowed?.test(text)), []);
}

test("two users chat, edit, delete and react", async () => {
  const [ann, bob] = [await enter("ann", "harbour"), await enter("bob", "harbour")];
  await ann.page.locator("#people-list").getByText("bob", { exact: true }).waitFor();
  await ann.say("Shall we meet at six?");
  await bob.sees("Shall we meet at six?");
  await bob.say("Yes");
  await ann.sees("Yes");
  await ann.page.getByText("Read by bob").waitFor();

  await ann.press("Yes", "React with 👍");
  await bob.page.getByRole("button", { name: "👍 by ann" }).waitFor();
  await bob.page.getByRole("button", { name: "👍 by ann" }).click();
  await ann.page.getByRole("button", { name: "👍 by ann, bob", pressed: true }).waitFor();

  await bob.press("Yes", "Edit");
  await bob.say("Yes, at seven");
  await ann.page.getByText("Yes, at seven").waitFor();
  await ann.page.getByText("(edited)").waitFor();

  await ann.press("Shall we meet at six?", "Delete");
  await ann.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await bob.sees("This message was deleted.");
  assert.equal(await bob.row("Shall we meet at six?").count(), 0);

  await bob.press("Yes, at seven (edited)", "Reply");
  await bob.say("At the old pier");
  await ann.page.getByRole("button", { name: "bob: Yes, at seven" }).waitFor();
  await bob.type("I am on my way");
  await ann.page.getByText("bob is typing…").waitFor();
  await shoot(ann, "light");
  assert.deepEqual(await ann.texts(), await bob.texts());
  assertNoComplaints();
});

test("what somebody wrote is text, and the page allows no script but its own", async () => {
  const [ann, bob] = [await enter("ann", "scripts"), await enter("bob", "scripts")];
  const evil = `<script>document.title="owned"</script><img src=x onerror="document.title='owned'">`;
  await ann.say(evil);
  await bob.sees(evil);
  assert.equal(await bob.page.title(), "scripts");
  assert.equal(await bob.page.locator("#log script, #log img").count(), 0);

  const policy = bob.response.headers()["content-security-policy"];
  const directives = policy.split(";").map((directive) => directive.trim()).filter(Boolean);
  const given = Object.fromEntries(directives.map((directive) => [directive.split(" ")[0], directive.slice(directive.indexOf(" ") + 1)]));
  assert.deepEqual(given, CSP);
  assertNoComplaints();
});

test("after a crash of the server the page goes on by itself, with nothing lost or doubled", async () => {
  const [ann, bob] = [await enter("ann", "crash"), await enter("bob", "crash")];
  const said = [];
  const say = async (person, text) => {
    said.push(text);
    await person.say(text);
  };
  await say(ann, "before one");
  await bob.sees("before one");
  await say(bob, "before two");
  await ann.sees("before two");

  await server.kill();
  await Promise.all([ann.isDisconnected(), bob.isDisconnected()]);
  await say(ann, "while down");
  assert.equal(await ann.row("while down").count(), 0, "it is not kept yet");
  await ann.page.locator("#outbox").getByText("while down").waitFor();
  await shoot(ann, "down");
  await server.start();

  await Promise.all([ann.isConnected(), bob.isConnected()]);
  await Promise.all([ann.sees("while down"), bob.sees("while down")]);
  await say(bob, "after");
  await Promise.all([ann.sees("after"), bob.sees("after")]);
  assert.deepEqual(await ann.texts(), said);
  assert.deepEqual(await bob.texts(), said);
  assert.equal(await ann.page.locator("#outbox > li").count(), 0);
  assertNoComplaints(AWAY);
});

test("a crash in the middle of a burst loses and doubles nothing", async () => {
  const [ann, bob] = [await enter("ann", "burst"), await enter("bob", "burst")];
  const texts = Array.from({ length: 60 }, (_, index) => `burst ${index}`);
  for (const [index, text] of texts.entries()) {
    await ann.say(text);
    if (index === 30) await server.kill();
  }
  await server.start();
  await Promise.all([ann.sees("burst 59"), bob.sees("burst 59")]);
  await ann.page.waitForFunction(() => document.querySelectorAll("#outbox > li").length === 0);
  const seen = await bob.texts();
  assert.deepEqual([...seen].sort(), [...texts].sort());
  assert.deepEqual(await ann.texts(), seen);
  assertNoComplaints(AWAY);
});

test("what is unsent survives a reload of the page", async () => {
  const ann = await enter("ann", "reload");
  await server.kill();
  await ann.isDisconnected();
  await ann.say("kept over a reload");
  await ann.write("half a sen");
  // The page itself cannot come from a server that is away: it comes back with it.
  await server.start();
  await ann.page.reload();
  await ann.sees("kept over a reload");
  assert.equal(await ann.page.getByLabel("Message", { exact: true }).inputValue(), "half a sen");
  assert.equal(await ann.row("kept over a reload").count(), 1);
  assertNoComplaints(AWAY);
});

test("a drained server ends in peace, and the page comes back", async () => {
  const ann = await enter("ann", "drain");
  await ann.say("before the drain");
  await ann.sees("before the drain");
  assert.equal(await server.drain(), 0);
  await ann.isDisconnected();
  await server.start();
  await ann.isConnected();
  assert.deepEqual(await ann.texts(), ["before the drain"]);
  assertNoComplaints(AWAY);
});

test("older messages come as one scrolls up, each once", async () => {
  await fill("long", 220);
  const ann = await enter("ann", "long");
  await ann.sees("line 219");
  const first = await ann.seqs();
  assert.ok(first.length < 120, `${first.length} rows at first`);
  await ann.page.waitForFunction(() => {
    document.getElementById("scroller").scrollTop = 0;
    return !document.getElementById("beginning").hidden;
  });
  const seqs = await ann.seqs();
  assert.deepEqual(seqs, seqs.map((_, index) => seqs[0] + index), "no gap, no double");
  const lines = (await ann.texts()).filter((text) => text.startsWith("line "));
  assert.deepEqual(lines, Array.from({ length: 220 }, (_, index) => `line ${index}`));
  assertNoComplaints();
});

test("it can be used with the keyboard alone, on a narrow screen, in the dark", async () => {
  const ann = await enter("ann", "keys", { viewport: { width: 380, height: 700 }, colorScheme: "dark" });
  await ann.say("one");
  await ann.say("two");
  await ann.sees("two");
  const { keyboard } = ann.page;
  await keyboard.press("ArrowUp");
  await ann.page.getByText("Editing your message").waitFor();
  await ann.say("two and a half");
  await ann.page.getByText("two and a half").waitFor();

  await ann.page.locator("#scroller").focus();
  await keyboard.press("ArrowUp");
  await keyboard.press("ArrowUp");
  await keyboard.press("Tab");
  await keyboard.press("Enter");
  await ann.row("one").getByRole("button", { name: "👍 by ann" }).waitFor();
  await keyboard.press("Escape");
  await shoot(ann, "narrow-dark");
  const overflow = await ann.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(overflow, 0);
  assertNoComplaints();
});

/** Lets somebody say `count` lines in `room`. */
async function fill(room, count) {
  for (let index = 0; index < count; index += 1) {
    const body = JSON.stringify({ text: `line ${index}` });
    const url = `${server.url}/api/v1/rooms/${room}/messages?user=filler`;
    const headers = { "content-type": "application/json" };
    if (index === 0) await makeRoom(room, headers);
    const response = await fetch(url, { method: "POST", headers, body });
    assert.equal(response.status, 201, await response.text());
  }
}

async function makeRoom(room, headers) {
  const body = JSON.stringify({ id: room, name: room, kind: "group", visibility: "public" });
  const response = await fetch(`${server.url}/api/v1/rooms?user=filler`, { method: "POST", headers, body });
  assert.equal(response.status, 201, await response.text());
}
