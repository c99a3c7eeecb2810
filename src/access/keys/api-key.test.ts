import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { KeyStore, type KeyStoreOptions } from "./api-key.ts";
import type { StoredKey } from "./key-file.ts";
import { fileKeys } from "./key-source.ts";
import { isKeyToken } from "./key-token.ts";
import { replaceFile } from "./state-file.ts";

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "api-key-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

const pathIn = (directory: string): string => join(directory, "api-keys.json");

/** A store on a clock of its own, that collects what it has to complain about. */
async function open(directory: string, options: KeyStoreOptions & { explicit?: boolean; path?: string } = {}) {
  const clock = { ms: 0 };
  const problems: string[] = [];
  const source = fileKeys(options.path ?? pathIn(directory), { explicit: options.explicit ?? false });
  const store = await KeyStore.open(source, { now: () => clock.ms, ...options });
  store.watch(60_000, ({ message }) => problems.push(message));
  return { store, clock, problems };
}

function fileOf(directory: string): { version: number; keys: StoredKey[] } {
  return JSON.parse(readFileSync(pathIn(directory), "utf8"));
}

/** Who a token lets in, or why it does not. */
function who(store: KeyStore, token: string): string {
  const answer = store.verify(token);
  return answer.ok ? answer.principal.id : answer.reason;
}

const viewer = (name: string) => ({ name, roles: ["viewer"] });

test("a key is shown once and only its hash is kept, in a private file", async (t) => {
  const directory = join(scratch(t), "state");
  const { store } = await open(directory);
  assert.equal(store.isConfigured(), false);
  const { token, key } = await store.createKey({ name: "ci@example.com", roles: ["operator", "auditor", "operator"] });

  assert.match(token, /^mcpaws_[0-9a-f]{8}_[A-Za-z0-9_-]{43}$/);
  assert.ok(isKeyToken(token));
  assert.equal(token.split("_")[1], key.id);
  assert.deepEqual(store.list(), [key]);
  assert.deepEqual(Object.keys(key), ["id", "name", "roles", "created_at", "expired"]);
  assert.equal(store.isConfigured(), true);
  const answer = store.verify(token);
  assert.ok(answer.ok);
  assert.deepEqual(answer.principal, { id: "ci@example.com", roles: ["operator", "auditor"], via: "api_key" });
  assert.ok(answer.valid());

  assert.deepEqual(readdirSync(directory), ["api-keys.json"]);
  assert.equal(statSync(pathIn(directory)).mode & 0o777, 0o600);
  const content = readFileSync(pathIn(directory));
  const secretPart = token.slice(-43);
  assert.ok(!content.includes(secretPart) && !content.includes(Buffer.from(secretPart, "base64url")));
  const [stored] = fileOf(directory).keys;
  assert.equal(stored?.sha256, createHash("sha256").update(token).digest("hex"));
});

test("keys differ in all of their 256 bits", async (t) => {
  const { store } = await open(scratch(t));
  const secrets: Buffer[] = [];
  for (let i = 0; i < 40; i += 1)
    secrets.push(Buffer.from((await store.createKey(viewer(`k${i}`))).token.slice(-43), "base64url"));
  assert.ok(secrets.every(({ length }) => length === 32));
  for (let bit = 0; bit < 256; bit += 1) {
    const ones = secrets.filter((secret) => ((secret[bit >> 3] ?? 0) >> (bit & 7)) & 1).length;
    // One bit that is always the same among 40 random ones: 2 in 10^12, times 256.
    assert.ok(ones > 0 && ones < secrets.length, `bit ${bit} never changes`);
  }
});

