// The page: a form to come in, and a room with its view for as long as the address names one.

import { Access } from "./access.js";
import { SIGNED_OUT } from "./connection.js";
import { Room } from "./room.js";
import { View, byId } from "./view.js";

const ID = /^[a-z0-9._-]{1,64}$/;

/** Where the socket is; a user who only says a name says it there. */
function socketUrl(name) {
  const url = new URL("/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (name !== undefined) url.searchParams.set("user", name);
  return url.href;
}

/** What the form says of itself, by how one comes in. */
const HINTS = {
  name: "Small letters a–z, digits, and . _ - only. A room that is not there yet is made.",
  token: "The token is kept for as long as this window.",
  elsewhere: "You sign in to this chat on another page, which has not been done yet.",
};

/** The browser's storage where it can be used. Where it cannot, or is full, only a reload would miss anything. */
class ForgivingStorage {
  #storage = null;

  /** `open` gives the storage, or throws. */
  constructor(open) {
    this.#try(() => (this.#storage = open()));
  }

  get length() {
    return this.#storage?.length ?? 0;
  }

  key(index) {
    return this.#storage.key(index);
  }

  getItem(key) {
    return this.#storage?.getItem(key) ?? null;
  }

  setItem(key, value) {
    this.#try(() => this.#storage?.setItem(key, value));
  }

  removeItem(key) {
    this.#storage?.removeItem(key);
  }

  #try(action) {
    try {
      action();
    } catch (error) {
      console.warn("nothing is kept over a reload:", error.name);
    }
  }
}

/** The place that the address names: `#user@room`. */
function place() {
  const [user, room, ...rest] = location.hash.slice(1).split("@");
  return ID.test(user) && ID.test(room ?? "") && rest.length === 0 ? { user, room } : null;
}

/** Whether who is known so may be at this place. */
function isAllowed(known, to) {
  return to !== null && (known.user ? known.user.id === to.user : known.by === "name");
}

class App {
  #storage = new ForgivingStorage(() => localStorage);
  #access = new Access({ storage: new ForgivingStorage(() => sessionStorage) });
  #view = new View(this.#storage);
  #room = null;
  #known = null;
  #turn = 0;

  start() {
    byId("start-form").addEventListener("submit", (event) => this.#enter(event));
    byId("sign-out").addEventListener("click", () => this.#signOut());
    byId("leave").addEventListener("click", () => (location.hash = ""));
    addEventListener("hashchange", () => this.#go());
    addEventListener("online", () => this.#room?.connection.connect());
    document.addEventListener("visibilitychange", () => this.#visible());
    this.#go();
  }

  /** Goes to where the address says. `problem` is why one is not where one was, if something is wrong. */
  async #go(problem) {
    const turn = ++this.#turn;
    this.#room?.close(problem);
    this.#room = null;
    this.#view.clear();
    const known = await this.#access.ask();
    // Meanwhile the address may have changed again.
    if (turn !== this.#turn) return;
    this.#known = known;
    const to = place();
    const isIn = isAllowed(known, to);
    byId("start").hidden = isIn;
    byId("chat").hidden = !isIn;
    if (isIn) this.#open(to);
    else this.#ask(to, problem);
  }

  /** Shows the form, with what is known already and what the address or the last time says. */
  #ask(to, problem = "") {
    document.title = "Chat";
    const { user, by } = this.#known;
    const way = user ? "known" : by;
    for (const field of ["name", "token", "known"]) {
      byId(`by-${field}`).hidden = byId(`by-${field}`).disabled = field !== way;
    }
    byId("start-join").disabled = way === "elsewhere";
    byId("start-problem").textContent = problem;
    byId("start-hint").textContent = HINTS[way] ?? "";
    byId("start-known").textContent = user ? `Signed in as ${user.name}` : "";
    byId("sign-out").hidden = this.#access.token === undefined;
    byId("start-user").value = this.#storage.getItem("chat.user") ?? "";
    byId("start-token").value = "";
    byId("start-room").value = to?.room ?? this.#storage.getItem("chat.room") ?? "lobby";
    const first = { name: byId("start-user"), token: byId("start-token") }[way];
    (first?.value === "" ? first : byId("start-room")).focus();
  }

  async #enter(event) {
    event.preventDefault();
    const room = byId("start-room").value;
    const user = await this.#whoEnters();
    if (user === undefined) return;
    this.#storage.setItem("chat.room", room);
    const hash = `#${user}@${room}`;
    if (location.hash === hash) this.#go();
    else location.hash = hash;
  }

  /** The id of who has filled in the form; nothing where that says nobody. */
  async #whoEnters() {
    const { user, by } = this.#known;
    if (user) return user.id;
    if (by === "token") {
      const { user: proved, problem } = await this.#access.tryToken(byId("start-token").value.trim());
      byId("start-problem").textContent = problem ?? "";
      return proved?.id;
    }
    const name = byId("start-user").value;
    this.#storage.setItem("chat.user", name);
    return name;
  }

  #signOut() {
    this.#access.forget();
    this.#go();
  }

  #open({ user, room }) {
    const view = this.#view;
    const url = socketUrl(this.#known.user ? undefined : user);
    const token = this.#access.token;
    const access = () => this.#mayReturn();
    this.#room = new Room({ me: user, name: room, url, token, access, storage: this.#storage, view });
    view.show(this.#room);
    this.#room.open();
  }

  /**
   * Whether who was in the room may come back to it as before: a cookie may have ended, or be a newer one by now. Where
   * not, it is left for the form. Null where the server does not answer.
   */
  async #mayReturn() {
    const turn = this.#turn;
    const known = await this.#access.askOnce();
    if (known === null || turn !== this.#turn) return null;
    const isAsBefore = Boolean(known.user) === Boolean(this.#known.user);
    if (isAsBefore && isAllowed(known, place())) return true;
    this.#go(known.user ? "Somebody else is signed in by now." : SIGNED_OUT);
    return false;
  }

  #visible() {
    if (document.hidden || !this.#room) return;
    this.#room.connection.connect();
    this.#view.returned();
  }
}

new App().start();
