// The elements that a room is shown with, made from plain values. Whatever people wrote goes through textContent alone.

const QUICK_EMOJI = ["👍", "❤️", "😂", "🎉", "😮", "👀"];
/** Messages of one author this close together stand under one name. */
const GROUP_MS = 5 * 60_000;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function button(label, text, action) {
  const element = make("button", "", text);
  element.type = "button";
  if (label) element.setAttribute("aria-label", label);
  element.addEventListener("click", action);
  return element;
}

/** Sets a text that has changed: the same one set again could be read out again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Somebody in the list of who is here. */
export function personElement(user, isMe) {
  const element = make("li");
  element.append(avatar(user), make("bdi", "", user));
  if (isMe) element.append(make("span", "hint", "you"));
  return element;
}

function avatar(user) {
  const element = make("span", "avatar", [...user][0].toUpperCase());
  element.setAttribute("aria-hidden", "true");
  element.style.setProperty("--hue", hue(user));
  return element;
}

function hue(user) {
  let hash = 7;
  for (const c of user) hash = (hash * 31 + c.codePointAt(0)) % 3600;
  return hash % 360;
}

/** Makes `element` show `row`; `context` is what else a row depends on. */
export function fillRow(element, row, context) {
  const isMessage = row.type === "message";
  element.className = isMessage ? "row message" : "row notice";
  element.classList.toggle("own", row.from === context.me);
  element.classList.toggle("deleted", row.deleted === true);
  if (!element.hasAttribute("tabindex")) element.tabIndex = -1;
  element.replaceChildren(...(isMessage ? messageParts(row, context) : noticeParts(row)));
}

function messageParts(row, context) {
  const body = make("div", "body");
  body.append(headElement(row));
  if (context.quoted !== undefined) body.append(quoteElement(context));
  body.append(textElement(row));
  if (context.reactions.length > 0) body.append(reactionsElement(context));
  return row.deleted ? [avatar(row.from), body] : [avatar(row.from), body, actionsElement(context)];
}

function headElement(row) {
  const head = make("p", "head");
  head.append(make("bdi", "name", row.from), timeElement(row.at));
  return head;
}

function textElement(row) {
  const text = make("p", "text", row.deleted ? "This message was deleted." : row.text);
  text.dir = "auto";
  if (row.editedAt === undefined || row.deleted) return text;
  const edited = make("span", "edited", " (edited)");
  edited.title = new Date(row.editedAt).toLocaleString();
  text.append(edited);
  return text;
}

function quoteElement({ quoted, do: actions }) {
  const text = quoted === null ? "an earlier message" : `${quoted.from}: ${excerpt(quoted)}`;
  const element = button("", text, actions.jump);
  element.className = "quote";
  element.dir = "auto";
  return element;
}

/** The beginning of a message, for where it is quoted. */
export function excerpt(row) {
  return row.deleted ? "deleted message" : [...row.text].slice(0, 100).join("");
}

function reactionsElement({ reactions, do: actions }) {
  const element = make("div", "reactions");
  for (const { emoji, users, mine } of reactions) {
    const names = users.slice(0, 20).join(", ");
    const chip = button(`${emoji} by ${names}`, `${emoji} ${users.length}`, () => actions.react(emoji, mine));
    chip.title = names;
    chip.setAttribute("aria-pressed", String(mine));
    element.append(chip);
  }
  return element;
}

function actionsElement(context) {
  const element = make("div", "actions");
  const { do: actions } = context;
  for (const emoji of QUICK_EMOJI) {
    const mine = context.reactions.some((reaction) => reaction.emoji === emoji && reaction.mine);
    const quick = button(`React with ${emoji}`, emoji, () => actions.react(emoji, mine));
    quick.className = "quick";
    element.append(quick);
  }
  element.append(button("", "Reply", actions.reply));
  if (context.canEdit) element.append(button("", "Edit", actions.edit));
  if (context.canDelete) element.append(button("", "Delete", actions.delete));
  return element;
}

function noticeParts(row) {
  const text = make("p", "", row.type === "member" ? memberText(row) : row.type === "room" ? roomText(row) : `${row.from}: ${row.type}`);
  text.dir = "auto";
  return [text];
}

function memberText({ from, user, change, role, banned }) {
  const own = from === user;
  if (change === "added") return own ? `${user} joined as ${role}` : `${from} added ${user} as ${role}`;
  if (change === "role") return `${from} made ${user} ${role}`;
  if (banned) return `${from} banned ${user}`;
  return own ? `${user} left` : `${from} removed ${user}`;
}

function roomText({ from, name, topic, visibility }) {
  const news = [];
  if (name !== undefined) news.push(`named the room “${name}”`);
  if (topic !== undefined) news.push(topic === "" ? "cleared the topic" : `set the topic to “${topic}”`);
  if (visibility !== undefined) news.push(`made the room ${visibility}`);
  return `${from} ${news.length > 0 ? news.join(" and ") : "changed the room"}`;
}

function timeElement(at) {
  const date = new Date(at);
  const element = make("time", "", date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString();
  return element;
}

/** A row under one of the same author a moment before needs no name; the first of a day gets the date. */
export function group(element, timeline) {
  const row = timeline.row(Number(element.dataset.seq));
  const previous = timeline.row(Number(element.previousElementSibling?.dataset.seq));
  if (!row) return;
  const day = new Date(row.at).toDateString();
  const isNewDay = !previous || new Date(previous.at).toDateString() !== day;
  const isSameAuthor = previous?.type === "message" && row.type === "message" && previous.from === row.from;
  const follows = !isNewDay && isSameAuthor && row.at - previous.at < GROUP_MS && row.replyTo === undefined;
  element.classList.toggle("follows", follows);
  element.querySelector(":scope > .day")?.remove();
  if (isNewDay) element.prepend(dayElement(row.at));
}

function dayElement(at) {
  const format = { weekday: "long", day: "numeric", month: "long", year: "numeric" };
  return make("div", "day", new Date(at).toLocaleDateString([], format));
}

/** A message that is not yet sent, or could not be. */
export function outboxElement(entry, room) {
  const element = make("li", `row message own waiting ${entry.state}`);
  const body = make("div", "body");
  const head = make("p", "head");
  head.append(make("bdi", "name", room.me), make("span", "hint", entry.state === "failed" ? "not sent" : "sending…"));
  const text = make("p", "text", entry.text);
  text.dir = "auto";
  body.append(head, text);
  if (entry.state === "failed") body.append(failureElement(entry, room));
  element.append(avatar(room.me), body);
  return element;
}

function failureElement(entry, room) {
  const element = make("p", "failure", `${entry.reason}. `);
  element.append(
    button("", "Try again", () => room.retry(entry.key)),
    button("", "Discard", () => room.discard(entry.key)),
  );
  return element;
}
