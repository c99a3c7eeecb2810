import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { decodeRow, encodeRow, MANIFEST, type Manifest } from "./bundle/format.ts";
import { manifestOf, restate, rewriteLines, rowsName } from "./bundle/test-support.ts";
import { type BundleReader, openBundle } from "./bundle-reader.ts";
import { HEAD_FILE, readHeadFile } from "./checkpoint.ts";
import { exportBundle } from "./export.ts";
import { loadVerifyKeys } from "./keys.ts";
import type { AnchorReader } from "./sink/copies.ts";
import { openSqliteReader } from "./store/sqlite-reader.ts";
import type { StoredRow } from "./store/store.ts";
import { temporaryDirectory, writeRows } from "./test-support.ts";

const scene = mkdtempSync(join(tmpdir(), "audit-export-"));
const trail = join(scene, "trail");
const sound = join(scene, "sound");

before(async () => {
  await writeRows(trail, [40, 50, 10]);
  await bundle(trail, sound);
});
after(() => rm(scene, { recursive: true }));

async function bundle(dir: string, out: string, options: Partial<Parameters<typeof exportBundle>[0]> = {}) {
  const reader = openSqliteReader(join(dir, "audit.db"));
  try {
    return await exportBundle({ reader, keys: loadVerifyKeys(dir), out, ...options });
  } finally {
    await reader.close();
  }
}

async function rowsOf(reader: BundleReader): Promise<StoredRow[]> {
  const rows: StoredRow[] = [];
  for (const writer of await reader.chains()) for await (const row of reader.chain(writer)) rows.push(row);
  return rows;
}

/** Everything that can be asked of a bundle is asked; the messages of what was wrong with it. */
async function problems(dir: string): Promise<string> {
  const reader = await openBundle(dir);
  await reader.heads();
  for (const writer of await reader.chains()) {
    for await (const _ of reader.checkpoints(writer));
    await reader.tombstones(writer);
    await reader.mac(writer, 5);
    await reader.end(writer);
  }
  for await (const _ of reader.anchors());
  await rowsOf(reader);
  assert.ok(reader.problems.every(({ kind }) => kind === "bad_bundle"));
  return reader.problems.map(({ message }) => message).join("\n");
}

test("a bundle gives back the trail, byte by byte", async () => {
  const original = openSqliteReader(join(trail, "audit.db"));
  const copy = await openBundle(sound);
  const writer = (await original.chains())[0] ?? "";
  assert.deepEqual(await copy.chains(), [writer]);
  const plain = ({ prev, mac, body, ...rest }: StoredRow) => ({
    ...rest,
    bytes: [prev, mac, body].map((bytes) => Buffer.from(bytes).toString("latin1")),
  });
  const rows: StoredRow[] = [];
  for await (const row of original.chain(writer)) rows.push(row);
  assert.equal(rows.length, 100);
  assert.deepEqual((await rowsOf(copy)).map(plain), rows.map(plain));
  const checkpoints = [];
  for await (const checkpoint of copy.checkpoints(writer)) checkpoints.push(checkpoint?.seq);
  assert.deepEqual(checkpoints, [40, 90, 100]);
  assert.deepEqual(copy.problems, []);
  const head = readHeadFile(join(trail, HEAD_FILE));
  const end = await copy.end(writer);
  assert.ok(head !== undefined && head !== "unreadable" && end !== undefined);
  assert.deepEqual(Buffer.from(end.digest), Buffer.from(head.digest));
  assert.deepEqual(Buffer.from((await copy.mac(writer, 100)) ?? []), Buffer.from(head.mac));
  assert.equal((await copy.heads())[0]?.seq, 100);
  assert.equal(await copy.keyId(), loadVerifyKeys(trail).keyId);
  await original.close();
});

test("files are closed to others, hold no key, and the manifest describes all of them", async () => {
  assert.equal(statSync(sound).mode & 0o777, 0o700);
  const manifest = manifestOf(sound);
  const names = readdirSync(sound);
  assert.deepEqual(names.sort(), [...manifest.files.map(({ name }) => name), MANIFEST].sort());
  for (const name of names) assert.equal(statSync(join(sound, name)).mode & 0o777, 0o600, name);
  const secrets = ["audit-mac.key", "redaction.key"].flatMap((name) => {
    const key = readFileSync(join(trail, name));
    return [key.toString("latin1"), key.toString("hex"), key.toString("base64")];
  });
  for (const name of names) {
    const content = readFileSync(join(sound, name), "latin1");
    assert.ok(!content.includes("PRIVATE KEY") && secrets.every((secret) => !content.includes(secret)), name);
  }
});

