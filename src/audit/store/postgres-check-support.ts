import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import pg from "pg";
import type { Login } from "../../../test/support/postgres.ts";
import { GENESIS, keyId, rowDigest, rowMac, sameMac } from "../chain.ts";
import { checkpointIsAuthentic, toCheckpoint } from "../checkpoint.ts";
import { parseBody } from "../record.ts";
import { openPostgresStore, type PostgresStoreOptions } from "./postgres.ts";
import { targetOf } from "./postgres-support.ts";
import type { AuditStore } from "./store.ts";

const signingPem = String(generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }));
const publicKey = createPublicKey(signingPem);
const mac = new Uint8Array(32).fill(9);

/** A store with fixed keys; what it warned of is kept. */
export function openStore(
  login: Login,
  changes: Partial<PostgresStoreOptions> = {},
): AuditStore & { warnings: string[]; alarms: string[] } {
  const warnings: string[] = [];
  const alarms: string[] = [];
  const store = openPostgresStore({
    target: targetOf(login),
    mac,
    keyId: keyId(mac),
    signingPem,
    timeoutMs: 5_000,
    checkpointIntervalMs: 50,
    warn: (message) => warnings.push(message),
    alarm: (message) => alarms.push(message),
    ...changes,
  });
  return {
    append: (body, options) => store.append(body, options),
    checkpoint: () => store.checkpoint(),
    close: () => store.close(),
    warnings,
    alarms,
  };
}

interface Found {
  /** Call ids of all rows but chain starts, in the order of their chains. */
  calls: string[];
  problems: string[];
  chains: Map<string, { rows: number; checkpoints: number; signed: number }>;
}

/** Checks every chain by itself, without any of the code that wrote it but the hash functions. */
export async function check(login: Login): Promise<Found> {
  const { host, port, database, user, password } = login;
  const client = new pg.Client({ host, port, database, user, password });
  await client.connect();
  const problems: string[] = [];
  const calls: string[] = [];
  const ids = new Set<unknown>();
  const chains: Found["chains"] = new Map();
  const digests = new Map<string, Uint8Array>();
  const macs = new Map<string, Uint8Array>();
  try {
    const { rows } = await client.query("SELECT * FROM audit.trail ORDER BY writer, seq");
    let last = { writer: "", seq: 0, mac: GENESIS, digest: GENESIS, stored: 0 };
    for (const row of rows) {
      const seq = Number(row.seq);
      const { writer, prev, body } = row;
      if (writer !== last.writer) last = { writer, seq: 0, mac: GENESIS, digest: GENESIS, stored: 0 };
      const name = `${writer}/${seq}`;
      if (seq !== last.seq + 1) problems.push(`gap before ${name}`);
      if (!sameMac(prev, last.mac)) problems.push(`unlinked ${name}`);
      if (!sameMac(row.mac, rowMac(mac, { writer, seq, prev, body }))) problems.push(`bad mac ${name}`);
      if (Number(row.stored_at) < last.stored) problems.push(`time goes back at ${name}`);
      if (ids.has(row.id)) problems.push(`duplicate ${name}`);
      ids.add(row.id);
      const digest = rowDigest(last.digest, { writer, seq, mac: row.mac, body });
      digests.set(name, digest);
      macs.set(name, row.mac);
      last = { writer, seq, mac: row.mac, digest, stored: Number(row.stored_at) };
      chains.set(writer, { rows: seq, checkpoints: 0, signed: 0 });
      if (row.operation !== "chain_start") calls.push(String(row.call_id));
      else
        for (const claim of claims(body)) if (!sameMac(claim.mac, macs.get(claim.name) ?? GENESIS)) later.push(claim);
    }
    for (const claim of later.splice(0)) {
      if (!sameMac(claim.mac, macs.get(claim.name) ?? GENESIS)) problems.push(`missing ${claim.name}`);
    }
    const written = await client.query("SELECT * FROM audit.checkpoints ORDER BY writer, number");
    for (const row of written.rows) {
      const { writer } = row;
      const checkpoint = toCheckpoint({
        ...row,
        number: Number(row.number),
        seq: Number(row.seq),
        rows: Number(row.rows),
      });
      const chain = chains.get(writer);
      assert.ok(checkpoint);
      const name = `${writer}/${checkpoint.seq}`;
      if (!checkpointIsAuthentic(publicKey, checkpoint)) problems.push(`bad checkpoint of ${name}`);
      if (!sameMac(checkpoint.digest, digests.get(name) ?? GENESIS)) problems.push(`checkpoint of other rows ${name}`);
      if (chain === undefined) continue;
      chain.checkpoints += 1;
      chain.signed = checkpoint.seq;
      if (checkpoint.number !== chain.checkpoints) problems.push(`checkpoint missing before ${name}`);
    }
    for (const [writer, { checkpoints }] of chains) if (checkpoints === 0) problems.push(`unsigned chain ${writer}`);
  } finally {
    await client.end();
  }
  return { calls, problems, chains };
}

const later: { name: string; mac: Uint8Array }[] = [];

function claims(body: Uint8Array): { name: string; mac: Uint8Array }[] {
  const detail = parseBody(body)?.detail as { heads: [string, number, string][] };
  return detail.heads.map(([writer, seq, hex]) => ({ name: `${writer}/${seq}`, mac: Buffer.from(hex, "hex") }));
}
