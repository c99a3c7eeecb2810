import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../core/log.ts";
import { type Checkpoint, statementBytes } from "./checkpoint.ts";
import type { AnchorWriter, KmsSignature } from "./sink/copies.ts";

export interface AnchorerOptions {
  /** The last checkpoint of this process's chain, made now if the head moved: `AuditStore.checkpoint`. */
  latest: () => Promise<Checkpoint | undefined>;
  /** Places the database's owner cannot reach. `first` waits for each of them. */
  remote: readonly AnchorWriter[];
  /** Places on this machine. */
  local?: readonly AnchorWriter[];
  /** Signs with a KMS key. Until it works, no remote place gets an anchor without. */
  kms?: ((bytes: Uint8Array) => Promise<KmsSignature>) | undefined;
  log: Log;
  /** Between anchors, when the head moved. Default 60,000 ms. */
  intervalMs?: number;
  /** First wait after a failure, doubled up to `intervalMs`. Default 1,000 ms. */
  retryMs?: number;
  /** How long `close` may take. Default 5,000 ms. */
  closeMs?: number;
}

export interface AnchorHealth {
  place: string;
  /** The last checkpoint the place has confirmed; 0 for none. */
  number: number;
  /** When, ISO 8601. */
  anchored_at: string | undefined;
  /** Why it failed last; `undefined` once it works again. */
  last_error: string | undefined;
  /** Consecutive failures. */
  failures: number;
}

/**
 * Keeps putting this process's newest checkpoint where the database's owner cannot reach. Each place is served on its
 * own: one that fails stops no other.
 */
export class Anchorer {
  readonly #options: AnchorerOptions;
  readonly #places: Place[];
  #waiting: { chain: string | undefined; resolve: () => void }[] = [];
  readonly #stop = new AbortController();
  readonly #loops: Promise<void>[];
  #signed: { writer: string; number: number; kms: Promise<KmsSignature> } | undefined;

  constructor(options: AnchorerOptions) {
    this.#options = options;
    this.#places = [
      ...options.remote.map((writer) => newPlace(writer, true)),
      ...(options.local ?? []).map((writer) => newPlace(writer, false)),
    ];
    this.#loops = this.#places.map((place) => this.#serve(place));
  }

  /**
   * `undefined` when every remote place has confirmed a checkpoint of this chain (of any, when it has no name yet);
   * otherwise resolves once they have. Until then nothing that changes AWS should be allowed, because its record could still be made to vanish. Never rejects;
   * stays open while a place fails.
   */
  anchored(chain: string | undefined): Promise<void> | undefined {
    if (this.#isAnchored(chain)) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ chain, resolve });
    this.#wake();
    return promise;
  }

  #isAnchored(chain: string | undefined): boolean {
    const remote = this.#places.filter((place) => place.remote);
    return remote.every((place) => place.chain !== undefined && (chain === undefined || place.chain === chain));
  }

  #settle(): void {
    const waiting = this.#waiting;
    this.#waiting = waiting.filter(({ chain }) => !this.#isAnchored(chain));
    for (const { chain, resolve } of waiting) if (this.#isAnchored(chain)) resolve();
  }

  /** The store began a new chain: not only at the next turn. */
  #wake(): void {
    for (const place of this.#places) if (place.health.failures === 0) place.sleeping?.abort();
  }

  health(): AnchorHealth[] {
    return this.#places.map(({ health }) => ({ ...health }));
  }

  /** Anchors the last checkpoint once more where it is not yet, within `closeMs`. Never rejects. */
  async close(): Promise<void> {
    this.#stop.abort();
    const last = Promise.allSettled(
      this.#places.map(async (place, index) => {
        await this.#loops[index];
        await this.#attempt(place);
      }),
    );
    const end = new AbortController();
    const timeout = sleep(this.#options.closeMs ?? 5_000, undefined, { signal: end.signal }).catch(() => undefined);
    await Promise.race([last, timeout]);
    end.abort();
  }

  async #serve(place: Place): Promise<void> {
    const { intervalMs = 60_000, retryMs = 1_000 } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const ok = await this.#attempt(place);
      const retry = retryMs * 2 ** Math.min(place.health.failures, 16) * (0.5 + Math.random() / 2);
      // The first checkpoint is what changes wait for.
      const due = place.health.number === 0 || this.#waiting.length > 0;
      const wait = !ok ? retry : due ? retryMs / 4 : intervalMs;
      place.sleeping = new AbortController();
      const woken = AbortSignal.any([signal, place.sleeping.signal]);
      await sleep(Math.min(intervalMs, wait), undefined, { signal: woken }).catch(() => undefined);
    }
  }

  async #attempt(place: Place): Promise<boolean> {
    const { writer, remote, health } = place;
    const { log } = this.#options;
    try {
      const checkpoint = await this.#options.latest();
      if (checkpoint !== undefined && (checkpoint.writer !== place.chain || checkpoint.number > health.number)) {
        await writer.anchor(checkpoint, remote ? await this.#sign(checkpoint) : undefined);
        place.chain = checkpoint.writer;
        health.number = checkpoint.number;
        health.anchored_at = new Date().toISOString();
        this.#settle();
      }
      if (health.last_error !== undefined) log.info({ place: writer.name }, "the audit trail is anchored again");
      health.failures = 0;
      health.last_error = undefined;
      return true;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (message !== health.last_error)
        log.error({ place: writer.name, error: message }, "the audit trail could not be anchored; it is tried again");
      health.failures += 1;
      health.last_error = message;
      return false;
    }
  }

  /** One signature for all places. */
  async #sign(checkpoint: Checkpoint): Promise<KmsSignature | undefined> {
    const { kms } = this.#options;
    if (kms === undefined) return undefined;
    const { writer, number } = checkpoint;
    if (this.#signed?.number !== number || this.#signed.writer !== writer) {
      const signing = { writer, number, kms: kms(statementBytes(checkpoint)) };
      this.#signed = signing;
      signing.kms.catch(() => {
        if (this.#signed === signing) this.#signed = undefined;
      });
    }
    return this.#signed.kms;
  }
}

interface Place {
  writer: AnchorWriter;
  remote: boolean;
  /** The chain of the last checkpoint it confirmed. */
  chain: string | undefined;
  /** Ends its wait for the next turn. */
  sleeping: AbortController | undefined;
  health: AnchorHealth;
}

function newPlace(writer: AnchorWriter, remote: boolean): Place {
  const health = { place: writer.name, number: 0, anchored_at: undefined, last_error: undefined, failures: 0 };
  return { writer, remote, chain: undefined, sleeping: undefined, health };
}
