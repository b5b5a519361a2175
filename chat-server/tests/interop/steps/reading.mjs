// What several steps read out of a room.

/** What a peer knows of each number: of an own ack, what it had sent. */
export function contents(peer, room) {
  return peer.stream(room).map((message) => {
    const isOwn = message.type === "ack";
    const { text, key } = isOwn ? message.command : message;
    return { seq: message.seq, from: isOwn ? peer.user : message.from, text, key };
  });
}

/** The whole timeline, from the start, in pages of `limit`. */
export async function pages(peer, room, limit) {
  const all = [];
  for (let more = true; more; ) {
    const page = await peer.ask({ type: "history", room, after: all.at(-1)?.seq ?? 0, limit });
    all.push(...page.events);
    more = page.more;
  }
  return all;
}
