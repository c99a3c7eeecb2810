import type { ServerResponse } from "node:http";

const CHECK_MS = 2_000;

/** Ends answers and streams whose caller would not get in any more: a stream must not outlive the key it was opened with. */
export class Validity {
  readonly #open = new Map<ServerResponse, () => boolean>();
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => this.#check(), CHECK_MS).unref();
  }

  /** Watches an answer until it has been sent, or its client has gone. There are as many as there are connections. */
  watch(answer: ServerResponse, valid: () => boolean): void {
    this.#open.set(answer, valid);
    whenClosed(answer, () => this.#open.delete(answer));
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #check(): void {
    for (const [answer, valid] of this.#open) if (!valid()) answer.destroy();
  }
}

/** Once an answer has been sent to its end, or its client has gone, which it may have already. */
export function whenClosed(answer: ServerResponse, done: () => void): void {
  if (answer.closed) done();
  else answer.once("close", done);
}
