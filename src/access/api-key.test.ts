import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isKeyToken, KeyStore } from "./api-key.ts";
import { replaceFile } from "./state-file.ts";

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "api-key-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** A store on a clock of its own, that collects what it has to complain about. */
function open(directory: string) {
  const clock = { ms: 0 };
  const problems: string[] = [];
  const store = new KeyStore(directory, { now: () => clock.ms, onProblem: (error) => problems.push(error.message) });
  return { store, clock, problems };
}

interface Row {
  id: string;
  name: string;
  role: string;
  hmac: string;
  created_at: string;
}

function fileOf(directory: string): { version: number; keys: Row[] } {
  return JSON.parse(readFileSync(join(directory, "api-keys.json"), "utf8"));
}

test("a key is shown once and kept only as an HMAC, in private files", async (t) => {
  const directory = join(scratch(t), "state");
  const { store } = open(directory);
  assert.equal(store.isEmpty(), true);
  const { token, key } = await store.createKey({ name: "ci@example.com", role: "operator" });

  assert.match(token, /^mcpaws_[0-9a-f]{8}_[A-Za-z0-9_-]{43}$/);
  assert.ok(isKeyToken(token));
  assert.equal(token.split("_")[1], key.id);
  assert.deepEqual(store.list(), [key]);
  assert.deepEqual(Object.keys(key), ["id", "name", "role", "created_at"]);
  assert.equal(store.isEmpty(), false);
  assert.deepEqual(store.verify(token), { id: "ci@example.com", roles: ["operator"], via: "api_key" });

  const files = readdirSync(directory).sort();
  assert.deepEqual(files, ["api-key.key", "api-keys.json"]);
  const secretPart = token.slice(-43);
  for (const file of files) {
    const content = readFileSync(join(directory, file));
    assert.equal(statSync(join(directory, file)).mode & 0o777, 0o600);
    assert.ok(!content.includes(secretPart) && !content.includes(Buffer.from(secretPart, "base64url")));
  }
  assert.equal(readFileSync(join(directory, "api-key.key")).length, 32);
});

test("only the whole, exact token is accepted", async (t) => {
  const { store } = open(scratch(t));
  const { token } = await store.createKey({ name: "a", role: "viewer" });
  const { token: other } = await store.createKey({ name: "b", role: "admin" });
  for (let i = 0; i < token.length; i++) {
    const changed = `${token.slice(0, i)}${token[i] === "0" ? "1" : "0"}${token.slice(i + 1)}`;
    assert.equal(store.verify(changed), undefined, `character ${i}`);
  }
  const mixed = `${token.slice(0, 16)}${other.slice(16)}`;
  for (const wrong of [
    "",
    mixed,
    `${token} `,
    `${token}x`,
    ` ${token}`,
    token.slice(0, -1),
    token.toUpperCase(),
    `${token}\n`,
  ]) {
    assert.equal(store.verify(wrong), undefined, JSON.stringify(wrong));
  }
  assert.equal(store.verify(token)?.id, "a");
  assert.equal(store.verify(other)?.id, "b");
});

test("keys survive a restart; the HMAC depends on the secret", async (t) => {
  const directory = scratch(t);
  const { token } = await open(directory).store.createKey({ name: "a", role: "viewer" });
  assert.equal(open(directory).store.verify(token)?.id, "a");
  writeFileSync(join(directory, "api-key.key"), Buffer.alloc(32, 7));
  assert.equal(open(directory).store.verify(token), undefined);
});

test("names are checked and unique among the keys there are", async (t) => {
  const { store } = open(scratch(t));
  for (const name of ["", "a b", "x".repeat(65), "a/b", 'a"', "名前", "a\n"]) {
    await assert.rejects(store.createKey({ name, role: "viewer" }), /^Error: key name must be 1 to 64/);
  }
  assert.equal(store.isEmpty(), true);
  const { key } = await store.createKey({ name: "x".repeat(64), role: "viewer" });
  await assert.rejects(store.createKey({ name: key.name, role: "admin" }), /already a key named/);
  await store.revoke(key.id);
  await store.createKey({ name: key.name, role: "admin" });
  assert.deepEqual(
    store.list().map(({ role }) => role),
    ["admin"],
  );
});

test("a revoked key is refused at once; revoking nothing changes nothing", async (t) => {
  const directory = scratch(t);
  const { store } = open(directory);
  assert.equal(await store.revoke("00000000"), false);
  assert.deepEqual(readdirSync(directory), []);
  const { token, key } = await store.createKey({ name: "a", role: "viewer" });
  const { token: kept } = await store.createKey({ name: "b", role: "viewer" });
  assert.equal(await store.revoke(key.id), true);
  assert.equal(await store.revoke(key.id), false);
  assert.equal(store.verify(token), undefined);
  assert.equal(store.verify(kept)?.id, "b");
});