test("only the whole, exact token is accepted", async (t) => {
  const { store } = await open(scratch(t));
  const { token } = await store.createKey(viewer("a"));
  const { token: other } = await store.createKey({ name: "b", roles: ["admin"] });
  for (let i = 0; i < token.length; i++) {
    const changed = `${token.slice(0, i)}${token[i] === "0" ? "1" : "0"}${token.slice(i + 1)}`;
    assert.equal(store.verify(changed).ok, false, `character ${i}`);
  }
  const mixed = `${token.slice(0, 16)}${other.slice(16)}`;
  const notEven = [`${token} `, `${token}x`, ` ${token}`, token.slice(0, -1), token.toUpperCase(), `${token}\n`, ""];
  for (const wrong of notEven) assert.equal(who(store, wrong), "malformed", JSON.stringify(wrong));
  assert.equal(who(store, mixed), "unknown");
  assert.equal(who(store, token), "a");
  assert.equal(who(store, other), "b");
});

test("brute force: many wrong keys, never in, all refused alike", async (t) => {
  const { store } = await open(scratch(t));
  const { token, key } = await store.createKey({ name: "a", roles: ["admin"], expiresAt: "2000-01-01T00:00:00Z" });
  const { key: live } = await store.createKey({ name: "b", roles: ["admin"] });
  const ids = [key.id, live.id];
  for (let i = 0; i < 20_000; i++) {
    const id = ids[i % 4] ?? randomBytes(4).toString("hex");
    const answer = store.verify(`mcpaws_${id}_${randomBytes(32).toString("base64url")}`);
    // An expired key is no different from one that never was, to whoever does not have it.
    if (answer.ok || answer.reason !== "unknown") assert.fail(`guess ${i}: ${JSON.stringify(answer)}`);
  }
  assert.equal(who(store, token), "expired");
});

test("keys survive a restart", async (t) => {
  const directory = scratch(t);
  const { token } = await (await open(directory)).store.createKey(viewer("a"));
  assert.equal(who((await open(directory)).store, token), "a");
});

test("names are checked and unique among the keys there are", async (t) => {
  const { store } = await open(scratch(t));
  for (const name of ["", "a b", "x".repeat(65), "a/b", 'a"', "名前", "a\n"]) {
    await assert.rejects(store.createKey(viewer(name)), /^Error: key name must be 1 to 64/);
  }
  assert.equal(store.isConfigured(), false);
  const { key } = await store.createKey(viewer("x".repeat(64)));
  await assert.rejects(store.createKey({ name: key.name, roles: ["admin"] }), /already a key named/);
  await store.revoke([key.id]);
  await store.createKey({ name: key.name, roles: ["admin"] });
  assert.deepEqual(
    store.list().map(({ roles }) => roles),
    [["admin"]],
  );
});

test("nothing is written that could not be read again", async (t) => {
  const directory = scratch(t);
  const { store } = await open(directory, { roles: new Set(["viewer"]) });
  await store.createKey(viewer("a"));
  const before = readFileSync(pathIn(directory), "utf8");
  for (const wrong of [{ roles: ["root"] }, { roles: [] }, { roles: ["a b"] }, { expiresAt: "tomorrow" }])
    await assert.rejects(store.createKey({ ...viewer("b"), ...wrong }), /: keys\.1\./);
  assert.equal(readFileSync(pathIn(directory), "utf8"), before);
});

test("a revoked key is refused at once; revoking nothing changes nothing; all can be revoked", async (t) => {
  const directory = scratch(t);
  const { store } = await open(directory);
  assert.deepEqual(await store.revoke(["00000000"]), []);
  assert.deepEqual(await store.revoke("all"), []);
  assert.deepEqual(readdirSync(directory), []);
  const { token, key } = await store.createKey(viewer("a"));
  const { token: kept } = await store.createKey(viewer("b"));
  const admitted = store.verify(token);
  assert.deepEqual(await store.revoke([key.id, "00000000"]), [key.id]);
  assert.deepEqual(await store.revoke([key.id]), []);
  assert.equal(who(store, token), "unknown");
  assert.ok(admitted.ok && !admitted.valid(), "nor is what it opened still valid");
  assert.equal(who(store, kept), "b");
  await store.createKey(viewer("c"));
  assert.equal((await store.revoke("all")).length, 2);
  assert.equal(who(store, kept), "unknown");
  assert.deepEqual(store.list(), []);
});

