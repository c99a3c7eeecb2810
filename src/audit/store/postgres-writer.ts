import type { Client } from "pg";
import { sameMac } from "../chain.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { parseBody, recordId } from "../record.ts";
import type { Batch, Chain, ChainKeys } from "./postgres-chain.ts";
import {
  codeOf,
  headOf,
  holdsRows,
  insertCheckpoint,
  insertRows,
  isDefinite,
  lockReplay,
  run,
} from "./postgres-sql.ts";
import { startChain } from "./postgres-start.ts";
import { type ChainHead, StoreError } from "./store.ts";

export interface WriterOptions {
  keys: ChainKeys;
  timeoutMs: number;
  /** Told when a chain is given up, and why. */
  alarm: (message: string) => void;
}

interface Pending {
  bodies: readonly Uint8Array[];
  replay: boolean;
  /** As last sent; absent while it was never sent, or not in the present chain. */
  sent: Batch | undefined;
  outcome: PromiseWithResolvers<void>;
}

const MIGRATE = "run `mcp-aws-server audit migrate` with an owner's login";
const NOT_THERE = new Set(["3F000", "42P01", "42501", "42883"]);
const NO_PARTITION = "23514";
const MONTHS_AHEAD = 3;
/** After waiting for another process that drains; each wait keeps live rows waiting too. */
const REPLAY_PAUSE_MS = 5_000;
/** Attempts to get the chain's lock before the chain is left to whoever has it. */
const LOCK_ATTEMPTS = 6;

/**
 * Writes one chain after the other over whatever connection it is given. Not to be called twice at once. What was sent
 * and not answered is kept and settled by `adopt`, on the next connection, before anything else.
 */
export class PostgresWriter {
  readonly #options: WriterOptions;
  chain: Chain | undefined;
  #pending: Pending | undefined;
  /** The last rows that the database had confirmed of chains that were given up, for the next chain to name. */
  #confirmed: ChainHead[] = [];
  #clock = { database: 0, local: 0 };
  #session: { pid: unknown; started: unknown } | undefined;
  #lockFailures = 0;
  /** No replay before this moment. */
  #replayFrom = 0;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /** Makes a fresh connection the one that writes. Rejects with a `StoreError` when the database is not fit. */
  async adopt(client: Client): Promise<void> {
    await this.#inspect(client);
    if (this.chain !== undefined) await this.#continue(client, this.chain);
    if (this.chain === undefined) await this.#start(client);
    const pending = this.#pending;
    if (pending === undefined) return;
    if (!pending.replay) return this.#write(client, pending);
    // Where it was not stored, the spool still has it. Others may be draining too, and live rows shall not wait for them.
    this.#pending = undefined;
    pending.outcome.reject(new StoreError("the connection was lost while rows of the spool were being stored"));
  }

