import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { cpSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { rewriteLines, rowsName } from "./bundle/test-support.ts";
import { verifyBundle } from "./bundle-verify.ts";
import { exportBundle } from "./export.ts";
import { loadVerifyKeys, type VerifyKeys } from "./keys.ts";
import { openSqliteReader } from "./store/sqlite-reader.ts";
import { temporaryDirectory, writeRows } from "./test-support.ts";

const scene = mkdtempSync(join(tmpdir(), "audit-bundle-"));
const bundle = join(scene, "bundle");
let keys: VerifyKeys;

before(async () => {
  await writeRows(scene, [40, 50, 10]);
  keys = loadVerifyKeys(scene);
  const reader = openSqliteReader(join(scene, "audit.db"));
  await exportBundle({ reader, keys, out: bundle });
  const times: string[] = [];
  for await (const checkpoint of reader.checkpoints("")) times.push(checkpoint?.time ?? "");
  await exportBundle({ reader, keys, out: join(scene, "part"), since: times[1] });
  await reader.close();
});
after(() => rm(scene, { recursive: true }));

const publicly = (dir: string) => verifyBundle({ dir, publicKey: keys.signingPublic });
const fully = (dir: string) =>
  verifyBundle({ dir, publicKey: keys.signingPublic, mac: { key: keys.mac, id: keys.keyId } });

test("a bundle verifies with the public key alone, and with the MAC key to the end", async () => {
  for (const verify of [publicly, fully]) {
    const found = await verify(bundle);
    assert.deepEqual(found.problems, []);
    assert.equal(found.ok, true);
    assert.deepEqual(
      found.chains.map(({ rows, covered_until, proven_until }) => [rows, covered_until, proven_until]),
      [[100, 100, 100]],
    );
    assert.equal(found.bundle.complete, true);
    assert.equal(found.bundle.key_from_bundle, false);
  }
});

test("a part verifies from the checkpoint it begins after", async () => {
  for (const verify of [publicly, fully]) {
    const found = await verify(join(scene, "part"));
    assert.deepEqual(found.problems, []);
    assert.deepEqual(
      found.chains.map(({ after: from, rows }) => [from, rows]),
      [[40, 60]],
    );
    assert.equal(found.bundle.complete, false);
  }
});

test("the key in the bundle is used only when there is no other, and that is said", async () => {
  const found = await verifyBundle({ dir: bundle });
  assert.equal(found.bundle.key_from_bundle, true);
  const { publicKey } = generateKeyPairSync("ed25519");
  assert.equal((await verifyBundle({ dir: bundle, publicKey })).ok, false);
  await assert.rejects(verifyBundle({ dir: scene }), /no public key/).catch(async () => {
    // The state directory has a public key of that name: then there is no manifest.
    const other = await verifyBundle({ dir: scene });
    assert.equal(other.problems[0]?.kind, "bad_bundle");
  });
});

const edit = (from: RegExp, to: string, at: number) => (lines: string[]) =>
  lines.map((line, i) => (i === at ? line.replace(from, to) : line));
const forge = (lines: string[]): string[] => {
  const { privateKey } = generateKeyPairSync("ed25519");
  return lines.map((line) =>
    line.replace(
      /"signature":"[0-9a-f]+"/,
      `"signature":"${sign(null, Buffer.from(line), privateKey).toString("hex")}"`,
    ),
  );
};
/** Done with care: the manifest is made to fit. */
const ATTACKS: [string, (dir: string) => void, string[]][] = [
  [
    "a row edited",
    (dir) => rewriteLines(dir, rowsName(dir), edit(/"user":"ann"/, '"user":"bob"', 49)),
    ["rewritten", "bad_mac"],
  ],
  ["the last rows dropped", (dir) => rewriteLines(dir, rowsName(dir), (lines) => lines.slice(0, -3)), ["truncated"]],
  ["a row dropped", (dir) => rewriteLines(dir, rowsName(dir), (lines) => lines.toSpliced(20, 1)), ["missing_rows"]],
  [
    "rows swapped",
    (dir) => rewriteLines(dir, rowsName(dir), (lines) => lines.toSpliced(10, 2, lines[11] ?? "", lines[10] ?? "")),
    ["missing_rows", "rewritten", "bad_mac", "unlinked_row"],
  ],
  [
    "a checkpoint dropped",
    (dir) => rewriteLines(dir, "checkpoints.jsonl", (lines) => lines.toSpliced(1, 1)),
    ["missing_checkpoint"],
  ],
  [
    "a checkpoint edited",
    (dir) => rewriteLines(dir, "checkpoints.jsonl", edit(/"rows":90/, '"rows":89', 1)),
    ["bad_checkpoint"],
  ],
  ["checkpoints forged", (dir) => rewriteLines(dir, "checkpoints.jsonl", forge), ["bad_checkpoint"]],
];

for (const [name, attack, kinds] of ATTACKS) {
  test(`found in a bundle whose manifest was made to fit: ${name}`, async (t) => {
    const dir = join(temporaryDirectory(t), "bundle");
    cpSync(bundle, dir, { recursive: true });
    for (const verify of [publicly, fully]) assert.equal((await verify(dir)).ok, true);
    attack(dir);
    for (const verify of [publicly, fully]) {
      const found = await verify(dir);
      assert.equal(found.ok, false);
      assert.ok(
        found.problems.some(({ kind }) => kinds.includes(kind)),
        JSON.stringify(found.problems),
      );
      assert.ok(found.problems.every(({ kind }) => kind !== "bad_bundle"));
    }
  });
}