test("a key works until it expires, without the file being read again, and so does what it opened", async (t) => {
  const start = Date.parse("2026-06-01T12:00:00Z");
  t.mock.timers.enable({ apis: ["Date"], now: start });
  const directory = scratch(t);
  const { store } = await open(directory);
  const { token } = await store.createKey({ ...viewer("a"), expiresAt: "2026-06-01T13:00:00+00:30" });
  const { token: forever } = await store.createKey(viewer("b"));
  rmSync(pathIn(directory)); // The clock that says when to look stands still: nothing is read.
  const [a, b] = [store.verify(token), store.verify(forever)];
  assert.ok(a.ok && a.valid() && b.ok && b.valid());
  t.mock.timers.setTime(start + 1_799_999);
  assert.ok(a.valid());
  assert.equal(who(store, token), "a");
  t.mock.timers.setTime(start + 1_800_000);
  assert.equal(a.valid(), false);
  assert.equal(who(store, token), "expired");
  assert.ok(b.valid());
  assert.deepEqual(
    store.list().map(({ name, expired }) => [name, expired]),
    [
      ["a", true],
      ["b", false],
    ],
  );
  assert.equal(store.isConfigured(), true, "keys that have expired are keys");
});

test("what a key opened ends when the key's roles, name or end are changed", async (t) => {
  const directory = scratch(t);
  const { store, clock } = await open(directory);
  for (const change of [
    { roles: ["viewer"] },
    { roles: ["viewer", "admin"] },
    { name: "x" },
    { expires_at: "2020-01-01T00:00:00Z" },
  ]) {
    const { token } = await store.createKey({ name: "a", roles: ["admin"] });
    const admitted = store.verify(token);
    assert.ok(admitted.ok && admitted.valid());
    const { version, keys } = fileOf(directory);
    replaceFile(pathIn(directory), JSON.stringify({ version, keys: [{ ...keys[0], ...change }] }));
    clock.ms += 1000;
    assert.equal(admitted.valid(), false, JSON.stringify(change));
    await store.revoke("all");
  }
});

test("a running server sees within a second what another process changed, and looks no more often", async (t) => {
  const directory = scratch(t);
  const server = await open(directory);
  const other = (await open(directory)).store;
  const { token, key } = await other.createKey(viewer("late"));
  server.clock.ms = 999;
  assert.equal(who(server.store, token), "unknown");
  server.clock.ms = 1000;
  assert.equal(who(server.store, token), "late");
  await other.revoke([key.id]);
  server.clock.ms = 1999;
  assert.equal(who(server.store, token), "late");
  server.clock.ms = 2000;
  assert.equal(who(server.store, token), "unknown");
  assert.equal(server.store.isConfigured(), false);
  const again = await other.createKey(viewer("again"));
  server.clock.ms = 3000;
  assert.deepEqual(server.store.list(), [again.key]);
  rmSync(pathIn(directory));
  server.clock.ms = 4000;
  assert.equal(who(server.store, again.token), "unknown", "a deleted file is no keys");
  assert.deepEqual(server.problems, []);
});

test("a change that keeps size and time is seen too", async (t) => {
  const directory = scratch(t);
  const path = pathIn(directory);
  const { token } = await (await open(directory)).store.createKey(viewer("aaa"));
  utimesSync(path, 1000, 1000);
  const server = await open(directory);
  assert.equal(who(server.store, token), "aaa");
  replaceFile(path, readFileSync(path, "utf8").replace("aaa", "bbb"));
  utimesSync(path, 1000, 1000);
  server.clock.ms += 1000;
  assert.equal(who(server.store, token), "bbb");
  // In place: the same inode, too.
  writeFileSync(path, readFileSync(path, "utf8").replace("bbb", "ccc"));
  utimesSync(path, 1000, 1000);
  server.clock.ms += 1000;
  assert.equal(who(server.store, token), "ccc");
});

