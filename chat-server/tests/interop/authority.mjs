// A certificate authority of the tests' own, which nobody trusts unless told to.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

// As strict as the strictest client asks.
const KINDS = `
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = \${ENV::SERVER}
`;
const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

export class Authority {
  #folder;
  #servers = 0;

  static async found() {
    const authority = new Authority();
    authority.#folder = await mkdtemp(join(tmpdir(), "chat-authority-"));
    await writeFile(authority.#at("kinds.cnf"), KINDS);
    await authority.#sign("authority", "authority", []);
    await authority.#settle();
    return authority;
  }

  /** The PEM file with its certificate. */
  get path() {
    return this.#at("authority.pem");
  }

  certificate() {
    return readFile(this.path, "utf8");
  }

  /** A home folder whose owner's browser trusts this authority. */
  get home() {
    return this.#at("home");
  }

  /** Flags of a server with a certificate for this name, which is "IP:…" or "DNS:…". */
  async flagsFor(name) {
    this.#servers += 1;
    const file = `server-${this.#servers}`;
    await this.#sign(file, "server", ["-CA", this.path, "-CAkey", this.#at("authority.key")], name);
    return ["--tls-cert", this.#at(`${file}.pem`), "--tls-key", this.#at(`${file}.key`)];
  }

  async dispose() {
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Makes the home folder, with the database in which Chromium looks for authorities. */
  async #settle() {
    const database = join(this.home, ".pki", "nssdb");
    await mkdir(database, { recursive: true });
    const certutil = (...flags) => run("certutil", ["-d", `sql:${database}`, ...flags]);
    await certutil("-N", "--empty-password");
    await certutil("-A", "-n", "tests", "-t", "C,,", "-i", this.path);
  }

  async #sign(file, kind, signer, name = "") {
    const subject = ["-subj", `/CN=${kind} of the tests`, "-days", "2"];
    const files = ["-keyout", this.#at(`${file}.key`), "-out", this.#at(`${file}.pem`)];
    const flags = ["-x509", "-config", this.#at("kinds.cnf"), "-extensions", kind, ...KEY, ...subject, ...files];
    await run("openssl", ["req", ...flags, ...signer], { env: { ...process.env, SERVER: name } });
  }

  #at(file) {
    return join(this.#folder, file);
  }
}
