// How a user gets in: the flags with which the server runs, and what a connection presents.

/** Everybody is believed. */
export const OPEN = {
  name: "open",
  flags: ["--auth", "open"],
  present: (user) => ({ query: `?user=${user}`, headers: {} }),
};
