import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";
import { CreateSecretCommand, PutSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { BREAKER } from "../../test/support/aws-session.ts";
import { awsClientConfig } from "../../test/support/client.ts";
import { type ControlUnderTest, openControl } from "../../test/support/control.ts";
import { runCli, temporaryHome } from "../../test/support/server.ts";
import { generateKeySet, parseKeySet, publicKeyPem } from "../audit/keys.ts";
import { ToolError } from "../core/errors.ts";
import { ControlClients } from "./control.ts";
import { ControlLogs } from "./control-logs.ts";
import { fetchSecret } from "./control-secrets.ts";
import { databaseCredentials } from "./database-credentials.ts";

let aws: ControlUnderTest;
let secrets: SecretsManagerClient;
let ssm: SSMClient;
before(async () => {
  aws = await openControl();
  secrets = new SecretsManagerClient(awsClientConfig(aws.proxy.url, "eu-west-1"));
  ssm = new SSMClient(awsClientConfig(aws.proxy.url, "eu-west-1"));
});
after(async () => {
  secrets.destroy();
  ssm.destroy();
  await aws.close();
});

async function secret(Name: string, SecretString: string): Promise<string> {
  return (await secrets.send(new CreateSecretCommand({ Name, SecretString }))).ARN ?? "";
}

async function parameter(Name: string, Value: string, Type: "String" | "SecureString"): Promise<string> {
  await ssm.send(new PutParameterCommand({ Name, Value, Type }));
  return `arn:aws:ssm:eu-west-1:${aws.proxy.accountId}:parameter${Name}`;
}

const kind = (expected: string) => (error: unknown) => error instanceof ToolError && error.kind === expected;

test("no SDK is loaded before something is asked of AWS", () => {
  const code = `
    const { ControlClients } = await import(process.argv[1] + "/control.ts");
    const { ControlLogs } = await import(process.argv[1] + "/control-logs.ts");
    await import(process.argv[1] + "/control-anchors.ts");
    await import(process.argv[1] + "/database-credentials.ts");
    new ControlLogs(new ControlClients({ version: "0", breaker: {} }), "g");
    console.log(globalThis.__loaded);`;
  const hooks = `
    import { registerHooks } from "node:module";
    globalThis.__loaded = 0;
    registerHooks({ load(url, context, next) { if (/@aws-sdk|@smithy/.test(url)) globalThis.__loaded += 1; return next(url, context); } });`;
  const hook = `data:text/javascript,${encodeURIComponent(hooks)}`;
  const run = spawnSync(
    process.execPath,
    ["--import", hook, "--input-type=module-typescript", "--eval", code, "--", import.meta.dirname],
    { encoding: "utf8" },
  );
  assert.equal(run.stdout.trim(), "0", run.stderr);
});

test("a service that fails opens its own breaker, and no other", async () => {
  const transitions: string[] = [];
  const control = new ControlClients({
    region: "us-east-1",
    version: "0.0.0",
    breaker: BREAKER,
    onBreakerTransition: ({ account, service }, from, to) => transitions.push(`${account} ${service} ${from} ${to}`),
  });
  const rule = aws.proxy.rule({ service: "logs", fault: { kind: "reset" } });
  const logs = new ControlLogs(control, "/mcp/none");
  for (let i = 0; i < 5; i += 1) await assert.rejects(logs.group(), kind("upstream"));
  const sent = aws.proxy.requests.length;
  await assert.rejects(logs.group(), kind("circuit_open"));
  assert.equal(aws.proxy.requests.length, sent);
  assert.deepEqual(transitions, ["control CloudWatch Logs closed open"]);
  const arn = await secret("other-breaker", "text");
  assert.equal(await fetchSecret(control, arn), "text");
  rule.remove();
  control.destroy();
});

test("a deadline ends what hangs, and a signal ends it early", async () => {
  const rule = aws.proxy.rule({ service: "logs", operation: "PutLogEvents", fault: { kind: "hang" } });
  const control = new ControlClients({ region: "us-east-1", version: "0.0.0", breaker: BREAKER, deadlineMs: 300 });
  const { CloudWatchLogsClient, PutLogEventsCommand } = await import("@aws-sdk/client-cloudwatch-logs");
  const put = (signal?: AbortSignal) =>
    control.use(
      CloudWatchLogsClient,
      "logs:PutLogEvents",
      (client) => client.send(new PutLogEventsCommand({ logGroupName: "g", logStreamName: "s", logEvents: [] })),
      { signal },
    );
  await assert.rejects(put(), kind("timeout"));
  const stop = new AbortController();
  const cancelled = put(stop.signal);
  setTimeout(() => stop.abort(), 20);
  await assert.rejects(cancelled, kind("cancelled"));
  rule.remove();
  control.destroy();
});

test("keys come from a secret or from a SecureString, in the region of the ARN", async () => {
  const set = generateKeySet();
  for (const arn of [await secret("audit-keys", set), await parameter("/mcp/keys", set, "SecureString")]) {
    const keys = parseKeySet(await fetchSecret(aws.control, arn), arn);
    assert.match(publicKeyPem(keys), /^-----BEGIN PUBLIC KEY-----/);
    assert.equal(keys.mac.byteLength, 32);
    assert.equal(aws.proxy.requests.at(-1)?.region, "eu-west-1");
  }
  await assert.rejects(
    fetchSecret(aws.control, await parameter("/mcp/plain", set, "String")),
    (error: Error) =>
      /mcp\/plain cannot be read: it is no SecureString/.test(error.message) && !error.message.includes(set),
  );
  await assert.rejects(fetchSecret(aws.control, "arn:aws:s3:::bucket"), /not the ARN of a secret/);
  const missing = `arn:aws:secretsmanager:eu-west-1:${aws.proxy.accountId}:secret:none-AbCdEf`;
  await assert.rejects(fetchSecret(aws.control, missing), /none-AbCdEf cannot be read/);
});

test("a set of keys that is none is refused without being quoted", () => {
  const good = JSON.parse(generateKeySet());
  const refused = (text: string, expected: RegExp) =>
    assert.throws(
      () => parseKeySet(text, "arn:x"),
      (error: Error) => expected.test(error.message) && !error.message.includes("hunter2"),
    );
  refused("hunter2", /arn:x is not a set of audit keys/);
  refused('"hunter2"', /arn:x is not a set of audit keys/);
  refused("null", /not a set/);
  for (const name of ["mac", "redaction"])
    for (const value of ["hunter2", undefined, good.mac.slice(4), ` ${good.mac}`])
      refused(JSON.stringify({ ...good, [name]: value }), new RegExp(`"${name}" is not 32 bytes`));
  for (const value of ["hunter2", undefined, 7])
    refused(JSON.stringify({ ...good, signing: value }), /"signing" is not an Ed25519 private key/);
});

test("a rotated password is found when a fresh one is asked for", async () => {
  const shape = {
    username: "writer",
    password: "one",
    engine: "postgres",
    host: "db.internal",
    port: 5433,
    dbname: "audit",
  };
  const arn = await secret("db", JSON.stringify(shape));
  const credentials = databaseCredentials({ secretArn: arn }, aws.control);
  const { host, port, dbname } = shape;
  assert.deepEqual(await credentials(false), { user: "writer", password: "one", host, port, dbname });
  await secrets.send(
    new PutSecretValueCommand({ SecretId: arn, SecretString: JSON.stringify({ ...shape, password: "two" }) }),
  );
  assert.equal((await credentials(false)).password, "one");
  assert.equal((await credentials(true)).password, "two");
  assert.equal((await credentials(false)).password, "two");
  await secrets.send(new PutSecretValueCommand({ SecretId: arn, SecretString: "hunter2" }));
  await assert.rejects(
    credentials(true),
    (error: Error) => error.message.includes(arn) && !/hunter2/.test(error.message),
  );
  await secrets.send(new PutSecretValueCommand({ SecretId: arn, SecretString: JSON.stringify(shape) }));
  assert.equal((await credentials(false)).password, "one");
  const rule = aws.proxy.rule({ service: "secretsmanager", fault: { kind: "denied" } });
  await assert.rejects(
    credentials(true),
    /cannot be read: AWS does not let this server perform secretsmanager:GetSecretValue/,
  );
  rule.remove();
});

test("an RDS token is signed for host, port, user and region", async () => {
  const iam = { host: "db.internal", port: 5432, user: "writer", region: "eu-west-1" };
  const { user, password } = await databaseCredentials({ iam }, aws.control)(false);
  assert.equal(user, "writer");
  const url = new URL(`https://${password}`);
  assert.equal(url.host, "db.internal:5432");
  assert.equal(url.searchParams.get("DBUser"), "writer");
  assert.match(url.searchParams.get("X-Amz-Credential") ?? "", /^testing\/\d{8}\/eu-west-1\/rds-db\/aws4_request$/);
  assert.deepEqual(await databaseCredentials({ user: "u", password: "p" }, aws.control)(true), {
    user: "u",
    password: "p",
  });
});

test("the command line makes keys and shows the public one, wherever the keys are", async () => {
  const home = temporaryHome();
  const made = await runCli(["audit", "keys", "generate"], { home });
  assert.equal(made.code, 0, made.stderr);
  const expected = publicKeyPem(parseKeySet(made.stdout, "stdout"));
  const arn = await secret("cli-keys", made.stdout);
  const shown = await runCli(["audit", "keys", "public", "--audit-keys-arn", arn], { home, endpoint: aws.proxy.url });
  assert.deepEqual([shown.code, shown.stdout], [0, expected]);
  const none = await runCli(["audit", "keys", "public"], { home });
  assert.equal(none.code, 2);
  assert.match(none.stderr, /is missing/);
});