test("a running server sees within a second what another process changed, and looks no more often", async (t) => {
  const directory = scratch(t);
  const server = open(directory);
  const other = open(directory).store;
  const { token, key } = await other.createKey({ name: "late", role: "viewer" });
  server.clock.ms = 999;
  assert.equal(server.store.verify(token), undefined);
  server.clock.ms = 1000;
  assert.equal(server.store.verify(token)?.id, "late");
  await other.revoke(key.id);
  server.clock.ms = 1999;
  assert.equal(server.store.verify(token)?.id, "late");
  server.clock.ms = 2000;
  assert.equal(server.store.verify(token), undefined);
  assert.equal(server.store.isEmpty(), true);
  const again = await other.createKey({ name: "again", role: "viewer" });
  server.clock.ms = 3000;
  assert.deepEqual(server.store.list(), [again.key]);
  rmSync(join(directory, "api-keys.json"));
  server.clock.ms = 4000;
  assert.equal(server.store.verify(again.token), undefined, "a deleted file is no keys");
  assert.deepEqual(server.problems, []);
});

test("a change that keeps size and time is seen too", async (t) => {
  const directory = scratch(t);
  const path = join(directory, "api-keys.json");
  const { token } = await open(directory).store.createKey({ name: "aaa", role: "viewer" });
  utimesSync(path, 1000, 1000);
  const server = open(directory);
  assert.equal(server.store.verify(token)?.id, "aaa");
  replaceFile(path, readFileSync(path, "utf8").replace("aaa", "bbb"));
  utimesSync(path, 1000, 1000);
  server.clock.ms = 1000;
  assert.equal(server.store.verify(token)?.id, "bbb");
});

test("an unknown id costs what a wrong key costs", async (t) => {
  const { store } = open(scratch(t));
  const { token } = await store.createKey({ name: "a", role: "viewer" });
  const wrong = `${token.slice(0, 16)}${"A".repeat(43)}`;
  const unknown = `mcpaws_${token.startsWith("mcpaws_0") ? "1" : "0"}${wrong.slice(8)}`;
  const best = { wrong: Number.POSITIVE_INFINITY, unknown: Number.POSITIVE_INFINITY };
  const time = (guess: string): number => {
    const start = performance.now();
    for (let i = 0; i < 200; i++) assert.equal(store.verify(guess), undefined);
    return performance.now() - start;
  };
  for (let round = 0; round < 50; round++) {
    best.wrong = Math.min(best.wrong, time(wrong));
    best.unknown = Math.min(best.unknown, time(unknown));
  }
  const ratio = best.unknown / best.wrong;
  assert.ok(ratio > 0.6 && ratio < 1.6, `ratio ${ratio}`);
});

test("processes that make keys at the same time lose none", async (t) => {
  const directory = scratch(t);
  const script = `
    import { KeyStore } from ${JSON.stringify(import.meta.resolve("./api-key.ts"))};
    const store = new KeyStore(process.argv[1]);
    for (let i = 0; i < 5; i++) console.log((await store.createKey({ name: process.argv[2] + i, role: "viewer" })).token);`;
  const children = ["a", "b", "c"].map((name) =>
    spawn(process.execPath, ["--input-type=module", "-e", script, directory, name], {
      stdio: ["ignore", "pipe", "pipe"],
    }),
  );
  const outputs = await Promise.all(
    children.map(async (child) => {
      let [out, err] = ["", ""];
      child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
      child.stderr.setEncoding("utf8").on("data", (text) => (err += text));
      const [code] = await once(child, "close");
      assert.equal(code, 0, err);
      return out.trim().split("\n");
    }),
  );
  const { store } = open(directory);
  const tokens = outputs.flat();
  assert.equal(tokens.length, 15);
  assert.equal(store.list().length, 15);
  for (const token of tokens) assert.ok(store.verify(token));
  assert.deepEqual(readdirSync(directory).sort(), ["api-key.key", "api-keys.json"]);
});

const KEY: Row = {
  id: "0011aabb",
  name: "a",
  role: "viewer",
  hmac: "0".repeat(64),
  created_at: "2026-01-01T00:00:00Z",
};