test("a file that a link leads to is followed when the link is moved, as mounted secrets are replaced", async (t) => {
  const directory = scratch(t);
  // As Kubernetes does it: keys.json → ..data/keys.json, ..data → a directory of its own for each revision.
  const path = join(directory, "keys.json");
  const mount = (revision: string) => {
    const link = join(directory, "..tmp");
    symlinkSync(revision, link);
    renameSync(link, join(directory, "..data"));
  };
  const made: string[] = [];
  for (const revision of ["r1", "r2"]) {
    mkdirSync(join(directory, revision));
    const { store } = await open(join(directory, revision), { path: join(directory, revision, "keys.json") });
    made.push((await store.createKey(viewer(revision))).token);
  }
  const [first = "", second = ""] = made;
  mount("r1");
  symlinkSync("..data/keys.json", path);
  const { store, clock } = await open(directory, { path, explicit: true });
  assert.equal(who(store, first), "r1");
  mount("r2");
  clock.ms = 1000;
  assert.equal(who(store, first), "unknown");
  assert.equal(who(store, second), "r2");
  // A link that leads nowhere for a while, and then to the very same file.
  renameSync(join(directory, "..data"), join(directory, "..away"));
  clock.ms += 1000;
  assert.equal(who(store, second), "r2");
  assert.ok(store.problem());
  renameSync(join(directory, "..away"), join(directory, "..data"));
  clock.ms += 1000;
  assert.equal(who(store, second), "r2");
  assert.equal(store.problem(), undefined);
  // What is changed through the link is the file, and the link stays.
  await store.revoke("all");
  assert.ok(lstatSync(path).isSymbolicLink());
  assert.deepEqual(JSON.parse(readFileSync(join(directory, "r2", "keys.json"), "utf8")).keys, []);
});

test("a file that somebody named must be there, and its loss is no news", async (t) => {
  const directory = scratch(t);
  const path = pathIn(directory);
  await assert.rejects(open(directory, { explicit: true }), (error: Error) =>
    error.message.startsWith(`There is no ${path}; make a key in it: mcp-aws-server keys create --api-keys-file`),
  );
  const maker = await KeyStore.open(fileKeys(path, { explicit: true, create: true }));
  const { token } = await maker.createKey(viewer("a"));
  const { store, clock, problems } = await open(directory, { explicit: true });
  rmSync(path);
  clock.ms = 1000;
  assert.equal(who(store, token), "a");
  assert.match(problems.join(), /There is no /);
  assert.ok(store.problem());
  writeFileSync(path, '{"version":2,"keys":[]}');
  clock.ms = 2000;
  assert.equal(who(store, token), "unknown");
  assert.equal(store.problem(), undefined);
  assert.equal(store.isConfigured(), true, "a file without keys lets nobody in");
});

test("a file that may only be read is read, and not changed", async (t) => {
  const directory = scratch(t);
  const { token } = await (await open(directory)).store.createKey(viewer("a"));
  chmodSync(pathIn(directory), 0o444);
  chmodSync(directory, 0o555);
  // Root may write everywhere.
  const root = process.geteuid?.() === 0;
  if (root) process.seteuid?.(65_534);
  try {
    const { store } = await open(directory, { explicit: true });
    assert.equal(who(store, token), "a");
    await assert.rejects(store.revoke("all"), /cannot be written from here; change it where it comes from$/);
  } finally {
    if (root) process.seteuid?.(0);
    chmodSync(directory, 0o700);
  }
});

