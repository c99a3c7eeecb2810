import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { eventually } from "./eventually.ts";
import { query, startPostgres } from "./postgres.ts";
import { findPostgres } from "./postgres-programs.ts";

test("where no PostgreSQL is installed the message says what to do", () => {
  assert.throws(() => findPostgres({ PATH: "/nowhere" }, []), /apt-get install postgresql/);
});

test("what was committed survives a kill, and a stopped server leaves nothing", { timeout: 120_000 }, async (t) => {
  const server = await startPostgres({ own: true });
  t.after(() => server.stop());
  const { owner } = await server.createDatabase();
  await query(owner, "CREATE TABLE kept (n int)");
  await query(owner, "INSERT INTO kept VALUES (7)");
  await server.kill();
  await assert.rejects(query(owner, "SELECT 1"), /ECONNREFUSED/);
  await server.restart();
  assert.deepEqual(await query(owner, "SELECT n FROM kept"), [{ n: 7 }]);
  assert.deepEqual(await query(owner, "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"), [
    { rolsuper: false, rolcreaterole: true },
  ]);
  await server.stop();
  assert.equal(existsSync(String(server.dir)), false);
});

test("it ends with the process that started it, even when that is killed", { timeout: 120_000 }, async (t) => {
  const code = `
    const { startPostgres } = await import(process.argv[1]);
    const server = await startPostgres({ own: true });
    console.log(server.url);
    setInterval(() => {}, 1_000);`;
  const child = spawn(
    process.execPath,
    ["--input-type=module-typescript", "--eval", code, "--", import.meta.resolve("./postgres.ts")],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  t.after(() => child.kill("SIGKILL"));
  const [line] = await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  const { hostname: host, port, username: user, password } = new URL(String(line).trim());
  const login = { host, port: Number(port), user, password, database: "postgres", url: "" };
  assert.deepEqual(await query(login, "SELECT 1 AS one"), [{ one: 1 }]);
  child.kill("SIGKILL");
  await eventually(() =>
    query(login, "SELECT 1").then(
      () => false,
      (error) => /ECONNREFUSED/.test(String(error)),
    ),
  );
});
