// The WebSocket of `undici`: the one that node itself has since version 22.

import diagnostics from "node:diagnostics_channel";

import { WebSocket, ping } from "undici";

import { Inbox, inTime } from "./inbox.mjs";

export class Undici {
  name = "undici";
  can = { ping: true, fragment: false };

  async start() {}

  async stop() {}

  async connect({ url, protocols, headers }) {
    const socket = new WebSocket(url, { protocols, headers });
    const inbox = new Inbox();
    const opened = new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", (event) => reject(new Error(`the handshake failed: ${event.error?.message}`)));
    });
    socket.addEventListener("message", ({ data }) => {
      inbox.push(typeof data === "string" ? { type: "text", text: data } : { type: "binary" });
    });
    socket.addEventListener("close", ({ code, reason }) => inbox.push({ type: "close", code, reason }));
    await inTime(opened, "the handshake");
    return new UndiciSocket(socket, inbox);
  }
}

class UndiciSocket {
  #socket;

  constructor(socket, inbox) {
    this.#socket = socket;
    this.inbox = inbox;
    this.protocol = socket.protocol;
    this.extensions = socket.extensions;
  }

  async send(text) {
    this.#socket.send(text);
  }

  async sendBinary(bytes) {
    this.#socket.send(bytes);
  }

  /** undici shows pongs on a diagnostics channel only. */
  async ping() {
    const channel = "undici:websocket:pong";
    let heard;
    const pong = new Promise((resolve) => (heard = ({ websocket }) => websocket === this.#socket && resolve()));
    diagnostics.subscribe(channel, heard);
    try {
      ping(this.#socket);
      await inTime(pong, "the pong");
    } finally {
      diagnostics.unsubscribe(channel, heard);
    }
  }

  async close(code, reason) {
    this.#socket.close(code, reason);
  }
}