test("an unknown id costs what a wrong key costs", async (t) => {
  const { store } = await open(scratch(t));
  const { token } = await store.createKey(viewer("a"));
  const wrong = `${token.slice(0, 16)}${"A".repeat(43)}`;
  const unknown = `mcpaws_${token.startsWith("mcpaws_0") ? "1" : "0"}${wrong.slice(8)}`;
  const best = { wrong: Number.POSITIVE_INFINITY, unknown: Number.POSITIVE_INFINITY };
  const time = (guess: string): number => {
    const start = performance.now();
    for (let i = 0; i < 200; i++) assert.equal(store.verify(guess).ok, false);
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
    import { fileKeys } from ${JSON.stringify(import.meta.resolve("./key-source.ts"))};
    const store = await KeyStore.open(fileKeys(process.argv[1], { explicit: false }));
    for (let i = 0; i < 5; i++)
      console.log((await store.createKey({ name: process.argv[2] + i, roles: ["viewer"] })).token);`;
  const children = ["a", "b", "c"].map((name) =>
    spawn(process.execPath, ["--input-type=module", "-e", script, pathIn(directory), name], {
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
  const { store } = await open(directory);
  const tokens = outputs.flat();
  assert.equal(tokens.length, 15);
  assert.equal(store.list().length, 15);
  for (const token of tokens) assert.ok(store.verify(token).ok);
  assert.deepEqual(readdirSync(directory), ["api-keys.json"]);
});

test("a file that cannot be read or used refuses at start, and is not written over", async (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, "not-a-directory"), "");
  await assert.rejects(open(join(directory, "not-a-directory")), /ENOTDIR/);
  const path = pathIn(directory);
  const { store } = await open(directory);
  for (const content of ["{\n", '{"version":1,"keys":[]}', '{"version":2,"keys":[1]}']) {
    writeFileSync(path, content);
    const names = (error: Error) => error.message.startsWith(`${path}:`);
    await assert.rejects(open(directory), names);
    await assert.rejects(store.createKey(viewer("a")), names);
    assert.equal(readFileSync(path, "utf8"), content);
  }
});

test("a file that breaks while running keeps the old keys, is reported once, and is taken when mended", async (t) => {
  const directory = scratch(t);
  const path = pathIn(directory);
  const { store, clock, problems } = await open(directory);
  const { token } = await store.createKey(viewer("a"));
  const admitted = store.verify(token);
  const good = readFileSync(path, "utf8");
  assert.equal(store.problem(), undefined);

  for (const broken of ["{", "{ ", "{"]) {
    writeFileSync(path, broken);
    clock.ms += 1000;
    assert.equal(who(store, token), "a");
    assert.ok(admitted.ok && admitted.valid());
    assert.doesNotMatch(store.problem() ?? directory, new RegExp(directory), "anybody may read it");
  }
  assert.deepEqual(problems, [`${path}:1: not JSON`]);

  writeFileSync(path, JSON.stringify({ ...JSON.parse(good), keys: [] }));
  clock.ms += 1000;
  assert.equal(who(store, token), "unknown");
  assert.ok(admitted.ok && !admitted.valid());
  assert.equal(store.problem(), undefined);

  writeFileSync(path, "{");
  clock.ms += 1000;
  assert.deepEqual(store.list(), []);
  assert.equal(problems.length, 2, "the same problem after a good file is news");

  writeFileSync(path, good);
  clock.ms += 1000;
  assert.equal(who(store, token), "a");
});

test("a role that there is not: refused at start; while running the old keys stay", async (t) => {
  const directory = scratch(t);
  const roles = new Set(["viewer"]);
  const { store, clock, problems } = await open(directory, { roles });
  const { token } = await store.createKey(viewer("a"));
  const { token: root } = await (await open(directory)).store.createKey({ name: "b", roles: ["root"] });
  clock.ms += 1000;
  assert.equal(who(store, token), "a");
  assert.equal(who(store, root), "unknown");
  assert.match(problems.join(), /api-keys\.json:\d+: keys\.1\.roles: there is no role root, which b has$/);
  await assert.rejects(open(directory, { roles }), /there is no role root, which b has/);
});
