// The page: a form to come in, and a room with its view for as long as the address names one.

import { Room } from "./room.js";
import { View, byId } from "./view.js";

const ID = /^[a-z0-9._-]{1,64}$/;

function socketUrl(user) {
  const url = new URL("/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("user", user);
  return url.href;
}

/** The browser's storage where it can be used. Where it cannot, or is full, only a reload would miss anything. */
class ForgivingStorage {
  #storage = null;

  constructor() {
    this.#try(() => (this.#storage = localStorage));
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

class App {
  #storage = new ForgivingStorage();
  #view = new View(this.#storage);
  #room = null;

  start() {
    byId("start-form").addEventListener("submit", (event) => this.#enter(event));
    byId("leave").addEventListener("click", () => (location.hash = ""));
    addEventListener("hashchange", () => this.#go());
    addEventListener("online", () => this.#room?.connection.connect());
    document.addEventListener("visibilitychange", () => this.#visible());
    this.#go();
  }

  #go() {
    this.#room?.close();
    this.#room = null;
    this.#view.clear();
    const to = place();
    byId("start").hidden = to !== null;
    byId("chat").hidden = to === null;
    if (to === null) this.#ask();
    else this.#open(to);
  }

  #ask() {
    document.title = "Chat";
    const user = byId("start-user");
    const room = byId("start-room");
    user.value = this.#storage.getItem("chat.user") ?? "";
    room.value = this.#storage.getItem("chat.room") ?? "lobby";
    (user.value === "" ? user : room).focus();
  }

  #enter(event) {
    event.preventDefault();
    const user = byId("start-user").value;
    const room = byId("start-room").value;
    this.#storage.setItem("chat.user", user);
    this.#storage.setItem("chat.room", room);
    location.hash = `${user}@${room}`;
  }

  #open({ user, room }) {
    const view = this.#view;
    this.#room = new Room({ me: user, name: room, url: socketUrl(user), storage: this.#storage, view });
    view.show(this.#room);
    this.#room.open();
  }

  #visible() {
    if (document.hidden || !this.#room) return;
    this.#room.connection.connect();
    this.#view.returned();
  }
}

new App().start();
