import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { query } from "../support/postgres.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { openReplicas, type Replicas } from "../support/replicas.ts";
import { launch, stateDirOf } from "../support/scene.ts";
import { mainFile, runCli, serverEnv } from "../support/server.ts";
import { initialize, modernRequest, send, sendBytes, type WireOptions } from "../support/wire.ts";

// A server lives from its start to its stop, well and badly, with secrets that can be told from anything else. None of
// them is in what it prints, answers, records, keeps on the disk or shows of itself.

const STATE_KEY = randomBytes(32);
const AWS = {
  AWS_ACCESS_KEY_ID: "AKIAC4N4RYC4N4RYC4N4",
  AWS_SECRET_ACCESS_KEY: `c4n4ry/${randomBytes(12).toString("hex")}+aws/secret`,
  AWS_SESSION_TOKEN: `c4n4ry${randomBytes(40).toString("hex")}`,
};
const JWT = [
  { alg: "RS256", kid: "1" },
  { sub: "mallory", aud: "x" },
]
  .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
  .concat(randomBytes(64).toString("base64url"))
  .join(".");

let at: Replicas;
let child: ChildProcess;
let url: string;
let home: string;
let printed = { stdout: "", stderr: "" };
/** Everything that was ever answered, headers included. */
const answered: string[] = [];

before(async () => {
  at = await openReplicas();
  home = at.home();
  const arn = await at.secret(STATE_KEY.toString("base64"));
  const env = serverEnv(home, {
    endpoint: at.proxy.url,
    env: { ...at.databaseEnv, ...AWS, MCP_AWS_STATE_KEY_ARN: arn },
  });
  child = spawn(process.execPath, [mainFile(), "http", "--port", "0", "--log-level", "debug"], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (text: string) => (printed[name] += text));
  }
  const listening = () => /^Serving MCP on (\S+)/m.exec(printed.stderr)?.[1];
  await eventually(() => listening() !== undefined || child.exitCode !== null, 20_000);
  url = listening() ?? "";
  assert.ok(url, printed.stderr);
});
after(async () => {
  child?.kill("SIGKILL");
  await at?.close();
});

/** A secret as it may turn up, by its name. */
function spellings(): [string, string][] {
  const secrets: Record<string, string> = {
    ...Object.fromEntries(
      Object.entries(at.keys).map(([role, token]) => [`the ${role}'s key`, token.split("_").slice(2).join("_")]),
    ),
    "the AWS secret": AWS.AWS_SECRET_ACCESS_KEY,
    "the AWS session token": AWS.AWS_SESSION_TOKEN,
    "the state key": STATE_KEY.toString("base64"),
    "the database's password": at.password,
    "a bearer token": JWT.split(".")[2] ?? "",
  };
  return Object.entries(secrets).flatMap(([what, secret]) => {
    assert.ok(secret.length >= 20, what);
    const bytes = what === "the state key" ? STATE_KEY : Buffer.from(secret);
    const forms = [
      secret,
      encodeURIComponent(secret),
      bytes.toString("hex"),
      bytes.toString("base64"),
      bytes.toString("base64url"),
      [...secret].reverse().join(""),
    ];
    // A cut one is one, too.
    return [...new Set([...forms, secret.slice(0, 16), secret.slice(-16)])].map((form): [string, string] => [
      what,
      form,
    ]);
  });
}

function assertNone(where: string, text: string): void {
  for (const [what, form] of spellings()) {
    const index = text.indexOf(form);
    assert.equal(index, -1, `${what} is in ${where}: ${text.slice(Math.max(0, index - 80), index + 20)}`);
  }
}

async function sent(options: WireOptions): Promise<number> {
  const reply = await send(url, options);
  answered.push(JSON.stringify(reply.headers), reply.text);
  return reply.status;
}

async function called(call: Parameters<typeof rawCall>[1]): Promise<unknown> {
  const reply = await rawCall(url, call);
  answered.push(JSON.stringify(reply.result ?? reply.error));
  return reply.content;
}

