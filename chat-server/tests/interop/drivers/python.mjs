// A Python client: a process that is told over its standard input what to do. See bridge.py for what is said.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Inbox, inTime } from "./inbox.mjs";

export class Python {
  #script;
  #child = null;
  #sockets = new Map();
  #calls = new Map();
  #number = 0;
  #log = "";
  #ca = null;

  constructor(name, can) {
    this.name = name;
    this.can = can;
    this.#script = fileURLToPath(new URL(`${name}_driver.py`, import.meta.url));
  }

  async start({ authority = null } = {}) {
    this.#ca = authority?.path ?? null;
    this.#child = spawn(python(), [this.#script], { stdio: "pipe", env: environment() });
    this.#child.stderr.on("data", (data) => (this.#log += data));
    this.#child.on("exit", (code) => this.#end(`the client's process ended with ${code}:\n${this.#log}`));
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#hear(JSON.parse(line)));
    await this.call({ do: "hello" });
  }

  async stop() {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.stdin.end();
    await inTime(exit, `the end of ${this.name}`);
    if (this.#log !== "") throw new Error(`${this.name} complained:\n${this.#log}`);
  }

  async connect({ url, protocols, headers, options = {} }) {
    const socket = ++this.#number;
    const inbox = new Inbox();
    this.#sockets.set(socket, inbox);
    const opened = await this.call({ do: "connect", socket, url, protocols, headers, ca: this.#ca, options });
    return new PythonSocket(this, socket, inbox, opened);
  }

  call(request) {
    const call = ++this.#number;
    const answer = new Promise((resolve, reject) => this.#calls.set(call, { resolve, reject }));
    this.#child.stdin.write(`${JSON.stringify({ call, ...request })}\n`);
    return inTime(answer, `the answer of ${this.name} to ${request.do}`);
  }

  #hear(heard) {
    if (heard.call === undefined) {
      this.#sockets.get(heard.socket).push(heard.event);
      return;
    }
    const { resolve, reject } = this.#calls.get(heard.call);
    this.#calls.delete(heard.call);
    if (heard.error === undefined) resolve(heard.answer);
    else reject(new Error(heard.error));
  }

  #end(why) {
    for (const { reject } of this.#calls.values()) reject(new Error(why));
    for (const inbox of this.#sockets.values()) inbox.push({ type: "failure", text: why });
  }
}

class PythonSocket {
  #python;
  #number;

  constructor(python, number, inbox, { protocol, extensions }) {
    this.#python = python;
    this.#number = number;
    this.inbox = inbox;
    this.protocol = protocol;
    this.extensions = extensions;
  }

  send(text) {
    return this.#call("send", { text });
  }

  sendBinary(bytes) {
    return this.#call("send_binary", { bytes: [...bytes] });
  }

  sendFragments(parts) {
    return this.#call("send_fragments", { parts: parts.map((part) => [...part]) });
  }

  ping() {
    return this.#call("ping", {});
  }

  close(code, reason) {
    return this.#call("close", code === undefined ? {} : { code, reason });
  }

  #call(what, fields) {
    return this.#python.call({ do: what, socket: this.#number, ...fields });
  }
}

/** The interpreter in whose environment requirements.txt is installed. */
export function python() {
  const path = process.env.CHAT_INTEROP_PYTHON;
  if (!path) throw new Error("CHAT_INTEROP_PYTHON names no interpreter");
  if (!existsSync(path)) throw new Error(`there is no interpreter at ${path}`);
  return path;
}

/** A proxy for the world outside is none for a server on this machine. */
export function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name)));
}
