// What is seen of a room, and what is done to it by hand: the fixed parts of the page. The rows in it are elements.js.

import { excerpt, fillRow, group, outboxElement, personElement, setText } from "./elements.js";
import { ROWS_MAX } from "./timeline.js";

/** This near to the end one still reads the newest; in pixels. */
const END_SLACK_PX = 40;
/** Rows kept while somebody reads further up, where forgetting the oldest could pull the page from under them. */
const ROWS_WHILE_READING_MAX = 5 * ROWS_MAX;
/** A hidden page gets no animation frames; it draws after this long, in milliseconds. */
const HIDDEN_DRAW_MS = 200;
/** This near to the beginning the page before is loaded. */
const OLDER_SLACK_PX = 300;

/** The part of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** What is seen of a room. It holds elements and no truth. */
export class View {
  #room = null;
  #rows = new Map();
  #composing = { mode: "new" };
  #isFramePending = false;
  #wasAtEnd = true;
  #outboxVersion = -1;
  #missed = 0;
  #draftKey = "";

  constructor(storage) {
    this.storage = storage;
    this.log = byId("log");
    this.scroller = byId("scroller");
    this.text = byId("text");
    this.#listen();
  }

  show(room) {
    this.#room = room;
    this.#rows.clear();
    this.log.replaceChildren();
    this.#outboxVersion = -1;
    this.#wasAtEnd = true;
    this.#count(0);
    byId("room-name").textContent = room.name;
    byId("beginning").hidden = true;
    this.note("");
    this.#draftKey = `chat.draft.${room.me}@${room.name}`;
    this.#compose({ mode: "new" });
    this.text.value = this.storage.getItem(this.#draftKey) ?? "";
    this.#grow();
  }

  /** Forgets the room. */
  clear() {
    this.#room = null;
  }

  state(state) {
    document.documentElement.dataset.connection = state.name;
    const seconds = Math.ceil((state.waitMs ?? 0) / 1000);
    const texts = {
      connecting: "Connecting…",
      joined: "Connected",
      waiting: `Connection lost. Trying again in ${seconds} s.`,
      stopped: state.reason ?? "Left",
    };
    setText(byId("status"), texts[state.name]);
    byId("retry").hidden = state.name !== "waiting";
    this.text.disabled = byId("send").disabled = state.name === "stopped";
  }

  note(text) {
    setText(byId("text-note"), text);
  }

  /** Somebody said something. */
  heard() {
    if (document.hidden) this.#count(this.#missed + 1);
  }

  /** The window is looked at again. */
  returned() {
    this.#count(0);
    this.#markRead();
  }

  #count(missed) {
    this.#missed = missed;
    document.title = missed > 0 ? `(${missed}) ${this.#room.name}` : this.#room.name;
  }

