import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { type Login, login, type Postgres, query, startPostgres, type TestDatabase } from "../support/postgres.ts";
import { mainFile, serverEnv, temporaryHome } from "../support/server.ts";

let server: Postgres;
let db: TestDatabase;

before(async () => {
  server = await startPostgres();
  db = await server.createDatabase();
});
after(async () => {
  await db?.drop();
  await server?.stop();
});

async function migrateCommand(owner: Login, args: string[], extra: Record<string, string> = {}) {
  const env = {
    ...serverEnv(temporaryHome(), { endpoint: "http://127.0.0.1:1" }),
    AUDIT_DATABASE_URL: owner.url,
    ...extra,
  };
  const child = spawn(process.execPath, [mainFile(), "audit", "migrate", ...args], { env });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (part) => (text += part));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, text };
}

test("audit migrate makes schema and login, again changes nothing, and shows no password", {
  timeout: 60_000,
}, async (t) => {
  const name = `server_${db.owner.database.slice(-8)}`;
  const password = "server's own secret";
  t.after(() => query(db.superuser, `DROP OWNED BY ${name}; DROP ROLE ${name}`));
  const secret = { AUDIT_SERVER_PASSWORD: password };
  const first = await migrateCommand(db.owner, ["--server-user", name], secret);
  assert.equal(first.code, 0, first.text);
  assert.match(first.text, /from version 0 to 2[\s\S]*Login server_\w+ is ready/);
  const second = await migrateCommand(db.owner, ["--server-user", name], secret);
  assert.match(second.text, /up to date/);
  for (const { text } of [first, second]) assert.ok(!text.includes(password) && !text.includes(db.owner.password));
  const user = login({ ...db.owner, user: name, password });
  await query(user, "SELECT FROM audit.trail");
  await assert.rejects(query(user, "DELETE FROM audit.trail"), /permission denied/);

  const wrong = await migrateCommand({ ...db.owner, url: db.owner.url.replace(db.owner.password, "hunter2") }, []);
  assert.equal(wrong.code, 2);
  assert.match(wrong.text, /^Not migrated: password authentication failed/);
  assert.ok(!wrong.text.includes("hunter2"));
});
