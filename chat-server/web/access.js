// Who is at the page, and what proves it: a cookie that somebody else's page has set, a token, or just a name.

const TOKEN = "chat.token";

/** Asks again after this long, where the server does not answer. */
const AGAIN_MS = 2000;
/** An answer has this long to come. */
const ANSWER_MS = 10_000;

/** How to come in here: `user` is who is known already, `by` is "name", "token" or "elsewhere" for who is not. */
export class Access {
  #storage;
  #fetch;
  #token;

  /** `storage` lasts as long as the window: a token is not for longer. */
  constructor({ storage, fetch = globalThis.fetch.bind(globalThis) }) {
    this.#storage = storage;
    this.#fetch = fetch;
    this.#token = storage.getItem(TOKEN) ?? undefined;
  }

  /** The token that this window was given, if any. */
  get token() {
    return this.#token;
  }

  /** Asks until there is an answer. A token that is no longer accepted is forgotten. */
  async ask() {
    for (;;) {
      const answer = await this.askOnce();
      if (answer?.user) return { user: answer.user, by: answer.by };
      if (answer) {
        this.forget();
        return { user: null, by: answer.by };
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** Asks what is known now, and changes nothing. Null where the server does not answer. */
  async askOnce() {
    return this.#ask(this.#token);
  }

  /** Keeps a token that is good; the answer is whose it is, or why it is not kept. */
  async tryToken(token) {
    const answer = await this.#ask(token);
    if (!answer) return { problem: "The server does not answer." };
    if (!answer.user) return { problem: "This token is not accepted." };
    this.#token = token;
    this.#storage.setItem(TOKEN, token);
    return { user: answer.user };
  }

  forget() {
    this.#token = undefined;
    this.#storage.removeItem(TOKEN);
  }

  async #ask(token) {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    try {
      const answer = await this.#fetch("/api/v1/auth", { headers, signal: AbortSignal.timeout(ANSWER_MS) });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }
}