test("an export never writes into what is there, and leaves nothing behind when it fails", async (t) => {
  const dir = temporaryDirectory(t);
  writeFileSync(join(dir, "mine"), "");
  await assert.rejects(bundle(trail, dir), /not empty/);
  const broken: AnchorReader = {
    name: "broken",
    anchors: () => {
      throw new Error("the bucket is out of reach");
    },
  };
  const out = join(temporaryDirectory(t), "deep");
  await assert.rejects(bundle(trail, join(out, "er"), { anchors: [broken] }), /out of reach/);
  assert.deepEqual(readdirSync(out), []);
  mkdirSync(join(out, "empty"));
  await bundle(trail, join(out, "empty"));
  assert.equal(manifestOf(join(out, "empty")).chains[0]?.rows, 100);
});

test("anchors go along, also those that nobody can read; those of later rows do not", async (t) => {
  const out = join(temporaryDirectory(t), "out");
  const head = readHeadFile(join(trail, HEAD_FILE));
  assert.ok(head !== undefined && head !== "unreadable");
  const place: AnchorReader = {
    name: "place",
    async *anchors() {
      yield { where: "s3://b/1", checkpoint: head };
      yield { where: "s3://b/2", checkpoint: "unreadable" };
    },
  };
  await bundle(trail, out, { anchors: [place] });
  const found = [];
  for await (const { where, checkpoint } of (await openBundle(out)).anchors(head.writer))
    found.push([where, checkpoint === "unreadable" ? checkpoint : checkpoint.seq]);
  assert.deepEqual(found, [
    ["s3://b/1", 100],
    ["s3://b/2", "unreadable"],
  ]);
  const until = (await checkpointTimes(trail))[0] ?? "";
  await bundle(trail, `${out}-part`, { anchors: [place], until: new Date(Date.parse(until) - 1).toISOString() });
  const part = await openBundle(`${out}-part`);
  const kept = [];
  for await (const { where } of part.anchors()) kept.push(where);
  assert.deepEqual(kept, ["s3://b/2"]);
});

async function checkpointTimes(dir: string): Promise<string[]> {
  const reader = openSqliteReader(join(dir, "audit.db"));
  const times: string[] = [];
  for await (const checkpoint of reader.checkpoints("")) times.push(checkpoint?.time ?? "");
  await reader.close();
  return times;
}

test("a part of a trail begins and ends at signed checkpoints", async (t) => {
  const dir = temporaryDirectory(t);
  const [, second = ""] = await checkpointTimes(trail);
  const { manifest } = await bundle(trail, join(dir, "late"), { since: second });
  assert.deepEqual(
    manifest.chains.map(({ first, last, rows, after: from, checkpoints }) => ({
      first,
      last,
      rows,
      from,
      checkpoints,
    })),
    [{ first: 41, last: 100, rows: 60, from: { number: 1, seq: 40 }, checkpoints: 3 }],
  );
  const late = await openBundle(join(dir, "late"));
  const writer = (await late.chains())[0] ?? "";
  assert.equal((await late.start(writer))?.seq, 40);
  const head = readHeadFile(join(trail, HEAD_FILE));
  assert.ok(head !== undefined && head !== "unreadable");
  assert.deepEqual(Buffer.from((await late.end(writer))?.digest ?? []), Buffer.from(head.digest));
  const before = new Date(Date.parse(second) - 1).toISOString();
  const early = await bundle(trail, join(dir, "early"), { until: before });
  const chain = early.manifest.chains[0];
  assert.ok(chain && chain.after === null && chain.first === 1 && [40, 90].includes(chain.last));
  assert.equal(await problems(join(dir, "late")), "");
  await assert.rejects(bundle(trail, join(dir, "none"), { writer: "writer-nobody" }), /no chain/);
  await assert.rejects(bundle(trail, join(dir, "odd"), { since: "yesterday-ish" }), /ISO 8601/);
});

test("a body that is no line of text survives", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(dir, [3]);
  const db = new DatabaseSync(join(dir, "audit.db"));
  db.exec("DROP TRIGGER audit_no_update");
  db.prepare("UPDATE audit SET body = ?, writer = ? WHERE seq = 2").run(
    Buffer.from([0x0a, 0xff, 0x00, 0x0a]),
    '../../x\n"',
  );
  db.close();
  await bundle(dir, join(dir, "out"));
  const rows = await rowsOf(await openBundle(join(dir, "out")));
  assert.deepEqual(Buffer.from(rows[1]?.body ?? []), Buffer.from([0x0a, 0xff, 0x00, 0x0a]));
  assert.equal(rows[1]?.writer, '../../x\n"');
  assert.deepEqual(readdirSync(join(dir, "out")).filter((name) => name.startsWith("rows-")).length, 1);
});

