// What a socket has heard and nobody has taken yet, in order.

/** How long anything may take that ought to come. Far above what it takes, so that a slow machine is no failure. */
export const WAIT_MS = 30_000;

export class Inbox {
  #events = [];
  #wake = null;

  push(event) {
    this.#events.push(event);
    this.#wake?.();
  }

  /** The next event, or null where none comes before `deadline` (of `performance.now()`). */
  async next(deadline) {
    while (this.#events.length === 0) {
      const left = deadline - performance.now();
      if (left <= 0) return null;
      await this.#change(left);
    }
    return this.#events.shift();
  }

  #change(left) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, left);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Waits for `promise` as long as anything may take. */
export async function inTime(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${WAIT_MS} ms`)), WAIT_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
