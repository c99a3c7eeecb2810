import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { type Login, login, type Postgres, query, startPostgres, type TestDatabase } from "../support/postgres.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { createKeys, launch, stateDirOf } from "../support/scene.ts";
import {
  type HttpServerProcess,
  mainFile,
  runCli,
  serverEnv,
  startHttpServer,
  temporaryHome,
} from "../support/server.ts";

// The audit commands as somebody types them, in the order of a trail's life: servers of five months ago and of today
// have written it.

const DAYS_AGO = 150;
const CLOCK = join(import.meta.dirname, "../support/shifted-clock.ts");
const WRONG = "hunter2-is-no-password";

/** Who runs a command. Over SQLite they are all the same person. */
type As = "server" | "reader" | "retention";

interface Store {
  /** Makes the database ready. */
  prepare(home: string): Promise<void>;
  /** Puts all that is recorded so far where it would be, had it been recorded so many days ago. */
  age(home: string): Promise<void>;
  env(as: As): Record<string, string>;
  /** Flags, and what no flag may hold, that name the trail instead of `env`. */
  named(home: string, as: As): { flags: string[]; env: Record<string, string> };
  /** As somebody with every right over the database. */
  sql(home: string, statement: string): Promise<Record<string, unknown>[]>;
  /** Switches off what refuses edits, and on again. */
  guard: { table: string; off: string; on: string };
  /** Where removed rows were. */
  part: RegExp;
  close(): Promise<void>;
}

let moto: Moto;
before(async () => {
  moto = await startMoto();
});
after(() => moto?.stop());

function sqlite(): Store {
  return {
    async prepare() {},
    async age() {},
    env: () => ({}),
    named: (home) => ({ flags: ["--state-dir", stateDirOf(home)], env: { XDG_STATE_HOME: "/nowhere" } }),
    async sql(home, statement) {
      const db = new DatabaseSync(join(stateDirOf(home), "audit.db"), { timeout: 5_000 });
      try {
        return db.prepare(statement).all() as Record<string, unknown>[];
      } finally {
        db.close();
      }
    },
    guard: { table: "audit", off: "DROP TRIGGER audit_no_update", on: "SELECT 1" },
    part: /^audit\.db$/,
    async close() {},
  };
}

function postgres(): Store {
  let server: Postgres | undefined;
  let db: TestDatabase | undefined;
  const logins: Partial<Record<As, Login>> = {};
  const as = (who: As): Login => {
    const found = logins[who];
    assert.ok(found);
    return found;
  };
  return {
    async prepare(home) {
      server = await startPostgres();
      db = await server.createDatabase();
      const { owner } = db;
      const suffix = owner.database.slice(-8);
      const env: Record<string, string> = { AUDIT_DATABASE_URL: owner.url };
      const args = ["audit", "migrate"];
      for (const who of ["server", "reader", "retention"] as const) {
        logins[who] = login({ ...owner, user: `${who}_${suffix}`, password: `${who}'s own: "secret"` });
        env[`AUDIT_${who.toUpperCase()}_PASSWORD`] = as(who).password;
        args.push(`--${who}-user`, as(who).user);
      }
      const { code, stdout, stderr } = await runCli(args, { home, env });
      assert.equal(code, 0, stderr);
      for (const who of ["server", "reader", "retention"])
        assert.match(stdout, new RegExp(`${who}_${suffix} is ready`));
    },
    async age(home) {
      assert.ok(db);
      const then = new Date(Date.now() - DAYS_AGO * 86_400_000);
      const month = (ahead: number) =>
        new Date(Date.UTC(then.getUTCFullYear(), then.getUTCMonth() + ahead)).toISOString();
      await query(
        db.owner,
        `CREATE TABLE audit.trail_${month(0).slice(0, 7).replace("-", "_")} PARTITION OF audit.trail
          FOR VALUES FROM ('${month(0)}') TO ('${month(1)}')`,
      );
      // The database's own clock decides on the month.
      const { off, on, table } = this.guard;
      for (const each of [off, `UPDATE ${table} SET stored_at = stored_at - interval '${DAYS_AGO} days'`, on])
        await this.sql(home, each);
    },
    env: (who) => ({ AUDIT_DATABASE_URL: as(who).url }),
    named(home, who) {
      const { host, port, database, user, password } = as(who);
      const parts = { host, port, name: database, user };
      const flags = Object.entries(parts).flatMap(([name, value]) => [`--audit-database-${name}`, String(value)]);
      return { flags: [...flags, "--state-dir", stateDirOf(home)], env: { MCP_AWS_AUDIT_DATABASE_PASSWORD: password } };
    },
    async sql(_home, statement) {
      assert.ok(db);
      return query(db.superuser, statement);
    },
    guard: {
      table: "audit.trail",
      off: "ALTER TABLE audit.trail DISABLE TRIGGER append_only",
      on: "ALTER TABLE audit.trail ENABLE ALWAYS TRIGGER append_only",
    },
    part: /^trail_\d{4}_\d\d$/,
    async close() {
      await db?.drop();
      if (db)
        for (const { user } of Object.values(logins))
          await query({ ...db.superuser, database: "postgres" }, `DROP ROLE ${user}`);
      await server?.stop();
    },
  };
}

