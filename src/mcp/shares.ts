import { keyOf } from "../call/limits.ts";
import { Buckets } from "../core/buckets.ts";
import type { Principal } from "../core/call.ts";
import { Fold } from "../core/fold.ts";
import type { Log } from "../core/log.ts";
import { Places } from "../core/places.ts";

export interface ShareOptions {
  /** Answers and streams of one caller that are not yet at their end. */
  maxOpen: number;
  /** Messages of one caller in a minute, evenly, and at once after a pause; 0: any number. */
  messagesPerMinute: number;
}

/** A request that may go on, with what gives its place back; or how long its caller has to wait. */
export type Share = { ok: true; leave: () => void } | { ok: false; waitS: number };

/** Callers told apart at once. */
const MAX_PRINCIPALS = 10_000;
const MAX_FOLDED = 1_000;

/**
 * What one caller may have of the listener, whatever the requests are: tools have limits of their own, but an answer that
 * waits for a person, a stream, and a list of tools cost a connection or time, too.
 */
export class Shares {
  readonly #open: Places;
  readonly #rate: Buckets | undefined;
  readonly #refused: Fold<{ user: string; why: string }>;
  readonly #log: Log;

  constructor({ maxOpen, messagesPerMinute }: ShareOptions, log: Log) {
    this.#open = new Places(maxOpen);
    if (messagesPerMinute > 0) {
      const refillMs = 60_000 / messagesPerMinute;
      this.#rate = new Buckets({ capacity: messagesPerMinute, refillMs, maxKeys: MAX_PRINCIPALS });
    }
    this.#log = log;
    this.#refused = new Fold(({ first, count, since }) => {
      // The first has been logged when it came.
      if (count > 1) log.warn({ ...first, count, since }, "requests refused: a caller had its share");
    }, MAX_FOLDED);
  }

  /** Takes the caller's place for one request; a message counts against its rate as well. */
  enter(principal: Principal, isMessage: boolean): Share {
    const key = keyOf(principal);
    if (isMessage) {
      const waitMs = this.#rate?.waitMs(key) ?? 0;
      if (waitMs > 0) return this.#refuse(principal, "too many messages in a minute", Math.ceil(waitMs / 1000));
      this.#rate?.spend(key);
    }
    const leave = this.#open.take(key);
    return leave ? { ok: true, leave } : this.#refuse(principal, "too many open answers and streams", 5);
  }

  /** Logs what has been folded so far. */
  close(): void {
    this.#refused.flush();
  }

  #refuse(principal: Principal, why: string, waitS: number): Share {
    const event = { user: principal.id, why };
    const others = { user: "others", why };
    if (this.#refused.add({ key: `${why} ${keyOf(principal)}`, event }, { key: why, event: others }))
      this.#log.warn(event, "request refused: a caller had its share");
    return { ok: false, waitS };
  }
}
