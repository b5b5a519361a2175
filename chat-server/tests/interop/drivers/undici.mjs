// The WebSocket of `undici`: the one that node itself has since version 22.

import diagnostics from "node:diagnostics_channel";

import { Agent, WebSocket, ping } from "undici";

import { Inbox, inTime } from "./inbox.mjs";

export class Undici {
  name = "undici";
  can = { headers: true, ping: true, fragment: false };
  #dispatcher;

  async start({ authority = null } = {}) {
    this.#dispatcher = new Agent({ connect: { ca: await authority?.certificate() } });
  }

  async stop() {
    await this.#dispatcher?.destroy();
  }

  async connect({ url, protocols, headers }) {
    const socket = new WebSocket(url, { protocols, headers, dispatcher: this.#dispatcher });
    const inbox = new Inbox();
    const why = new ConnectError(url);
    const opened = new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("close", ({ code, reason }) => {
        reject(new Error(`closed with ${code} before it was open ${why.text}`));
        inbox.push({ type: "close", code, reason });
      });
    });
    socket.addEventListener("message", ({ data }) => {
      inbox.push(typeof data === "string" ? { type: "text", text: data } : { type: "binary" });
    });
    try {
      await inTime(opened, "the handshake");
    } finally {
      why.dispose();
    }
    return new UndiciSocket(socket, inbox);
  }
}

/** What went wrong before there was a connection: undici tells it on a diagnostics channel only. */
class ConnectError {
  text = "";
  #port;
  #heard = ({ connectParams, error }) => {
    if (connectParams.port === this.#port) this.text = `(${error.message})`;
  };

  constructor(url) {
    this.#port = new URL(url).port;
    diagnostics.subscribe("undici:client:connectError", this.#heard);
  }

  dispose() {
    diagnostics.unsubscribe("undici:client:connectError", this.#heard);
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
