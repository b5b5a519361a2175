// The client `ws` for node.

import { once } from "node:events";

import { WebSocket } from "ws";

import { Inbox, inTime } from "./inbox.mjs";

export class Ws {
  name = "ws";
  can = { headers: true, ping: true, fragment: true };
  #ca;

  /** Beside those whom everybody trusts, `authority` is trusted. */
  async start({ authority = null } = {}) {
    this.#ca = await authority?.certificate();
  }

  async stop() {}

  async connect({ url, protocols, headers }) {
    const socket = new WebSocket(url, protocols, { headers, ca: this.#ca });
    const inbox = new Inbox();
    socket.on("message", (data, isBinary) => {
      inbox.push(isBinary ? { type: "binary" } : { type: "text", text: data.toString() });
    });
    socket.on("close", (code, reason) => inbox.push({ type: "close", code, reason: reason.toString() }));
    await inTime(once(socket, "open"), "the handshake");
    socket.on("error", () => {}); // a close event follows, with what there is to say
    return new WsSocket(socket, inbox);
  }
}

class WsSocket {
  #socket;

  constructor(socket, inbox) {
    this.#socket = socket;
    this.inbox = inbox;
    this.protocol = socket.protocol;
    this.extensions = socket.extensions;
  }

  send(text) {
    return this.#write(text, {});
  }

  sendBinary(bytes) {
    return this.#write(bytes, { binary: true });
  }

  async sendFragments(parts) {
    for (const [at, part] of parts.entries()) await this.#write(part, { binary: false, fin: at === parts.length - 1 });
  }

  async ping() {
    const pong = once(this.#socket, "pong");
    this.#socket.ping();
    await inTime(pong, "the pong");
  }

  async close(code, reason) {
    this.#socket.close(code, reason);
  }

  #write(data, options) {
    return new Promise((resolve, reject) => {
      this.#socket.send(data, options, (error) => (error ? reject(error) : resolve()));
    });
  }
}