  people(people) {
    const names = [...people.online].sort();
    byId("people-list").replaceChildren(...names.map((user) => personElement(user, user === this.#room.me)));
    setText(byId("people-count"), String(people.count));
    const more = people.count - names.length;
    setText(byId("people-more"), more > 0 ? `and ${more} more` : "");
  }

  typing(users) {
    const texts = [
      () => "",
      () => `${users[0]} is typing…`,
      () => `${users[0]} and ${users[1]} are typing…`,
      () => "Several people are typing…",
    ];
    setText(byId("typing"), texts[Math.min(users.length, 3)]());
  }

  /** Shows what is new with the next frame: under load many events share one. */
  refresh() {
    if (this.#isFramePending) return;
    this.#isFramePending = true;
    const draw = () => {
      if (!this.#isFramePending) return;
      this.#isFramePending = false;
      if (this.#room) this.#draw(this.#room);
    };
    requestAnimationFrame(draw);
    setTimeout(draw, HIDDEN_DRAW_MS);
  }

  #draw(room) {
    const { timeline } = room;
    const wasAtEnd = this.#isAtEnd;
    const anchor = wasAtEnd ? null : this.#firstVisible;
    const anchorTop = anchor?.offsetTop;
    timeline.trim(wasAtEnd ? ROWS_MAX : ROWS_WHILE_READING_MAX);
    const hasNewer = this.#drawRows(timeline);
    this.#drawOutbox(room.outbox);
    this.#drawSeen(room.seenBy);
    if (wasAtEnd) this.#toEnd();
    else if (anchor?.isConnected) this.scroller.scrollTop += anchor.offsetTop - anchorTop;
    if (!wasAtEnd && hasNewer) byId("to-end").hidden = false;
    byId("beginning").hidden = timeline.hasOlder || timeline.epoch === null;
    this.#wantOlder();
    this.#markRead();
  }

  // Whether anything came in at the end.
  #drawRows(timeline) {
    const { restarted, changed, removed } = timeline.takeChanges();
    if (restarted) {
      this.#rows.clear();
      this.log.replaceChildren();
    }
    for (const seq of removed) {
      this.#rows.get(seq)?.remove();
      this.#rows.delete(seq);
    }
    const last = this.#lastSeq;
    // Only what is new at the end is read out.
    this.log.setAttribute("aria-busy", String(changed.length > 0 && changed[0] < last));
    const touched = new Set();
    for (const seq of changed) this.#put(seq, touched);
    for (const element of touched) group(element, timeline);
    return changed.length > 0 && changed.at(-1) > last;
  }

  #drawOutbox(outbox) {
    if (this.#outboxVersion === outbox.version) return;
    this.#outboxVersion = outbox.version;
    byId("outbox").replaceChildren(...outbox.entries.map((entry) => outboxElement(entry, this.#room)));
  }

  #drawSeen(users) {
    const shown = users.slice(0, 3).join(", ") + (users.length > 3 ? ` and ${users.length - 3} more` : "");
    setText(byId("seen"), users.length > 0 ? `Read by ${shown}` : "");
  }

  #markRead() {
    if (!document.hidden && this.#isAtEnd) this.#room.markRead();
  }

  // A row is filled where it stands, or comes in at its place; then it and the next one find their neighbours.
  #put(seq, touched) {
    const row = this.#room.timeline.row(seq);
    let element = this.#rows.get(seq);
    if (!element) {
      element = document.createElement("li");
      element.dataset.seq = seq;
      this.#insert(element, seq);
      this.#rows.set(seq, element);
    }
    const hadFocus = element.contains(document.activeElement);
    fillRow(element, row, this.#context(row));
    if (hadFocus) focusRow(element);
    touched.add(element);
    if (element.nextElementSibling) touched.add(element.nextElementSibling);
  }

  #insert(element, seq) {
    if (seq > this.#lastSeq) return this.log.append(element);
    const next = [...this.log.children].find((other) => Number(other.dataset.seq) > seq);
    this.log.insertBefore(element, next ?? null);
  }

  #context(row) {
    const room = this.#room;
    return {
      me: room.me,
      reactions: this.#room.timeline.reactions(row.seq),
      quoted: row.replyTo === undefined ? undefined : (this.#room.timeline.row(row.replyTo) ?? null),
      canEdit: row.from === room.me,
      canDelete: row.from === room.me || room.isManager,
      do: {
        reply: () => this.#compose({ mode: "new", replyTo: row }),
        edit: () => this.#compose({ mode: "edit", target: row }),
        delete: () => confirmDelete(() => room.delete(row.seq)),
        react: (emoji, remove) => room.react(row.seq, emoji, remove),
        jump: () => this.#jump(row.replyTo),
      },
    };
  }

  get #lastSeq() {
    return Number(this.log.lastElementChild?.dataset.seq ?? 0);
  }

  get #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < END_SLACK_PX;
  }

  get #firstVisible() {
    const { scrollTop } = this.scroller;
    return [...this.log.children].find((row) => row.offsetTop + row.offsetHeight > scrollTop) ?? null;
  }

  #toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #wantOlder() {
    if (this.scroller.scrollTop < OLDER_SLACK_PX) this.#room.loadOlder();
  }

  #jump(seq) {
    const element = this.#rows.get(seq);
    if (!element) return this.note("That message is further up. Scroll to load it.");
    element.scrollIntoView({ block: "center" });
    focusRow(element);
  }

  // What is being written: a new message, an answer, or another text for an old one.
  #compose(composing) {
    const wasEdit = this.#composing.mode === "edit";
    this.#composing = composing;
    if (composing.mode === "edit") this.text.value = composing.target.text;
    else if (wasEdit) this.text.value = this.storage.getItem(this.#draftKey) ?? "";
    const { target, replyTo } = composing;
    byId("context").hidden = !target && !replyTo;
    setText(byId("context-text"), target ? "Editing your message" : replyTo ? `Answer to ${replyTo.from}: ${excerpt(replyTo)}` : "");
    setText(byId("send"), target ? "Save" : "Send");
    this.#grow();
    this.text.focus();
  }

  #submit() {
    const text = this.text.value;
    const problem = text.trim() === "" ? "" : this.#room.problemWith(text);
    this.note(problem ?? "");
    if (problem !== null) return;
    const { mode, target, replyTo } = this.#composing;
    if (mode === "edit") this.#room.edit(target.seq, text);
    else this.#submitNew(text, replyTo);
    this.#compose({ mode: "new" });
    this.#grow();
  }

