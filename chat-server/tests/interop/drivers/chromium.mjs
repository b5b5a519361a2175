// The WebSocket of a page in Chromium.

import { launch } from "../../../web/tests/support/page.mjs";
import { Inbox, inTime } from "./inbox.mjs";

export class Chromium {
  name = "Chromium";
  can = { headers: false, ping: false, fragment: false };
  #browser = null;
  #pages = new Map();
  #inboxes = [];

  async start({ authority = null } = {}) {
    this.#browser = await launch(authority === null ? {} : { HOME: authority.home });
  }

  async stop() {
    await this.#browser?.close();
  }

  async connect({ url, protocols, headers: { cookie, origin, ...others } }) {
    if (Object.keys(others).length > 0) throw new Error("a page sets no headers");
    const server = url.replace(/^ws/, "http").replace(/\/ws\b.*$/, "");
    const page = await this.#page(origin ?? server);
    if (cookie !== undefined) await page.context().addCookies([cookieFor(server, cookie)]);
    const inbox = new Inbox();
    const number = this.#inboxes.push(inbox) - 1;
    const opened = await inTime(page.evaluate(openInPage, { number, url, protocols }), "the handshake");
    return new PageSocket(page, number, inbox, opened);
  }

  /** A page of this origin, with cookies of its own. It stays while connections come and go. */
  async #page(origin) {
    if (!this.#pages.has(origin)) {
      const page = await this.#browser.newPage();
      await page.exposeBinding("heard", (_, number, events) => {
        for (const event of events) this.#inboxes[number].push(event);
      });
      await page.goto(`${origin}/app.css`); // anything that is served makes a page
      this.#pages.set(origin, page);
      page.once("close", () => this.#pages.delete(origin));
    }
    return this.#pages.get(origin);
  }
}

/** As a service that signs people in would set it. */
function cookieFor(url, cookie) {
  const [, name, value] = /^([^=]+)=(.*)$/.exec(cookie);
  return { name, value, url, httpOnly: true, sameSite: "Strict", secure: url.startsWith("https:") };
}

/** Runs in the page. What is heard goes out in the order in which it came, as much at a time as has gathered. */
function openInPage({ number, url, protocols }) {
  const socket = new WebSocket(url, protocols);
  const events = [];
  let isTelling = false;
  const tell = async (event) => {
    events.push(event);
    if (isTelling) return;
    isTelling = true;
    while (events.length > 0) await window.heard(number, events.splice(0));
    isTelling = false;
  };
  window.sockets = { ...window.sockets, [number]: socket };
  socket.onmessage = ({ data }) => tell(typeof data === "string" ? { type: "text", text: data } : { type: "binary" });
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve({ protocol: socket.protocol, extensions: socket.extensions });
    socket.onclose = ({ code, reason }) => {
      reject(new Error(`closed with ${code} before it was open`)); // nothing more is told to a page
      tell({ type: "close", code, reason });
    };
  });
}

class PageSocket {
  #page;
  #number;

  constructor(page, number, inbox, { protocol, extensions }) {
    this.#page = page;
    this.#number = number;
    this.inbox = inbox;
    this.protocol = protocol;
    this.extensions = extensions;
  }

  async send(text) {
    await this.#page.evaluate(([number, data]) => window.sockets[number].send(data), [this.#number, text]);
  }

  async sendBinary(bytes) {
    const send = ([number, data]) => window.sockets[number].send(new Uint8Array(data));
    await this.#page.evaluate(send, [this.#number, [...bytes]]);
  }

  async close(...how) {
    await this.#page.evaluate(([number, words]) => window.sockets[number].close(...words), [this.#number, how]);
  }

  async dispose() {
    await this.#page.close();
  }
}
