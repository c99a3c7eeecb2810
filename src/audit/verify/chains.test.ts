import assert from "node:assert/strict";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { test } from "node:test";
import { GENESIS, keyId, rowDigest, rowMac } from "../chain.ts";
import { type Checkpoint, signStatement } from "../checkpoint.ts";
import { parseBody, project, recordId } from "../record.ts";
import type { AuditReader, StoredRow } from "../store/store.ts";
import { heldAnchors, heldCopy } from "./attacks-support.ts";
import { type VerifyOptions, verifyTrail } from "./trail.ts";

// Several chains in one database, as in PostgreSQL: what a chain says of others, and chains that nobody signed. The rows
// are held in memory, real in every byte; the same attacks run against the database in attacks-postgres.test.ts.

const mac = Buffer.alloc(32, 7);
const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const keys = { mac, keyId: keyId(mac), signingPublic: publicKey };

interface Chain {
  rows: StoredRow[];
  checkpoints: Checkpoint[];
}

class HeldTrail {
  readonly chains = new Map<string, Chain>();

  /** A chain of so many rows, the first naming the heads of all others; signed after the first row and at its end. */
  write(writer: string, rows: number, signing = privateKey): void {
    const heads = this.heads().map((head) => [head.writer, head.seq, Buffer.from(head.mac).toString("hex")]);
    const chain: Chain = { rows: [], checkpoints: [] };
    let prev: Uint8Array = GENESIS;
    let digest: Uint8Array = GENESIS;
    for (let seq = 1; seq <= rows; seq += 1) {
      const event = { v: 1, id: randomUUID(), timestamp: new Date().toISOString(), event: "server", operation: "x" };
      const start = { ...event, operation: "chain_start", detail: { heads } };
      const body = Buffer.from(JSON.stringify(seq === 1 ? start : event));
      const link = { writer, seq, prev, body };
      const fields = parseBody(body);
      const row = { ...link, mac: rowMac(mac, link), id: recordId(fields) ?? null, ...project(fields) };
      chain.rows.push(row);
      prev = row.mac;
      digest = rowDigest(digest, row);
      if (seq === 1 || seq === rows) {
        const number = chain.checkpoints.length + 1;
        const time = new Date().toISOString();
        const statement = { number, writer, seq, mac: row.mac, digest, time, key_id: keys.keyId, rows: seq };
        chain.checkpoints.push(signStatement(signing, statement));
      }
    }
    this.chains.set(writer, chain);
  }

  heads() {
    return [...this.chains].flatMap(([writer, { rows }]) => {
      const last = rows.at(-1);
      return last === undefined ? [] : [{ writer, seq: last.seq, mac: last.mac }];
    });
  }

  of(writer: string): Chain {
    const chain = this.chains.get(writer);
    assert.ok(chain);
    return chain;
  }

  reader(): AuditReader {
    return {
      chains: async () => [...this.chains.keys()],
      heads: async () => this.heads(),
      chain: (writer, after = 0) => this.of(writer).rows.filter(({ seq }) => seq > after),
      mac: async (writer, seq) => this.chains.get(writer)?.rows.find((row) => row.seq === seq)?.mac,
      checkpoints: (writer) => this.of(writer).checkpoints,
      tombstones: async () => [],
      keyId: async () => keys.keyId,
      estimate: async () => 0,
      query: () => [],
      follow: () => assert.fail("not asked for"),
      openIntents: async () => [],
      freeze: async () => undefined,
      close: async () => undefined,
    };
  }
}

/** Three chains, one after the other, shown to verify with all keys and with the public one alone. */
async function three(): Promise<HeldTrail> {
  const trail = new HeldTrail();
  for (const [writer, rows] of [
    ["writer-a", 5],
    ["writer-b", 7],
    ["writer-c", 3],
  ] as const)
    trail.write(writer, rows);
  assert.deepEqual(await found(trail), []);
  assert.deepEqual(await found(trail, { keys: { signingPublic: publicKey } }), []);
  return trail;
}

async function found(trail: HeldTrail, options: Partial<VerifyOptions> = {}): Promise<unknown[]> {
  const { problems } = await verifyTrail({ reader: trail.reader(), keys, ...options });
  return problems.map(({ kind, writer, first, last }) => [kind, writer, first, last]);
}

