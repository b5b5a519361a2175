// A page of another origin that calls the API, in a browser against the real server (CHAT_SERVER_BIN).

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { launch } from "../support/page.mjs";
import { Server } from "../support/server.mjs";
import { SECRET, tokenFor } from "../support/tokens.mjs";

let sites = [];
let server;
let browser;

before(async () => {
  sites = [await site(), await site()];
  const flags = ["--auth", "jwt", "--jwt-secret", SECRET, "--allowed-origin", origin(0)];
  server = new Server({ flags });
  await server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.dispose();
  for (const site of sites) site.close();
});

/** Another web server, with an empty page. */
async function site() {
  const site = createServer((_request, response) => {
    response.setHeader("content-type", "text/html").end("<!doctype html><title>Elsewhere</title>");
  });
  await once(site.listen(0, "127.0.0.1"), "listening");
  return site;
}

const origin = (n) => `http://127.0.0.1:${sites[n].address().port}`;

/** Makes a room as a page of this origin does: by the user's cookie, and by a token. */
async function makeRooms(from, ids) {
  const context = await browser.newContext();
  const cookie = { name: "chat_session", value: tokenFor("ann"), url: server.url, httpOnly: true, sameSite: "Strict" };
  await context.addCookies([cookie]);
  const page = await context.newPage();
  await page.goto(from);
  const made = await page.evaluate(
    async ([url, ids, token]) => {
      const ask = async (path, options) => {
        try {
          const answer = await fetch(url + path, { credentials: "include", ...options });
          return [answer.status, answer.headers.get("retry-after"), (await answer.json()).id];
        } catch (error) {
          return String(error);
        }
      };
      const post = (id, headers) => ({
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ id, visibility: "public" }),
      });
      return [
        await ask("/api/v1/rooms", post(ids[0])),
        await ask("/api/v1/rooms", { ...post(ids[1], { authorization: `Bearer ${token}` }), credentials: "omit" }),
        await ask(`/api/v1/rooms/${ids[0]}`),
      ];
    },
    [server.url, ids, tokenFor("bob")],
  );
  await context.close();
  return made;
}

test("a page of an allowed origin calls the API, by cookie and by token", async () => {
  const made = await makeRooms(origin(0), ["pier", "quay"]);
  assert.deepEqual(made, [
    [201, null, "pier"],
    [201, null, "quay"],
    [200, null, "pier"],
  ]);
});

test("a page of another origin gets nothing through and reads nothing", async () => {
  const made = await makeRooms(origin(1), ["reef", "rock"]);
  for (const answer of made) assert.match(String(answer), /^TypeError: /);
  const headers = { authorization: `Bearer ${tokenFor("ann")}` };
  for (const id of ["reef", "rock"]) {
    assert.equal((await fetch(`${server.url}/api/v1/rooms/${id}`, { headers })).status, 404);
  }
});
