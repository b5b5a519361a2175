// The real server, started, killed and started again.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const START_MS = 20_000;

export class Server {
  #flags;
  #folder = mkdtempSync(join(tmpdir(), "chat-web-"));
  #child = null;
  #log = "";
  url = null;

  /** `flags` say who tells who is asking. */
  constructor({ flags = ["--auth", "open"] } = {}) {
    this.#flags = flags;
  }

  /** Starts on a free port the first time, on the same one later. */
  async start() {
    const listen = this.url === null ? "127.0.0.1:0" : new URL(this.url).host;
    const database = `sqlite:${join(this.#folder, "chat.db")}`;
    // Whatever else the machine has to do, nothing that a test waits for is left off.
    const flags = ["--listen", listen, "--database", database, "--degradation", "off", ...this.#flags];
    this.#child = spawn(binary(), flags, { stdio: ["ignore", "pipe", "pipe"], env: environment() });
    this.#child.stderr.on("data", (data) => (this.#log += data));
    this.url = await this.#address(this.#child);
  }

  /** Ends it as a crash would. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Ends it in peace; the answer is its exit code. */
  async drain() {
    return this.#end("SIGTERM");
  }

  async dispose() {
    if (this.#child !== null) await this.#end("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #end(signal) {
    const child = this.#child;
    this.#child = null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exit = once(child, "exit");
    child.kill(signal);
    const [code] = await exit;
    return code;
  }

  #address(child) {
    return new Promise((resolve, reject) => {
      const fail = (what) => reject(new Error(`the server ${what}; its log:\n${this.#log}`));
      const timer = setTimeout(() => fail("says no address"), START_MS);
      child.once("error", reject);
      child.once("exit", (code) => fail(`ended with ${code}`));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const address = /^listening on (https?:\/\/\S+)$/.exec(line)?.[1];
        if (!address) return;
        clearTimeout(timer);
        resolve(address);
      });
    });
  }
}

/** This process's environment without settings of a server: the flags alone say what is tested. */
function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("CHAT_")));
}

function binary() {
  const path = process.env.CHAT_SERVER_BIN;
  if (!path) throw new Error("CHAT_SERVER_BIN names no server to test");
  return path;
}
