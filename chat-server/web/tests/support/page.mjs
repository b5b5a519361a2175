// A person at a browser: the page as somebody uses it.

import { existsSync } from "node:fs";

import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHAT_CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const WAIT_MS = 15_000;

/** What a browser says when a server is away; anything else is a complaint. */
export const AWAY = /WebSocket connection to .* failed|WebSocket is closed before|ERR_CONNECTION_REFUSED/;

/** Starts the browser, with these variables beside those of this process. */
export async function launch(variables = {}) {
  if (!existsSync(CHROMIUM)) throw new Error(`there is no browser at ${CHROMIUM}`);
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS, env: { ...process.env, ...variables } });
}

export class Person {
  /** What the browser complained of. */
  complaints = [];

  /** Opens the page in a context of its own, as `user` in `room`. */
  static async enter(browser, url, user, room, options = {}) {
    const person = await Person.arrive(browser, url, options);
    await person.page.getByLabel("Your name", { exact: true }).fill(user);
    await person.join(room);
    return person;
  }

  /** Opens the page in a context of its own, with these cookies. */
  static async arrive(browser, url, { cookies = [], ...options } = {}) {
    const person = new Person();
    const context = await browser.newContext({ viewport: { width: 1000, height: 720 }, ...options });
    context.setDefaultTimeout(WAIT_MS);
    await context.addCookies(cookies);
    person.page = await context.newPage();
    person.page.on("console", (message) => person.#heard(message));
    person.page.on("pageerror", (error) => person.complaints.push(String(error)));
    person.response = await person.page.goto(`${url}/`);
    return person;
  }

  /** Sends the form, and waits until the room is there. */
  async join(room) {
    await this.page.getByLabel("Room", { exact: true }).fill(room);
    await this.page.getByRole("button", { name: "Join" }).click();
    await this.isConnected();
  }

  #heard(message) {
    const isComplaint = ["error", "warning"].includes(message.type());
    if (isComplaint) this.complaints.push(message.text());
  }

  async isConnected() {
    await this.page.locator("html[data-connection='joined']").waitFor();
  }

  async isDisconnected() {
    await this.page.locator("html:not([data-connection='joined'])").waitFor();
  }

  async say(text) {
    await this.write(text);
    await this.page.keyboard.press("Enter");
  }

  async write(text) {
    await this.page.getByLabel("Message", { exact: true }).fill(text);
  }

  /** Writes letter by letter, as people do. */
  async type(text) {
    await this.page.getByLabel("Message", { exact: true }).pressSequentially(text, { delay: 150 });
  }

  /** The row of the message with this text, once it is there and kept. */
  row(text) {
    return this.page.locator("#log > li").filter({ has: this.page.getByText(text, { exact: true }) });
  }

  async sees(text) {
    await this.row(text).first().waitFor();
  }

  /** Presses a button of the message with this text. */
  async press(text, button) {
    await this.row(text).hover();
    await this.row(text).getByRole("button", { name: button, exact: true }).click();
  }

  /** All texts in the timeline, in order. */
  texts() {
    return this.page.locator("#log .text").allTextContents();
  }

  /** The numbers of all rows, in order. */
  seqs() {
    return this.page.$$eval("#log > li", (rows) => rows.map((row) => Number(row.dataset.seq)));
  }
}
