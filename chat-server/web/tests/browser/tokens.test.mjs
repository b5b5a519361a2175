// The page where another service signs tokens, in a browser against the real server (CHAT_SERVER_BIN).

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";

import { AWAY, Person, launch } from "../support/page.mjs";
import { Server } from "../support/server.mjs";
import { SECRET, tokenFor } from "../support/tokens.mjs";

const screenshots = mkdtempSync(join(tmpdir(), "chat-web-screenshots-"));
let server;
let browser;
let people = [];
/** What a test may make a browser complain of. */
let allowed = null;

before(async () => {
  server = new Server({ flags: ["--auth", "jwt", "--jwt-secret", SECRET] });
  await server.start();
  await createRoom();
  browser = await launch();
  console.log(`screenshots: ${screenshots}`);
});

after(async () => {
  await browser?.close();
  await server?.dispose();
});

afterEach(async () => {
  const complaints = people.flatMap((person) => person.complaints);
  for (const person of people) await person.page.context().close();
  people = [];
  const unexpected = complaints.filter((text) => !allowed?.test(text));
  allowed = null;
  assert.deepEqual(unexpected, []);
});

async function createRoom() {
  const answer = await fetch(`${server.url}/api/v1/rooms`, {
    method: "POST",
    headers: { authorization: `Bearer ${tokenFor("host")}`, "content-type": "application/json" },
    body: JSON.stringify({ id: "harbour", visibility: "public" }),
  });
  assert.equal(answer.status, 201);
}

async function arrive(options) {
  const person = await Person.arrive(browser, server.url, options);
  people.push(person);
  return person;
}

const cookie = (value) => ({ name: "chat_session", value, url: server.url, httpOnly: true, sameSite: "Strict" });
const shoot = (person, name) => person.page.screenshot({ path: join(screenshots, `${name}.png`) });
const giveToken = (person, token) => person.page.getByLabel("Your token", { exact: true }).fill(token);

test("a token is asked for, kept for the window, and given up again", async () => {
  const ann = await arrive();
  await giveToken(ann, "no token");
  await ann.page.getByRole("button", { name: "Join" }).click();
  await ann.page.getByRole("alert").getByText("This token is not accepted.").waitFor();
  await shoot(ann, "refused");

  await giveToken(ann, tokenFor("ann", { name: "Ann" }));
  await ann.join("harbour");
  await ann.say("Hello, with a token");
  await ann.sees("Hello, with a token");
  await ann.page.reload();
  await ann.isConnected();
  await ann.sees("Hello, with a token");

  await ann.page.getByRole("button", { name: "Leave" }).click();
  await ann.page.getByText("Signed in as Ann", { exact: true }).waitFor();
  await shoot(ann, "known");
  await ann.page.getByRole("button", { name: "Sign out" }).click();
  await ann.page.getByLabel("Your token", { exact: true }).waitFor();
  assert.equal(await ann.page.evaluate(() => sessionStorage.length), 0);
});

test("somebody with a cookie need not say who it is", async () => {
  const bob = await arrive({ cookies: [cookie(tokenFor("bob", { name: "Bob" }))] });
  await bob.page.getByText("Signed in as Bob", { exact: true }).waitFor();
  assert.ok(await bob.page.getByRole("button", { name: "Sign out" }).isHidden(), "whoever set it takes it away");
  await bob.join("harbour");
  await bob.say("Hello, with a cookie");
  await bob.sees("Hello, with a cookie");
});

test("an address of another user is not entered", async () => {
  const bob = await arrive({ cookies: [cookie(tokenFor("bob", { name: "Bob" }))] });
  await bob.page.goto(`${server.url}/#ann@harbour`);
  await bob.page.getByText("Signed in as Bob", { exact: true }).waitFor();
  assert.equal(await bob.page.getByLabel("Room", { exact: true }).inputValue(), "harbour");
});

test("who is signed in no longer is told so, and comes in again", async () => {
  const ann = await arrive();
  await giveToken(ann, tokenFor("ann", { seconds: 6 }));
  await ann.join("harbour");
  await ann.page.getByRole("alert").getByText("You are not signed in, or no longer.").waitFor();
  await shoot(ann, "ended");
  await giveToken(ann, tokenFor("ann"));
  await ann.join("harbour");
});

test("a cookie that was renewed in time goes on where the first one ends", async () => {
  const bob = await arrive({ cookies: [cookie(tokenFor("bob", { seconds: 6 }))] });
  await bob.join("harbour");
  const next = bob.page.waitForEvent("websocket");
  await bob.page.context().addCookies([cookie(tokenFor("bob"))]);
  await next;
  await bob.isConnected();
  await bob.say("Hello again, with the next cookie");
  await bob.sees("Hello again, with the next cookie");
});

test("where a cookie has ended the form comes, and says why", async () => {
  const bob = await arrive({ cookies: [cookie(tokenFor("bob", { seconds: 6 }))] });
  await bob.join("harbour");
  await bob.page.getByRole("alert").getByText("You are not signed in, or no longer.").waitFor();
  await bob.page.getByLabel("Your token", { exact: true }).waitFor();
  await shoot(bob, "cookie-ended");
});

test("a cookie that ended while the network was away is noticed, too", async () => {
  allowed = AWAY;
  const bob = await arrive({ cookies: [cookie(tokenFor("bob"))] });
  await bob.join("harbour");
  await server.kill();
  await bob.isDisconnected();
  await bob.page.context().addCookies([cookie(tokenFor("bob", { seconds: -600 }))]);
  await server.start();
  await bob.page.getByRole("alert").getByText("You are not signed in, or no longer.").waitFor();
});

test("a cookie of another user does not come in under the first one's name", async () => {
  const bob = await arrive({ cookies: [cookie(tokenFor("bob", { seconds: 6 }))] });
  await bob.join("harbour");
  await bob.page.context().addCookies([cookie(tokenFor("eve", { name: "Eve" }))]);
  await bob.page.getByRole("alert").getByText("Somebody else is signed in by now.").waitFor();
  await bob.page.getByText("Signed in as Eve", { exact: true }).waitFor();
  await shoot(bob, "somebody-else");
});