  #submitNew(text, replyTo) {
    this.text.value = "";
    this.storage.removeItem(this.#draftKey);
    this.#toEnd();
    this.#room.send(text, replyTo?.seq);
  }

  #grow() {
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, 200)}px`;
  }

  #listen() {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.text.addEventListener("input", () => this.#typed());
    this.text.addEventListener("keydown", (event) => this.#composerKey(event));
    byId("context-cancel").addEventListener("click", () => this.#compose({ mode: "new" }));
    byId("retry").addEventListener("click", () => this.#room?.connection.connect());
    byId("to-end").addEventListener("click", () => this.#toEnd());
    byId("people-toggle").addEventListener("click", () => this.#togglePeople());
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.#logKey(event));
    new ResizeObserver(() => this.#resized()).observe(this.scroller);
  }

  #typed() {
    this.#grow();
    this.note("");
    if (this.#composing.mode !== "new") return;
    this.storage.setItem(this.#draftKey, this.text.value);
    if (this.text.value !== "") this.#room.typing(Date.now());
  }

  #composerKey(event) {
    const isEmpty = this.text.value === "" && this.#composing.mode === "new";
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Escape") {
      this.#compose({ mode: "new" });
    } else if (event.key === "ArrowUp" && isEmpty) {
      const target = this.#room.timeline.lastOwn();
      if (target) {
        event.preventDefault();
        this.#compose({ mode: "edit", target });
      }
    }
  }

  // Up and down walk through the messages; Tab then reaches the buttons of the one in focus.
  #logKey(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Escape") return this.text.focus();
    if (step === undefined || event.target.closest("button")) return;
    const current = event.target.closest("li[data-seq]");
    const next = current ? sibling(current, step) : this.log.lastElementChild;
    if (!next) return;
    event.preventDefault();
    focusRow(next);
  }

  #scrolled() {
    this.#wasAtEnd = this.#isAtEnd;
    if (!this.#room) return;
    this.#wantOlder();
    if (this.#wasAtEnd) byId("to-end").hidden = true;
    this.#markRead();
  }

  // The composer grows, a keyboard slides in: whoever was at the end stays there.
  #resized() {
    if (this.#wasAtEnd) this.#toEnd();
  }

  #togglePeople() {
    const isOpen = byId("chat").classList.toggle("with-people");
    byId("people-toggle").setAttribute("aria-expanded", String(isOpen));
  }
}

function sibling(element, step) {
  return step < 0 ? element.previousElementSibling : element.nextElementSibling;
}

function focusRow(element) {
  element.parentElement.querySelector("li[tabindex='0']")?.setAttribute("tabindex", "-1");
  element.tabIndex = 0;
  element.focus();
}

function confirmDelete(action) {
  const dialog = byId("confirm");
  byId("confirm-no").onclick = () => dialog.close();
  byId("confirm-yes").onclick = () => {
    dialog.close();
    action();
  };
  dialog.showModal();
  byId("confirm-no").focus();
}