test("attack: a dead writer's tail cut off, checkpoints too: the next one saw it", async () => {
  const trail = await three();
  const { rows, checkpoints } = trail.of("writer-b");
  rows.splice(4);
  checkpoints.splice(1);
  const expected = [["rolled_back", "writer-b", 5, 7]];
  assert.deepEqual(await found(trail), expected);
  assert.deepEqual(await found(trail, { keys: { signingPublic: publicKey } }), expected);
});

test("attack: a dropped writer, which the next one or an anchor saw", async () => {
  const trail = await three();
  trail.chains.delete("writer-b");
  assert.deepEqual(await found(trail), [["dropped_writer", "writer-b", 1, 7]]);
  const last = await three();
  const anchors = [heldAnchors(last.of("writer-c").checkpoints)];
  const copy = heldCopy(last.of("writer-c").rows);
  assert.deepEqual(await found(last, { anchors, copy }), []);
  last.chains.delete("writer-c");
  assert.deepEqual(await found(last), []);
  assert.deepEqual(await found(last, { anchors }), [["dropped_writer", "writer-c", 1, 3]]);
  assert.deepEqual(await found(last, { copy }), [["missing_in_store", "writer-c", 1, 3]]);
});

test("attack: a forged writer, with the MAC key: authentic rows that nobody signed", async () => {
  const trail = await three();
  trail.write("writer-evil", 4);
  trail.of("writer-evil").checkpoints.splice(0);
  assert.deepEqual(await found(trail), [["unknown_writer", "writer-evil", 1, 4]]);
  const { problems } = await verifyTrail({ reader: trail.reader(), keys });
  assert.match(String(problems[0]?.message), /4 of its 4 rows fit the MAC key/);
  const signed = await three();
  signed.write("writer-evil", 4, generateKeyPairSync("ed25519").privateKey);
  assert.deepEqual((await found(signed))[0], ["unknown_writer", "writer-evil", 1, 4]);
});

test("attack: a forged writer's claims about others are not believed", async () => {
  const trail = await three();
  const whole = trail.of("writer-a").rows;
  const last = whole.at(-1);
  assert.ok(last);
  whole.push({ ...last, seq: 99 });
  trail.write("writer-evil", 2);
  whole.pop();
  trail.of("writer-evil").checkpoints.splice(0);
  assert.deepEqual(await found(trail), [["unknown_writer", "writer-evil", 1, 2]]);
});

test("attack: a chain rewritten with both keys up to its end, which the next one saw as it was", async () => {
  const trail = await three();
  const heads = trail.of("writer-b");
  trail.write("writer-b", 7);
  const again = trail.of("writer-b");
  assert.notDeepEqual(again.rows, heads.rows);
  assert.ok((await found(trail)).some((item) => JSON.stringify(item) === '["rewritten","writer-b",7,7]'));
});

test("with the public key alone, a claim in a row that no signature proves is not believed", async () => {
  const trail = await three();
  const liar = new HeldTrail();
  liar.write("writer-z", 9);
  liar.write("writer-c", 1);
  const [row] = liar.of("writer-c").rows;
  const { rows } = trail.of("writer-c");
  const last = rows.at(-1);
  assert.ok(row && last);
  rows.push({ ...row, seq: 4, prev: last.mac });
  assert.deepEqual(await found(trail, { keys: { signingPublic: publicKey } }), []);
});

test("a claim covers what its chain did not come to sign", async () => {
  const trail = new HeldTrail();
  trail.write("writer-a", 5);
  trail.of("writer-a").checkpoints.splice(1);
  trail.write("writer-b", 2);
  const { ok, chains } = await verifyTrail({ reader: trail.reader(), keys });
  assert.equal(ok, true);
  assert.deepEqual(
    chains.map(({ covered_until, proven_until }) => [covered_until, proven_until]),
    [
      [5, 5],
      [2, 2],
    ],
  );
});

test("one chain alone: another's damage is not looked at, an unknown name is an error", async () => {
  const trail = await three();
  trail.of("writer-a").rows.splice(2, 1);
  assert.deepEqual(await found(trail, { writer: "writer-b" }), []);
  assert.deepEqual(await found(trail, { writer: "writer-a" }), [["missing_rows", "writer-a", 3, 3]]);
  await assert.rejects(found(trail, { writer: "nobody" }), /there is no chain "nobody"/);
});