const malformed: [what: string, content: string][] = [
  ["no JSON", "mcpaws_secret"],
  ["empty", ""],
  ["no object", "[]"],
  ["another version", JSON.stringify({ version: 2, keys: [] })],
  ["no keys", JSON.stringify({ version: 1 })],
  ["an unknown field", JSON.stringify({ version: 1, keys: [], more: 1 })],
  ["an unknown field in a key", JSON.stringify({ version: 1, keys: [{ ...KEY, more: 1 }] })],
  ["an unknown role", JSON.stringify({ version: 1, keys: [{ ...KEY, role: "root" }] })],
  ["a short hmac", JSON.stringify({ version: 1, keys: [{ ...KEY, hmac: "00" }] })],
  ["a bad id", JSON.stringify({ version: 1, keys: [{ ...KEY, id: "xyz" }] })],
  ["a bad name", JSON.stringify({ version: 1, keys: [{ ...KEY, name: "a b" }] })],
  ["a date that is none", JSON.stringify({ version: 1, keys: [{ ...KEY, created_at: "yesterday" }] })],
  ["an id twice", JSON.stringify({ version: 1, keys: [KEY, { ...KEY, name: "b" }] })],
  ["a name twice", JSON.stringify({ version: 1, keys: [KEY, { ...KEY, id: "ffffffff" }] })],
];

for (const [what, content] of malformed) {
  test(`a malformed file refuses at start and names itself: ${what}`, (t) => {
    const directory = scratch(t);
    writeFileSync(join(directory, "api-key.key"), Buffer.alloc(32));
    writeFileSync(join(directory, "api-keys.json"), content);
    assert.throws(
      () => new KeyStore(directory),
      (error: Error) =>
        error.message.startsWith(join(directory, "api-keys.json")) && !error.message.includes("mcpaws_secret"),
    );
  });
}

test("keys without their secret, or with half of it, refuse at start and name it", async (t) => {
  const directory = scratch(t);
  const { store } = open(directory);
  await store.createKey({ name: "a", role: "viewer" });
  const path = join(directory, "api-key.key");
  writeFileSync(path, "short");
  assert.throws(
    () => new KeyStore(directory),
    (error: Error) => error.message.startsWith(`${path} holds 5 bytes`),
  );
  rmSync(path);
  assert.throws(
    () => new KeyStore(directory),
    (error: Error) => error.message.startsWith(`${path} is missing`),
  );
  await assert.rejects(store.createKey({ name: "b", role: "viewer" }), /is missing/);
  assert.deepEqual(
    fileOf(directory).keys.map(({ name }) => name),
    ["a"],
    "nor is a new secret made beside them",
  );
});

test("a file that cannot be read refuses at start", (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, "not-a-directory"), "");
  assert.throws(() => new KeyStore(join(directory, "not-a-directory")), /ENOTDIR/);
});

test("a file that breaks while running keeps the old keys, is reported once, and is taken when mended", async (t) => {
  const directory = scratch(t);
  const path = join(directory, "api-keys.json");
  const { store, clock, problems } = open(directory);
  const { token } = await store.createKey({ name: "a", role: "viewer" });
  const good = readFileSync(path, "utf8");

  writeFileSync(path, "{");
  for (let i = 0; i < 3; i++) {
    clock.ms += 1000;
    assert.equal(store.verify(token)?.id, "a");
  }
  assert.deepEqual(problems, [`${path} is not JSON`]);

  writeFileSync(path, JSON.stringify({ ...JSON.parse(good), keys: [] }));
  clock.ms += 1000;
  assert.equal(store.verify(token), undefined);

  writeFileSync(path, "{");
  clock.ms += 1000;
  assert.equal(store.isEmpty(), true);
  assert.equal(problems.length, 2, "the same problem after a good file is news");

  writeFileSync(path, good);
  clock.ms += 1000;
  assert.equal(store.verify(token)?.id, "a");
});

test("a secret that goes missing and comes back while running is taken without another change of the keys", async (t) => {
  const directory = scratch(t);
  const secretPath = join(directory, "api-key.key");
  const { store, clock, problems } = open(directory);
  const { token: first } = await store.createKey({ name: "a", role: "viewer" });
  const { token: second } = await open(directory).store.createKey({ name: "b", role: "viewer" });
  const secret = readFileSync(secretPath);
  rmSync(secretPath);
  clock.ms += 1000;
  assert.equal(store.verify(first)?.id, "a");
  assert.equal(store.verify(second), undefined);
  assert.match(problems.join(), /api-key\.key is missing/);
  writeFileSync(secretPath, secret);
  clock.ms += 1000;
  assert.equal(store.verify(second)?.id, "b");
});

test("without a listener a problem is no crash", async (t) => {
  const directory = scratch(t);
  let ms = 0;
  const store = new KeyStore(directory, { now: () => ms });
  const { token } = await store.createKey({ name: "a", role: "viewer" });
  writeFileSync(join(directory, "api-keys.json"), "{");
  ms = 1000;
  assert.equal(store.verify(token)?.id, "a");
});
