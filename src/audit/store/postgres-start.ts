import { randomUUID } from "node:crypto";
import type { Client } from "pg";
import { rowMac, sameMac } from "../chain.ts";
import { encodeRecord, parseBody } from "../record.ts";
import { Chain, type ChainKeys } from "./postgres-chain.ts";
import { allHeads, insertCheckpoint, insertRows, run } from "./postgres-sql.ts";
import { type ChainHead, StoreError } from "./store.ts";

/** So many heads keep the `detail` of a row under its limit of 4 KB. */
const HEADS_A_ROW = 25;

/**
 * Starts a chain: its first rows name the heads of the others, and checkpoint 1 signs them, all in one transaction.
 * `confirmed` are heads that this process had been told were committed, of chains that it gave up: they are named as they
 * were, whatever the database has now, so that every verification from now on finds those that are missing.
 */
export async function startChain(
  client: Client,
  keys: ChainKeys,
  options: { now: number; timeoutMs: number; confirmed: readonly ChainHead[] },
): Promise<Chain> {
  await run(client, options.timeoutMs, "BEGIN");
  try {
    return await write(client, keys, options);
  } catch (error) {
    // The connection may go on being used.
    await run(client, options.timeoutMs, "ROLLBACK").catch(() => undefined);
    throw error;
  }
}

async function write(
  client: Client,
  keys: ChainKeys,
  { now, timeoutMs, confirmed }: { now: number; timeoutMs: number; confirmed: readonly ChainHead[] },
): Promise<Chain> {
  const chain = new Chain(keys);
  const found = await unrecorded(client, keys, timeoutMs);
  const stored = new Set(found.map(nameOf));
  const heads = [...found, ...confirmed.filter((head) => !stored.has(nameOf(head)))];
  const bodies: Buffer[] = [];
  for (let from = 0; from === 0 || from < heads.length; from += HEADS_A_ROW) {
    bodies.push(startRow(heads.slice(from, from + HEADS_A_ROW)));
  }
  const batch = chain.prepare(bodies, now);
  await insertRows(client, timeoutMs, batch);
  chain.advance(batch);
  const checkpoint = chain.nextCheckpoint();
  if (checkpoint === undefined) throw new StoreError("a chain without a first checkpoint");
  if (!(await insertCheckpoint(client, timeoutMs, checkpoint))) {
    throw new StoreError("another process signs the chain that this one begins");
  }
  await run(client, timeoutMs, "COMMIT");
  chain.confirm(checkpoint);
  return chain;
}

/** Heads that no authentic `chain_start` names. */
async function unrecorded(client: Client, keys: ChainKeys, timeoutMs: number): Promise<ChainHead[]> {
  const heads = await allHeads(client, timeoutMs);
  const known = new Set<string>();
  const { rows } = await run(
    client,
    timeoutMs,
    "SELECT writer, seq, prev, mac, body FROM audit.trail WHERE operation = 'chain_start'",
  );
  for (const { writer, seq, prev, mac, body } of rows) {
    // A forged one must not keep a head from being recorded.
    if (!sameMac(mac, rowMac(keys.mac, { writer, seq, prev, body }))) continue;
    for (const head of headsIn(body)) known.add(String(head));
  }
  return heads.filter((head) => !known.has(nameOf(head)));
}

function headsIn(body: Uint8Array): unknown[] {
  const detail = parseBody(body)?.detail;
  if (typeof detail !== "object" || detail === null || !("heads" in detail)) return [];
  return Array.isArray(detail.heads) ? detail.heads : [];
}

function startRow(heads: readonly ChainHead[]): Buffer {
  return encodeRecord(
    {
      event: "server",
      call_id: randomUUID(),
      timestamp: new Date().toISOString(),
      user: "server",
      roles: [],
      authenticated_via: "none",
      agent: undefined,
      transport: "none",
      operation: "chain_start",
      result: "success",
      detail: { heads: heads.map(claim) },
    },
    // Nothing here is anybody's secret, and hex must stay what it is.
    { redact: (value) => value, hashKey: new Uint8Array(32) },
  );
}

const claim = ({ writer, seq, mac }: ChainHead) => [writer, seq, Buffer.from(mac).toString("hex")];
const nameOf = (head: ChainHead): string => String(claim(head));
