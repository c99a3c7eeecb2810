import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { sound, tamper } from "../audit/verify-support.ts";
import { group } from "./audit-verify.ts";

const main = join(import.meta.dirname, "../main.ts");

function run(_t: TestContext, dir: string, ...flags: string[]) {
  const args = [main, "audit", "verify", "--state-dir", dir, ...flags];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
  return { status, stdout, stderr };
}

test("intact: 0 and what was proven; nothing on standard error where nobody watches", async (t) => {
  const dir = await sound(t);
  const { status, stdout, stderr } = run(t, dir);
  assert.equal(status, 0, stderr);
  assert.match(
    stdout,
    /✔ intact {2}100 rows\n {2}chain-[0-9a-f]{16}: 100 rows, 3 signed checkpoints, signed up to row 100/,
  );
  assert.equal(stderr, "");
  const { chains, ok } = JSON.parse(run(t, dir, "--json").stdout);
  assert.equal(ok, true);
  assert.equal(chains.length, 1);
  const { stdout: later } = run(t, dir, "--since", "2999-01-01");
  assert.match(later, /intact {2}0 rows\n.*begun after row 100/);
});

test("tampered: 1, neighbouring rows on one line", async (t) => {
  const dir = await sound(t);
  tamper(dir, "UPDATE audit SET body = x'00' WHERE seq BETWEEN 5 AND 25; UPDATE audit SET user = 'eve' WHERE seq = 60");
  const { status, stdout } = run(t, dir);
  assert.equal(status, 1);
  assert.match(stdout, /✘ TAMPERED {2}22 problems in 100 rows\n/);
  assert.match(stdout, /chain-[0-9a-f]{16} {2}rows 5–25 {2}bad_mac: /);
  assert.match(stdout, /row 60 {2}edited_column: column user/);
});

test("not verified: 2, never mistaken for a finding", async (t) => {
  const dir = await sound(t);
  for (const [place, ...flags] of [[join(dir, "nothing")], [dir, "--since", "soon"], [dir, "--writer", "nobody"]]) {
    const { status, stdout, stderr } = run(t, String(place), ...flags);
    assert.equal(status, 2, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, /no audit trail|--since|there is no chain/);
  }
});

test("only neighbours of one kind and chain are grouped", () => {
  const problem = (kind: "bad_mac" | "missing_rows", writer: string, first: number, last = first) => ({
    kind,
    writer,
    seq: first,
    first,
    last,
    message: "",
  });
  const groups = group([
    problem("bad_mac", "a", 1),
    problem("bad_mac", "a", 2, 4),
    problem("bad_mac", "a", 6),
    problem("bad_mac", "b", 7),
    problem("missing_rows", "b", 8),
  ]);
  assert.deepEqual(
    groups.map(({ writer, first, last }) => [writer, first, last]),
    [
      ["a", 1, 4],
      ["a", 6, 6],
      ["b", 7, 7],
      ["b", 8, 8],
    ],
  );
});