for (const [name, open] of [
  ["SQLite", sqlite],
  ["PostgreSQL", postgres],
] as const) {
  describe(name, { timeout: 300_000 }, () => {
    const store = open();
    const home = temporaryHome();
    const inPostgres = name === "PostgreSQL";
    const copied = { MCP_AWS_AUDIT_LOG_GROUP: `/audit/${name}` };
    let proxy: FaultProxy;
    let server: HttpServerProcess;
    let keys: Awaited<ReturnType<typeof createKeys>>;
    let instance: string;

    const audit = (args: string[], as: As = "reader", env: Record<string, string> = {}) =>
      runCli(["audit", ...args], { home, endpoint: proxy.url, env: { ...store.env(as), ...copied, ...env } });
    const ok = async (args: string[], as?: As, env?: Record<string, string>): Promise<string> => {
      const { code, stdout, stderr } = await audit(args, as, env);
      assert.equal(code, 0, `audit ${args.join(" ")}: ${stdout}${stderr}`);
      return stdout;
    };
    const json = (text: string) =>
      text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line));
    const intact = async () => {
      const [found] = json(await ok(["verify", "--json"]));
      assert.deepEqual([found.ok, found.problems, found.warnings], [true, [], []]);
      return found;
    };

    before(async () => {
      proxy = await startFaultProxy({ target: moto.url });
      keys = await createKeys(home);
      await store.prepare(home);
      const args = ["--confirm", "never"];
      const shift = { NODE_OPTIONS: `--import=${CLOCK}`, MCP_TEST_CLOCK_DAYS: String(-DAYS_AGO) };
      const common = { home, endpoint: proxy.url, args };
      const old = await startHttpServer({ ...common, env: { ...store.env("server"), ...shift } });
      for (let i = 0; i < 3; i += 1) await rawCall(old.url, { tool: "ec2_list_instances", key: keys.viewer });
      await old.stop();
      await store.age(home);
      // The group is new: what the old server wrote is copied by this one.
      const create = { MCP_AWS_AUDIT_LOG_GROUP_CREATE: "true" };
      server = await startHttpServer({ ...common, env: { ...store.env("server"), ...copied, ...create } });
      [instance = ""] = (await launch(proxy.url, { stopped: 1 })).stopped;
      await rawCall(server.url, { tool: "ec2_list_instances", key: keys.viewer });
      const start = { tool: "ec2_start_instance", args: { instance_id: instance } };
      await rawCall(server.url, { ...start, key: keys.viewer });
      await rawCall(server.url, { ...start, key: keys.admin });
    });
    after(async () => {
      await server?.stop();
      await store.close();
      await proxy?.close();
    });

    test("query: filters, the trail's place and --writer in one line", async () => {
      const { flags, env } = store.named(home, "reader");
      const all = json((await runCli(["audit", "query", ...flags, "--json"], { home, env })).stdout);
      assert.ok(all.length >= 9, `${all.length} rows`);
      const { writer } = all.at(-1);
      const search = async (...args: string[]) => {
        const given = ["audit", "query", ...args, "--writer", writer, ...flags, "--region", "eu-west-1", "--json"];
        const { code, stdout, stderr } = await runCli(given, { home, env });
        assert.equal(code, 0, stderr);
        return json(stdout);
      };
      const listed = await search("--since", "1h", "--user", "viewer", "--operation", "ec2_list_instances");
      assert.deepEqual(
        listed.map(({ event, result }) => [event, result]),
        [["outcome", "success"]],
      );
      const [denied, ...more] = await search("--operation", "ec2_start_instance", "--result", "denied");
      assert.deepEqual([denied?.user, denied?.event, more.length], ["viewer", "outcome", 0]);
      const [, started] = await search("--resource", instance, "--user", "admin");
      const call = await search("--call-id", started.call_id);
      assert.deepEqual(
        call.map(({ event }) => event),
        ["intent", "outcome"],
      );
      assert.deepEqual(await search("--user", "nobody"), []);
      assert.equal((await search("--limit", "1")).length, 1);
      const past = ["--since", `${DAYS_AGO + 1}d`, "--until", "100d", "--operation", "ec2_list_instances"];
      assert.equal(json(await ok(["query", ...past, "--json"])).length, 3);
      const other = await ok(["query", "--writer", "no-such-chain"]);
      assert.match(other, /No rows match/);
    });

    test("query: a table as wide as the terminal", async () => {
      for (const width of [80, 200]) {
        const lines = (await ok(["query", "--since", "1h"], "reader", { COLUMNS: String(width) }))
          .trimEnd()
          .split("\n");
        assert.ok(lines.length >= 4);
        for (const line of lines) assert.ok(line.length <= width, `${line.length} of ${width}: ${line}`);
        const line = lines.find((each) => each.includes("pending")) ?? "";
        assert.match(line, /admin +ec2_start_instance +i-[0-9a-f]{6}/);
        assert.equal(line.includes(instance), width === 200);
      }
    });

    test("tail: the last so many", async () => {
      const rows = json(await ok(["tail", "-n", "2", "--json"]));
      assert.deepEqual(
        rows.map(({ event, user, operation }) => [event, user, operation]),
        [
          ["intent", "admin", "ec2_start_instance"],
          ["outcome", "admin", "ec2_start_instance"],
        ],
      );
      assert.equal((await ok(["tail", "-n", "3"])).trimEnd().split("\n").length, 3);
    });

    test("tail -f: goes on as rows arrive, and ends when told to", async (t) => {
      const child = spawn(process.execPath, [mainFile(), "audit", "tail", "-f", "-n", "1", "--json"], {
        env: serverEnv(home, { endpoint: proxy.url, env: { ...store.env("reader") } }),
        stdio: ["ignore", "pipe", "inherit"],
      });
      t.after(() => child.kill("SIGKILL"));
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      await eventually(() => text.includes("ec2_start_instance"), 20_000);
      await rawCall(server.url, { tool: "ec2_list_instances", key: keys.operator });
      await eventually(() => text.includes('"operator"'), 20_000);
      const ended = once(child, "exit");
      child.kill("SIGINT");
      assert.deepEqual(await ended, [0, null]);
      assert.deepEqual(
        json(text).map(({ user, operation }) => [user, operation]),
        [
          ["admin", "ec2_start_instance"],
          ["operator", "ec2_list_instances"],
        ],
      );
    });

    test("verify: as the server and as who may only read, while the server runs", async () => {
      for (const as of ["server", "reader"] as const) {
        const text = await ok(["verify"], as);
        assert.match(text, /^✔ intact {2}\d+ rows$/m);
        assert.match(text, /proven up to row \d+/);
      }
      await eventually(async () => (await intact()).copy.not_yet_copied === 0, 60_000);
      const found = await intact();
      assert.deepEqual([found.copy.matched, found.copy.expired], [found.rows, 0]);
      assert.ok(found.anchors_checked > 0);
      assert.equal(found.chains.length, inPostgres ? 2 : 1);
      const { writer } = found.chains.at(-1);
      const one = json(await ok(["verify", "--json", "--writer", writer, "--since", "1h"]));
      assert.deepEqual([one[0].ok, one[0].chains.length], [true, 1]);
    });

    test("verify: what keeps it from verifying is no finding", async () => {
      const wrong = await audit(["verify", "--writer", "no-such-chain"]);
      assert.deepEqual([wrong.code, wrong.stdout], [2, ""]);
      assert.match(wrong.stderr, /no chain "no-such-chain"/);
      if (!inPostgres) return;
      const url = new URL(store.env("reader").AUDIT_DATABASE_URL ?? "");
      const { password } = url;
      url.password = WRONG;
      const refused = await audit(["verify"], "reader", { AUDIT_DATABASE_URL: url.href });
      assert.match(refused.stderr, /password authentication failed for user "reader_/);
      url.port = "1";
      const unreachable = await audit(["verify"], "reader", { AUDIT_DATABASE_URL: url.href });
      assert.match(unreachable.stderr, /ECONNREFUSED/);
      for (const { code, stdout, stderr } of [refused, unreachable]) {
        assert.deepEqual([code, stdout], [2, ""]);
        assert.ok(!stderr.includes(WRONG) && !stderr.includes(password));
        assert.doesNotMatch(stderr, /\n\s+at /);
      }
      for (const command of [["tail"], ["query"], ["export", "--out", join(home, "none")], ["migrate"]]) {
        const { code, stderr } = await audit(command, "reader", { AUDIT_DATABASE_URL: url.href });
        assert.equal(code, 2, stderr);
        assert.ok(!stderr.includes(WRONG));
        assert.doesNotMatch(stderr, /\n\s+at /, `a stack trace is not help: ${command}`);
      }
    });

    test("keys: the public one, and a new set", async () => {
      const pem = await ok(["keys", "public"]);
      assert.equal(pem, readFileSync(join(stateDirOf(home), "audit-signing.pub"), "utf8"));
      const sets = [await ok(["keys", "generate"]), await ok(["keys", "generate"])].map((text) => JSON.parse(text));
      assert.deepEqual(Object.keys(sets[0]).sort(), ["mac", "redaction", "signing"]);
      for (const key of ["mac", "redaction", "signing"]) assert.notEqual(sets[0][key], sets[1][key]);
    });

    test("export: a bundle that another machine verifies, with the public key and with the MAC key", async () => {
      const out = join(home, "bundle");
      assert.match(await ok(["export", "--out", out]), /^\d+ rows of [12] chains in /);
      const elsewhere = temporaryHome();
      const publicKey = join(elsewhere, "trail.pub");
      writeFileSync(publicKey, await ok(["keys", "public"]));
      const offline = (...args: string[]) =>
        runCli(["audit", "verify", "--bundle", out, ...args], { home: elsewhere, env: { AUDIT_DATABASE_URL: "" } });
      const signed = await offline("--public-key", publicKey);
      assert.equal(signed.code, 0, signed.stdout + signed.stderr);
      assert.equal(signed.stderr, "");
      const whole = await offline(
        "--public-key",
        publicKey,
        "--mac-key",
        join(stateDirOf(home), "audit-mac.key"),
        "--json",
      );
      const [found] = json(whole.stdout);
      assert.deepEqual([whole.code, found.ok], [0, true]);
      for (const { after, rows, proven_until } of found.chains) assert.equal(proven_until, after + rows);
      assert.match((await offline()).stderr, /taken from the bundle itself/);
      const again = await audit(["export", "--out", out]);
      assert.equal(again.code, 2);
      assert.match(again.stderr, /Not exported: .* exists and is not empty/);
      const stranger = join(elsewhere, "stranger.pub");
      const { generateKeyPairSync } = await import("node:crypto");
      writeFileSync(stranger, generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }));
      assert.equal((await offline("--public-key", stranger)).code, 1);
    });

    test("retain: refused for what is young, and for who may not", async () => {
      const out = join(home, "archive");
      const young = await audit(["retain", "--older-than", "30d", "--out", out], "retention");
      assert.deepEqual([young.code, young.stdout], [2, ""]);
      assert.match(young.stderr, /at least 90/);
      if (inPostgres) {
        for (const as of ["server", "reader"] as const) {
          const refused = await audit(["retain", "--older-than", "90d", "--out", out], as);
          assert.deepEqual([refused.code, refused.stdout], [2, ""]);
          assert.match(refused.stderr, new RegExp(`Not removed: ${as}_\\w+ may not remove rows: .*--retention-user`));
        }
      }
      // A copy that cannot be read is a warning to who verifies; nothing is removed on such a word.
      const denied = proxy.ruleFirst({ service: "logs", fault: { kind: "denied" } });
      const warned = json(await ok(["verify", "--json"]))[0];
      assert.ok(warned.warnings.some(({ kind }: { kind: string }) => kind === "copy_unreadable"));
      const unread = await audit(["retain", "--older-than", "90d", "--out", out], "retention");
      denied.remove();
      assert.deepEqual([unread.code, unread.stdout], [2, ""]);
      assert.match(unread.stderr, /Not removed: the trail was not verified against all it is kept in/);
      assert.ok(!readdirSync(home).includes("archive"));
      assert.equal(json(await ok(["query", "--until", "90d", "--json"])).length > 3, true);
    });

    test("retain: says what it would do, does it, and leaves a trail that verifies", async () => {
      const out = join(home, "archive");
      const rows = json(await ok(["query", "--until", "90d", "--json"]));
      const retain = ["retain", "--older-than", "90d", "--out", out];
      assert.match(await ok([...retain, "--dry-run"], "retention"), /1 chains would be exported and removed/);
      assert.equal(json(await ok(["query", "--until", "90d", "--json"])).length, rows.length);
      const [done] = json(await ok([...retain, "--json"], "retention"));
      const [part] = done.parts;
      assert.match(part.name, store.part);
      assert.deepEqual([done.parts.length, part.rows, part.chains], [1, rows.length, 1]);
      assert.deepEqual(json(await ok(["query", "--until", "90d", "--json"])), []);
      const found = await intact();
      assert.equal(found.chains.filter(({ tombstone }: { tombstone?: object }) => tombstone).length, 1);
      const publicKey = join(stateDirOf(home), "audit-signing.pub");
      const bundle = await ok(["verify", "--bundle", part.bundle, "--public-key", publicKey]);
      assert.match(bundle, new RegExp(`^✔ intact {2}${rows.length} rows`, "m"));
      assert.match(await ok(retain, "retention"), /Nothing was recorded entirely before/);
      const other = await ok(["export", "--out", join(home, "rest")]);
      assert.match(other, /rows of [12] chains/);
      const rest = await ok(["verify", "--bundle", join(home, "rest"), "--public-key", publicKey]);
      assert.match(rest, /✔ intact/);
    });

    test("doctor looks at the trail too", async () => {
      const doctor = await runCli(["doctor", "--json"], {
        home,
        endpoint: proxy.url,
        env: { ...store.env("server"), ...copied },
      });
      const { ok: fine, checks } = JSON.parse(doctor.stdout);
      assert.deepEqual([doctor.code, fine], [0, true], doctor.stdout);
      const { status, found } = checks.find((check: { name: string }) => check.name === "audit store");
      assert.equal(status, "ok");
      assert.match(
        found,
        inPostgres ? /^PostgreSQL audit_\w+ on 127\.0\.0\.1:\d+: writable, \d+ rows, intact/ : /intact/,
      );
      await intact();
      if (!inPostgres) return;
      const url = new URL(store.env("server").AUDIT_DATABASE_URL ?? "");
      url.password = WRONG;
      const wrong = await runCli(["doctor"], { home, endpoint: proxy.url, env: { AUDIT_DATABASE_URL: url.href } });
      assert.equal(wrong.code, 1);
      assert.match(wrong.stdout, /✘ audit store +.*password authentication failed[\s\S]*audit migrate/);
      assert.ok(!wrong.stdout.includes(WRONG) && !wrong.stderr.includes(WRONG));
    });

    test("verify: an edit by the database's owner is found, in its row", async () => {
      await server.stop();
      await intact();
      const { table, off, on } = store.guard;
      const [row] = json(await ok(["query", "--result", "denied", "--json"]));
      const edit = (from: string, to: string) =>
        `UPDATE ${table} SET "user" = '${to}' WHERE call_id = '${row.call_id}' AND "user" = '${from}'`;
      await store.sql(home, off);
      await store.sql(home, edit("viewer", "admin"));
      await store.sql(home, on);
      const { code, stdout } = await audit(["verify"]);
      assert.equal(code, 1);
      assert.match(stdout, new RegExp(`✘ TAMPERED[\\s\\S]*row ${row.seq} `));
      const [found] = json((await audit(["verify", "--json"])).stdout);
      assert.deepEqual([found.ok, found.problems[0]?.first, found.problems[0]?.writer], [false, row.seq, row.writer]);
    });
  });
}