  /**
   * Commits all bodies or none. `attempt` is how the sending ended; where that leaves open what was stored, `outcome`
   * waits for the next connection.
   */
  append(
    client: Client,
    bodies: readonly Uint8Array[],
    replay: boolean,
  ): { attempt: Promise<void>; outcome: Promise<void> } {
    const outcome = Promise.withResolvers<void>();
    outcome.promise.catch(() => undefined);
    const pending: Pending = { bodies, replay, sent: undefined, outcome };
    this.#pending = pending;
    return { attempt: this.#write(client, pending), outcome: outcome.promise };
  }

  async checkpoint(client: Client): Promise<Checkpoint | undefined> {
    // One whose outcome was unknown comes first, and may be behind the head.
    for (let next = this.chain?.nextCheckpoint(); next !== undefined; next = this.chain?.nextCheckpoint()) {
      const own = await insertCheckpoint(client, this.#options.timeoutMs, next);
      if (own) this.chain?.confirm(next);
      else if (this.chain) this.#abandon(this.chain, `checkpoint ${next.number} is there already, of somebody else`);
    }
    // What was given up is named, and so signed, without waiting for a row.
    if (this.chain === undefined) await this.#start(client);
    return this.chain?.signed;
  }

  ensurePartitions(client: Client): Promise<unknown> {
    return this.#run(client, "SELECT audit.ensure_partitions($1)", [MONTHS_AHEAD]);
  }

  async #write(client: Client, pending: Pending): Promise<void> {
    try {
      for (let tries = 1; !(await this.#attempt(client, pending)); tries += 1) {
        if (tries === 3) throw new StoreError("other processes write the chains that this one begins");
        await this.#start(client);
      }
      this.#settle(pending);
    } catch (error) {
      // What surely failed is forgotten: the chain goes on from before it.
      if (isDefinite(error)) {
        this.#pending = undefined;
        pending.outcome.reject(error);
      }
      throw error;
    }
  }

  #settle(pending: Pending): void {
    this.#pending = undefined;
    pending.outcome.resolve();
  }

  /** False when the chain turned out to be somebody else's, and was given up. */
  async #attempt(client: Client, pending: Pending): Promise<boolean> {
    const { chain } = this;
    if (chain === undefined) return false;
    if (pending.replay) return this.#replay(client, chain, pending);
    pending.sent ??= chain.prepare(pending.bodies, this.#now());
    return this.#send(client, chain, pending.sent);
  }

  /** Rows out of the spool may be stored already: by this process, an earlier one, or another that drains with it. */
  async #replay(client: Client, chain: Chain, pending: Pending): Promise<boolean> {
    const { timeoutMs } = this.#options;
    if (performance.now() < this.#replayFrom) throw draining();
    await this.#run(client, "BEGIN");
    let own = true;
    try {
      if (!(await lockReplay(client, timeoutMs))) {
        this.#replayFrom = performance.now() + REPLAY_PAUSE_MS;
        throw draining();
      }
      const ids = pending.bodies.map((body) => recordId(parseBody(body)));
      const { rows } = await this.#run(client, "SELECT id FROM audit.trail WHERE id = ANY($1::text[])", [ids]);
      const stored = new Set<unknown>(rows.map(({ id }) => id));
      const fresh = pending.bodies.filter((_, i) => {
        const id = ids[i];
        const isNew = id === undefined || !stored.has(id);
        stored.add(id);
        return isNew;
      });
      const batch = chain.prepare(fresh, this.#now());
      pending.sent = batch;
      if (fresh.length > 0) own = (await insertRows(client, timeoutMs, batch)) === fresh.length;
      await this.#run(client, own ? "COMMIT" : "ROLLBACK");
      if (own) chain.advance(batch);
    } catch (error) {
      if (isDefinite(error)) await this.#run(client, "ROLLBACK");
      throw error;
    }
    if (!own) this.#abandon(chain, "another process writes it, as a copy of this machine would");
    return own;
  }

  async #send(client: Client, chain: Chain, batch: Batch): Promise<boolean> {
    const { timeoutMs } = this.#options;
    let inserted: number;
    try {
      inserted = await insertRows(client, timeoutMs, batch);
    } catch (error) {
      if (codeOf(error) !== NO_PARTITION) throw error;
      await this.ensurePartitions(client);
      inserted = await insertRows(client, timeoutMs, batch);
    }
    if (inserted !== batch.bodies.length && !(await holdsRows(client, timeoutMs, batch))) {
      this.#abandon(chain, "another process writes it, as a copy of this machine would");
      return false;
    }
    chain.advance(batch);
    return true;
  }

  async #inspect(client: Client): Promise<void> {
    try {
      const { rows } = await this.#run(
        client,
        `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS readonly,
                extract(epoch FROM clock_timestamp()) * 1000 AS now, pg_backend_pid() AS pid,
                (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS started`,
      );
      const { readonly, now, pid, started } = rows[0] ?? {};
      if (readonly) throw new StoreError("the database is read-only: a standby, not the primary");
      this.#clock = { database: Number(now), local: performance.now() };
      // Our own last session may linger where the network lost it, and with it what it was doing.
      if (this.#session !== undefined) {
        await this.#run(
          client,
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2",
          [this.#session.pid, this.#session.started],
        );
      }
      this.#session = { pid, started };
      await this.#run(client, "SELECT FROM audit.migrations LIMIT 1");
      await this.ensurePartitions(client);
      const claimed = await this.#run(client, "SELECT audit.claim_key($1) AS key", [this.#options.keys.keyId]);
      const key = claimed.rows[0]?.key;
      if (key !== this.#options.keys.keyId) {
        throw new StoreError(
          `the trail was begun with key ${String(key)}, this server has ${this.#options.keys.keyId}: all servers need the same keys`,
        );
      }
    } catch (error) {
      if (!NOT_THERE.has(String(codeOf(error)))) throw error;
      throw new StoreError(`the database has no audit schema for this login: ${MIGRATE}`, { cause: error });
    }
  }

  /** Holds the chain against what the database has of it, once no other session can be writing it. */
  async #continue(client: Client, chain: Chain): Promise<void> {
    const { timeoutMs } = this.#options;
    if (!(await this.#lock(client, chain))) {
      this.#lockFailures += 1;
      if (this.#lockFailures < LOCK_ATTEMPTS) throw new StoreError("another session still holds this server's chain");
      this.#abandon(chain, "another session holds it and does not end");
      return;
    }
    this.#lockFailures = 0;
    const head = await headOf(client, timeoutMs, chain.writer);
    const pending = this.#pending;
    if (is(head, chain.state)) return;
    if (pending?.sent !== undefined && is(head, pending.sent.after)) {
      chain.advance(pending.sent);
      this.#settle(pending);
      return;
    }
    const lost = head === undefined || head.seq <= chain.state.seq;
    this.#abandon(
      chain,
      lost
        ? `row ${chain.state.seq}, which the database had confirmed, is gone: an older copy was put in its place`
        : "another process writes it, as a copy of this machine would",
    );
  }

  async #start(client: Client): Promise<void> {
    const { keys, timeoutMs } = this.#options;
    const chain = await startChain(client, keys, { now: this.#now(), timeoutMs, confirmed: this.#confirmed });
    // Nobody else knows the name yet.
    await this.#lock(client, chain);
    this.#confirmed = [];
    this.chain = chain;
  }

  async #lock(client: Client, { writer }: Chain): Promise<boolean> {
    const deadline = performance.now() + Math.min(2_000, this.#options.timeoutMs);
    for (;;) {
      const { rows } = await this.#run(client, "SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS got", [writer]);
      if (rows[0]?.got === true) return true;
      if (performance.now() > deadline) return false;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /**
   * The next chain names the head as it was confirmed, without looking whether it is still there: whoever wants the chain
   * given up may take rows away at any moment until then.
   */
  #abandon(chain: Chain, why: string): void {
    this.chain = undefined;
    this.#lockFailures = 0;
    this.#confirmed.push({ writer: chain.writer, seq: chain.state.seq, mac: chain.state.mac });
    if (this.#pending !== undefined) this.#pending.sent = undefined;
    this.#options.alarm(`chain ${chain.writer} is given up at row ${chain.state.seq}, a new one begins: ${why}`);
  }

  #run(client: Client, sql: string, values?: unknown[]) {
    return run(client, this.#options.timeoutMs, sql, values);
  }

  /** The database's clock, carried on by one that nobody sets. */
  #now(): number {
    return Math.round(this.#clock.database + performance.now() - this.#clock.local);
  }
}

const draining = (): StoreError => new StoreError("another process is storing rows of its spool");

function is(head: ChainHead | undefined, state: { seq: number; mac: Uint8Array }): boolean {
  return head !== undefined && head.seq === state.seq && sameMac(head.mac, state.mac);
}