test("logins that are refused, with the secret in every place but the right one", async () => {
  const list = JSON.stringify(modernRequest("tools/list"));
  const basic = Buffer.from(`admin:${at.keys.admin}`).toString("base64");
  for (const secret of [at.keys.admin, JWT]) {
    const headers: Record<string, string>[] = [
      { authorization: `Basic ${basic}` },
      { authorization: `Digest ${secret}` },
      { authorization: secret },
      { authorization: `Bearer ${secret}x` },
      { authorization: `Bearer ${[...secret].reverse().join("")}` },
      { "x-api-key": `${secret}!` },
      { cookie: `session=${secret}` },
      { "mcp-session-id": secret },
      { "proxy-authorization": `Bearer ${secret}` },
      { "x-forwarded-for": secret },
      { "user-agent": secret },
      { origin: `http://${secret.slice(-30).toLowerCase()}.example` },
      { "x-amzn-mtls-clientcert-leaf": secret },
      { traceparent: secret },
    ];
    for (const each of headers) {
      const status = await sent({ body: list, headers: { "content-type": "application/json", ...each } });
      assert.ok([401, 403, 404, 400].includes(status), `${Object.keys(each)}: ${status}`);
    }
    const { host, port, hostname } = new URL(url);
    for (const target of [
      `/mcp?access_token=${secret}`,
      `/mcp/${secret}`,
      `/${secret}`,
      `/mcp?key=${secret}#${secret}`,
    ]) {
      answered.push(
        await sendBytes(
          url,
          `POST ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
        ),
      );
    }
    answered.push(await sendBytes(url, `GET /mcp HTTP/1.1\r\nHost: ${secret}\r\nConnection: close\r\n\r\n`));
    answered.push(await sendBytes(url, `${secret.slice(0, 20)} nonsense\r\nAuthorization: Bearer ${secret}\r\n\r\n`));
    assert.ok(hostname && port);
  }
});

test("calls, with secrets where an agent could put them", async () => {
  const { running } = await launch(at.proxy.url, { running: 1 });
  const [id = ""] = running;
  const secrets = [at.keys.admin, AWS.AWS_SECRET_ACCESS_KEY, at.password, STATE_KEY.toString("base64")];
  await called({ tool: "ec2_list_instances", key: at.keys.viewer });
  await called({ tool: "ec2_stop_instance", args: { instance_id: id }, key: at.keys.operator });
  for (const secret of secrets.slice(0, 1)) {
    await called({ tool: secret, key: at.keys.admin });
    await called({ tool: "ec2_describe_instance", args: { instance_id: secret }, key: at.keys.admin });
    await called({ tool: "ec2_describe_instance", args: { [secret]: 1 }, key: at.keys.admin });
    const meta = { "io.modelcontextprotocol/clientInfo": { name: secret, version: secret } };
    await called({ tool: "ec2_list_instances", key: at.keys.admin, meta });
    await called({
      tool: "ec2_stop_instance",
      args: { instance_id: id },
      key: at.keys.operator,
      meta,
      requestState: secret,
    });
  }
  await called({ tool: "audit_search", args: { limit: 50 }, key: at.keys.admin });
  const headers = { authorization: `Bearer ${at.keys.admin}`, "content-type": "application/json" };
  await sent({ body: "{", headers });
  await sent({ body: JSON.stringify({ ...initialize(), method: "no/such" }), headers });
});

test("AWS failing in words that hold them, the database refusing, the server answering anyway", async () => {
  const message = `The request signature we calculated does not match; secret_access_key=${AWS.AWS_SECRET_ACCESS_KEY} token: ${AWS.AWS_SESSION_TOKEN} password=${at.password}`;
  const faults = [
    { kind: "error", status: 403, code: "SignatureDoesNotMatch", message },
    { kind: "error", status: 500, code: "InternalFailure", message },
    { kind: "html503" },
    { kind: "garbage" },
    { kind: "reset" },
  ] as const;
  for (const fault of faults) {
    const rule = at.proxy.ruleFirst({ fault });
    await called({ tool: "ec2_list_instances", key: at.keys.viewer }).finally(rule.remove);
  }
  await query(at.db.owner, "REVOKE INSERT ON audit.trail FROM mcp_audit_writer");
  try {
    await called({ tool: "ec2_list_instances", key: at.keys.viewer });
    await sent({ method: "GET", path: "/readyz" });
  } finally {
    await query(at.db.owner, "GRANT INSERT ON audit.trail TO mcp_audit_writer");
  }
});

test("keys are made and revoked while it runs, and files that it reads are damaged", async () => {
  const made = await runCli(["keys", "create", "--role", "viewer", "--name", "late"], { home });
  assert.equal(made.code, 0, made.stderr);
  const late = made.stdout.trim();
  assert.ok(await called({ tool: "ec2_list_instances", key: late }));
  const listed = await runCli(["keys", "list"], { home });
  answered.push(listed.stdout, listed.stderr, made.stderr);
  await runCli(["keys", "revoke", late.split("_")[1] ?? ""], { home });
  await eventually(async () => (await sent({ body: "{}", headers: { authorization: `Bearer ${late}` } })) === 401);
});

test("nothing of them is in what it shows of itself", async () => {
  for (const path of ["/readyz", "/healthz", "/livez", "/metrics", "/", "/.well-known/oauth-protected-resource"]) {
    await sent({ method: "GET", path });
  }
  for (const name of ["cmdline", "comm"])
    assertNone(`/proc/PID/${name}`, readFileSync(`/proc/${child.pid}/${name}`, "utf8"));
});

test("nor, after its end, in what it printed, answered, recorded and kept", async () => {
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  assert.deepEqual(await ended, [0, null]);
  assert.equal(printed.stdout, "");
  assertNone("stderr", printed.stderr);
  for (const text of answered) assertNone("an answer", text);

  const rows = await query(at.db.superuser, "SELECT * , convert_from(body, 'UTF8') AS text FROM audit.trail");
  assert.ok(rows.length > 20);
  for (const row of rows) assertNone("the trail", JSON.stringify(row));
  for (const table of ["state.used", "state.leases", "state.shipped", "audit.meta"]) {
    assertNone(table, JSON.stringify(await query(at.db.superuser, `SELECT * FROM ${table}`)));
  }

  const dir = stateDirOf(home);
  const files = globSync("**/*", { cwd: dir }).filter((name) => statSync(join(dir, name)).isFile());
  assert.ok(files.length > 0);
  for (const name of files) assertNone(name, readFileSync(join(dir, name), "latin1"));
});

test("the search would find each of them", () => {
  for (const [what, form] of spellings()) {
    assert.throws(() => assertNone("a text", `before ${form} after`), /is in a text/, what);
  }
  printed = { stdout: "", stderr: "" };
});