test("any row comes back from its line as it was", () => {
  const bytes = fc.uint8Array({ maxLength: 64 });
  const json = fc.json().map((text) => new Uint8Array(Buffer.from(`{"a":${text}}`)));
  const row = fc.record({
    writer: fc.string({ unit: "binary", maxLength: 40 }).map((text) => text.toWellFormed()),
    seq: fc.nat(),
    prev: bytes,
    mac: bytes,
    body: fc.oneof(bytes, json),
  });
  fc.assert(
    fc.property(row, (given) => {
      const line = encodeRow(given);
      assert.ok(!line.includes(0x0a));
      const back = decodeRow(line);
      assert.ok(back);
      assert.deepEqual({ writer: back.writer, seq: back.seq }, { writer: given.writer, seq: given.seq });
      for (const name of ["prev", "mac", "body"] as const)
        assert.deepEqual(Buffer.from(back[name]), Buffer.from(given[name]));
    }),
    { numRuns: 500 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => decodeRow(noise) === undefined));
});

const DAMAGE: [string, (dir: string) => void, RegExp][] = [
  ["a file edited", (dir) => writeFileSync(join(dir, "checkpoints.jsonl"), "{}\n"), /another hash or size/],
  ["a file missing", (dir) => unlinkSync(join(dir, "tombstones.jsonl")), /tombstones.jsonl is missing/],
  ["the rows cut off", (dir) => truncateSync(join(dir, rowsName(dir)), 2_000), /damaged or cut off/],
  ["the rows cut off and restated", cutAndRestate, /damaged or cut off/],
  [
    "rows that are none",
    (dir) => rewriteLines(dir, rowsName(dir), (lines) => ["nonsense", ...lines]),
    /line 1 .* is no row/,
  ],
  [
    "a last line without end",
    (dir) => {
      writeFileSync(join(dir, "anchors.jsonl"), "{");
      restate(dir);
    },
    /no end/,
  ],
  ["no manifest", (dir) => unlinkSync(join(dir, MANIFEST)), /manifest.json is missing/],
  ["a manifest that is none", (dir) => writeFileSync(join(dir, MANIFEST), "[1"), /not JSON/],
  ["a manifest of another kind", (dir) => writeFileSync(join(dir, MANIFEST), "{}"), /not that of an audit bundle/],
  [
    "a path as a name",
    (dir) =>
      edit(dir, (manifest) => {
        if (manifest.files[0]) manifest.files[0].name = "../trail/audit.db";
      }),
    /which no bundle has/,
  ],
  [
    "an absolute path",
    (dir) =>
      edit(dir, (manifest) => {
        if (manifest.files[0]) manifest.files[0].name = "/etc/passwd";
      }),
    /which no bundle has/,
  ],
  [
    "a path as rows",
    (dir) =>
      edit(dir, (manifest) => {
        if (manifest.chains[0]) manifest.chains[0].file = "../x.jsonl.gz";
      }),
    /names no file that can hold/,
  ],
  [
    "fewer rows stated",
    (dir) =>
      edit(dir, (manifest) => {
        if (manifest.chains[0]) manifest.chains[0].rows = 7;
      }),
    /more than the 7 rows/,
  ],
  [
    "a count that is none",
    (dir) =>
      edit(dir, (manifest) => {
        if (manifest.chains[0]) manifest.chains[0].rows = -1;
      }),
    /no count/,
  ],
  ["a link to elsewhere", link, /no regular file/],
  ["a line without end", bomb, /a line of more than/],
];

function edit(dir: string, change: (manifest: Manifest) => void): void {
  const manifest = manifestOf(dir);
  change(manifest);
  writeFileSync(join(dir, MANIFEST), JSON.stringify(manifest));
}

function cutAndRestate(dir: string): void {
  const path = join(dir, rowsName(dir));
  truncateSync(path, 2_000);
  edit(dir, (manifest) => {
    for (const file of manifest.files) {
      if (file.name !== rowsName(dir)) continue;
      file.bytes = 2_000;
      file.sha256 = createHash("sha256").update(readFileSync(path)).digest("hex");
    }
  });
}

function link(dir: string): void {
  const path = join(dir, "checkpoints.jsonl");
  const elsewhere = join(dir, "..", "elsewhere");
  cpSync(path, elsewhere);
  unlinkSync(path);
  symlinkSync(elsewhere, path);
}

/** A hundred kilobytes that unpack to a hundred megabytes without a line's end. */
function bomb(dir: string): void {
  writeFileSync(join(dir, rowsName(dir)), gzipSync(Buffer.alloc(100 * 1024 * 1024, 0x20)));
}

for (const [name, damage, expected] of DAMAGE) {
  test(`a damaged bundle is said to be: ${name}`, async (t) => {
    const dir = join(temporaryDirectory(t), "bundle");
    cpSync(sound, dir, { recursive: true });
    assert.equal(await problems(dir), "");
    damage(dir);
    assert.match(await problems(dir), expected);
  });
}
