import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { build } from "esbuild";
import { eventually } from "../../../test/support/eventually.ts";
import { type Postgres, startPostgres } from "../../../test/support/postgres.ts";
import { startTcpProxy } from "../../../test/support/tcp-proxy.ts";
import { memoryLog, output, startScript, temporaryDirectory } from "../test-support.ts";
import { copyOf, keys, makeTrail, type Trail, tamper } from "./attacks-postgres-support.ts";
import type { VerifySource } from "./verify-worker.ts";
import { watchTrail } from "./watch.ts";

let server: Postgres;
let trail: Awaited<ReturnType<typeof makeTrail>>;
before(async () => {
  server = await startPostgres();
  trail = await makeTrail(server);
});
after(async () => {
  await trail?.drop();
  await server?.stop();
});

function sourceOf({ reader }: Trail, changes: { port?: number; password?: string } = {}): VerifySource {
  const { host, port, database, user, password } = { ...reader, ...changes };
  return { kind: "postgres", target: { host, port, database, tls: "off" }, credentials: { user, password } };
}

function start(t: TestContext, source: () => Promise<VerifySource>) {
  const log = memoryLog();
  const watch = watchTrail({
    source,
    keys,
    places: async () => ({ anchors: [], copy: undefined }),
    intervalMs: 20,
    log,
  });
  t.after(() => watch.close());
  return { watch, log, errors: () => log.lines.filter(({ level }) => level === "error") };
}

test("PostgreSQL in the worker: clean, then tampering is an error once, and a new one again", {
  timeout: 60_000,
}, async (t) => {
  const copy = await copyOf(trail, t);
  const [a = "", b = ""] = copy.chains;
  const { watch, log, errors } = start(t, async () => sourceOf(copy));
  await eventually(() => watch.status().ok === true, 30_000);
  assert.deepEqual(log.lines, []);
  await tamper(copy.superuser, `UPDATE audit.trail SET body = '{}' WHERE writer = '${a}' AND seq = 50`);
  await eventually(() => watch.status().failures_total >= 3, 30_000);
  assert.deepEqual([watch.status().ok, watch.status().problems, errors().length], [false, 1, 1]);
  assert.deepEqual(findings(errors()[0]), [["bad_mac", a, "row 50"]]);
  await tamper(copy.superuser, `DELETE FROM audit.trail WHERE writer = '${b}' AND seq > 18`);
  await eventually(() => errors().length === 2, 30_000);
  assert.match(JSON.stringify(findings(errors()[1])), /"rolled_back","writer-[0-9a-f]{16}","rows 19 to 20"/);
  assert.equal(watch.status().errors_total, 0);
});

function findings(line: { fields: object } | undefined): unknown[] {
  const named: { kind: string; writer: string; rows: string }[] = Reflect.get(line?.fields ?? {}, "findings");
  return named.map(({ kind, writer, rows }) => [kind, writer, rows]);
}

test("a database that is away, or lets nobody in, is a warning and no finding", { timeout: 60_000 }, async (t) => {
  const proxy = await startTcpProxy(server.host, server.port);
  const { watch, log, errors } = start(t, async () => sourceOf(trail, { port: proxy.port }));
  await eventually(() => watch.status().ok === true, 30_000);
  await proxy.close();
  await eventually(() => watch.status().errors_total >= 2, 30_000);
  assert.match(JSON.stringify(log.lines[0]), /"warn".*ECONNREFUSED/);
  assert.deepEqual([watch.status().ok, watch.status().failures_total, errors()], [true, 0, []]);

  const refused = start(t, async () => sourceOf(trail, { password: "of yesterday" }));
  await eventually(() => refused.watch.status().errors_total > 0, 30_000);
  assert.match(JSON.stringify(refused.log.lines), /password authentication failed/);
  assert.doesNotMatch(JSON.stringify(refused.log.lines), /of yesterday/);
  assert.deepEqual([refused.watch.status().ok, refused.errors()], [undefined, []]);
});

test("bundled, as in dist/, the worker loads the driver and verifies", { timeout: 60_000 }, async (t) => {
  const dir = temporaryDirectory(t);
  await build({
    entryPoints: ["watch", "verify-worker"].map((name) => join(import.meta.dirname, `${name}.ts`)),
    outdir: dir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    // As scripts/build.ts has it.
    mainFields: ["module", "main"],
    conditions: ["module"],
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
    logLevel: "silent",
  });
  const code = `
    const [dir, json] = process.argv.slice(1);
    const { createPublicKey } = await import("node:crypto");
    const { watchTrail } = await import("file://" + dir + "/watch.js");
    const { source, mac, keyId, publicPem } = JSON.parse(json);
    const say = (fields, message) => console.log(message, JSON.stringify(fields));
    const watch = watchTrail({
      source: async () => source,
      keys: { mac: Buffer.from(mac, "hex"), keyId, signingPublic: createPublicKey(publicPem) },
      places: async () => ({ anchors: [], copy: undefined }),
      intervalMs: 10,
      log: { debug: say, info: say, warn: say, error: say },
    });
    const timer = setInterval(() => {
      const { last_run_at, errors_total, ok, problems } = watch.status();
      if (last_run_at === undefined && errors_total === 0) return;
      console.log(JSON.stringify({ ok, problems }));
      clearInterval(timer);
      void watch.close();
    }, 20);`;
  const publicPem = keys.signingPublic.export({ type: "spki", format: "pem" });
  const { mac, keyId } = keys;
  const given = { source: sourceOf(trail), mac: Buffer.from(mac).toString("hex"), keyId, publicPem };
  const text = await output(startScript(t, code, [dir, JSON.stringify(given)]));
  assert.equal(text, '{"ok":true,"problems":0}\n');
});
