import assert from "node:assert/strict";
import { test } from "node:test";
import { ControlClients } from "../aws/control.ts";
import { ConfigError, loadSettings } from "../config.ts";
import { databaseTarget } from "./database.ts";

const breaker = { failureThreshold: 5, resetTimeoutMs: 60_000, halfOpenMaxCalls: 3 };
const control = new ControlClients({ region: "us-east-1", version: "test", breaker });

const target = async (given: Record<string, string>) =>
  databaseTarget(await loadSettings({}, given, undefined), control);
const SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:audit-AbCdEf";

test("by URL: its parts win, and TLS is verified unless it is this machine or somebody said not to", async () => {
  const local = await target({ AUDIT_DATABASE_URL: "postgres://u:p%40@127.0.0.1:6000/db" });
  assert.deepEqual([local.host, local.port, local.database, local.tls], ["127.0.0.1", 6000, "db", "off"]);
  assert.deepEqual(await local.credentials(false), { user: "u", password: "p@" });
  const remote = await target({ AUDIT_DATABASE_URL: "postgres://u:p@db.example/audit" });
  assert.deepEqual([remote.port, remote.tls], [5432, { mode: "verify-full" }]);
  const off = { AUDIT_DATABASE_URL: "postgres://u:p@db.example/audit", MCP_AWS_AUDIT_DATABASE_TLS: "disable" };
  assert.equal((await target(off)).tls, "off");
});

test("by parts: defaults come last, and a secret is not asked where the host is known", async () => {
  const parts = { MCP_AWS_AUDIT_DATABASE_HOST: "db.example", MCP_AWS_AUDIT_DATABASE_USER: "u" };
  const plain = await target(parts);
  assert.deepEqual([plain.port, plain.database], [5432, "mcp_audit"]);
  // There is no AWS here: asking would fail.
  const named = { AUDIT_DATABASE_SECRET_ARN: SECRET, MCP_AWS_AUDIT_DATABASE_PORT: "7000", ...parts };
  assert.deepEqual([(await target(named)).host, (await target(named)).port], ["db.example", 7000]);
});

test("what is missing or unsafe is named, without any password", async () => {
  const refused = (given: Record<string, string>, message: RegExp) =>
    assert.rejects(target(given), (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, message);
      return true;
    });
  await refused({ MCP_AWS_AUDIT_DATABASE_USER: "u" }, /audit_database_host is missing/);
  await refused({ MCP_AWS_AUDIT_DATABASE_HOST: "db.example" }, /audit_database_user is missing/);
  const iam = { MCP_AWS_AUDIT_DATABASE_AUTH: "iam", MCP_AWS_AUDIT_DATABASE_USER: "u" };
  await refused({ ...iam, MCP_AWS_AUDIT_DATABASE_HOST: "127.0.0.1" }, /iam needs TLS/);
  const ca = { MCP_AWS_AUDIT_DATABASE_CA: "/nowhere.pem", MCP_AWS_AUDIT_DATABASE_USER: "u" };
  await refused({ ...ca, MCP_AWS_AUDIT_DATABASE_HOST: "db.example" }, /Cannot read the certificates/);
});
