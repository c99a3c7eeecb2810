import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, type TestContext, test } from "node:test";
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { awsClientConfig } from "../../../test/support/client.ts";
import { type ControlUnderTest, openControl } from "../../../test/support/control.ts";
import { eventually } from "../../../test/support/eventually.ts";
import type { Fault } from "../../../test/support/faults.ts";
import { storedText } from "../../aws/control-secrets.ts";
import { KeyStore, type KeyStoreOptions } from "./api-key.ts";
import { remoteKeys } from "./key-source.ts";

// API keys in AWS, as a server and the command line use them. Both services are in src/aws/control-secrets.test.ts.

const EMPTY = '{"version":2,"keys":[]}';

let aws: ControlUnderTest;
let ssm: SSMClient;
before(async () => {
  aws = await openControl({ deadlineMs: 2_000 });
  ssm = new SSMClient(awsClientConfig(aws.proxy.url, "eu-west-1"));
});
after(async () => {
  ssm.destroy();
  await aws.close();
});

/** A parameter of its own with this text. */
async function parameter(text = EMPTY) {
  const Name = `/mcp/${randomUUID()}`;
  const put = (Value: string) =>
    ssm.send(new PutParameterCommand({ Name, Value, Type: "SecureString", Overwrite: true }));
  await put(text);
  return { arn: `arn:aws:ssm:eu-west-1:${aws.proxy.accountId}:parameter${Name}`, put };
}

async function open(t: TestContext, arn: string, options: KeyStoreOptions = {}) {
  const problems: string[] = [];
  const store = await KeyStore.open(remoteKeys(arn, storedText(aws.control, arn)), options);
  t.after(() => store.close());
  const watch = (everyMs: number) => store.watch(everyMs, ({ message }) => problems.push(message));
  return { store, problems, watch };
}

const isIn = (store: KeyStore, token: string): boolean => store.verify(token).ok;
const reads = () => aws.proxy.requests.filter(({ operation }) => operation === "GetParameter").length;

/** Makes every read go wrong until told otherwise. */
const breakReads = (fault: Fault) => aws.proxy.rule({ service: "ssm", operation: "GetParameter", fault });

test("no keys are no way in, but keys are configured", async (t) => {
  const { arn } = await parameter();
  const { store } = await open(t, arn);
  assert.deepEqual(store.list(), []);
  assert.equal(store.isConfigured(), true);
});

test("what is made and revoked elsewhere is seen when the keys are read again", async (t) => {
  const { arn } = await parameter();
  const [server, cli] = [await open(t, arn), await open(t, arn)];
  const { token, key } = await cli.store.createKey({ name: "a", roles: ["viewer", "auditor"] });
  assert.equal(isIn(server.store, token), false);
  await server.store.refresh();
  const admitted = server.store.verify(token);
  assert.ok(admitted.ok && admitted.valid());
  assert.deepEqual(admitted.principal, { id: "a", roles: ["viewer", "auditor"], via: "api_key" });
  assert.deepEqual(await cli.store.revoke([key.id]), [key.id]);
  await server.store.refresh();
  assert.equal(isIn(server.store, token), false);
  assert.equal(admitted.valid(), false);
  assert.equal(server.store.problem(), undefined);
});

test("revoking what is not there writes nothing", async (t) => {
  const { arn } = await parameter();
  const { store } = await open(t, arn);
  const writes = () => aws.proxy.requests.filter(({ operation }) => operation === "PutParameter").length;
  const before = writes();
  assert.deepEqual(await store.revoke(["00000000"]), []);
  assert.deepEqual(await store.revoke("all"), []);
  assert.equal(writes(), before);
});

test("a watched store reads again by itself until it is closed, and asks AWS for nothing in between", async (t) => {
  const { arn } = await parameter();
  const { store, watch } = await open(t, arn);
  const { token } = await (await open(t, arn)).store.createKey({ name: "a", roles: ["viewer"] });
  watch(20);
  await eventually(() => isIn(store, token));
  store.close();
  await store.refresh();
  const before = reads();
  for (let i = 0; i < 100; i += 1) assert.ok(isIn(store, token));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(reads(), before);
});

test("one reading at a time", async (t) => {
  const { arn } = await parameter();
  const { store } = await open(t, arn);
  const before = reads();
  const slow = aws.proxy.rule({ service: "ssm", operation: "GetParameter", fault: { kind: "delay", ms: 200 } });
  await Promise.all(Array.from({ length: 20 }, () => store.refresh()));
  slow.remove();
  assert.equal(reads(), before + 1);
});

const faults: Fault[] = [
  { kind: "denied" },
  { kind: "internal" },
  { kind: "html503" },
  { kind: "reset" },
  { kind: "hang" },
  { kind: "garbage" },
  { kind: "error", code: "ParameterNotFound", message: "gone", status: 400 },
];

for (const fault of faults) {
  test(`AWS out of reach while running (${fault.kind}): the old keys stay, it is told once, and ends`, async (t) => {
    const { arn } = await parameter();
    const { store, problems, watch } = await open(t, arn);
    watch(3_600_000);
    const { token } = await store.createKey({ name: "a", roles: ["viewer"] });
    const rule = breakReads(fault);
    const admitted = store.verify(token);
    for (let i = 0; i < 2; i += 1) {
      await store.refresh();
      assert.ok(isIn(store, token));
      assert.ok(admitted.ok && admitted.valid());
    }
    assert.ok(problems[0]?.startsWith(`${arn} cannot be read: `), problems[0]);
    assert.equal(problems.length, 1, problems.join("\n"));
    const told = store.problem() ?? "";
    assert.match(told, /could not be read again/);
    assert.doesNotMatch(told, /arn:|\d{12}|parameter/, "anybody may read it");
    rule.remove();
    await store.refresh();
    assert.equal(store.problem(), undefined);
    assert.ok(isIn(store, token));
  });
}

test("each reason is told once, also when they alternate, and again after it was well", async (t) => {
  const { arn, put } = await parameter();
  const { store, problems, watch } = await open(t, arn);
  watch(3_600_000);
  for (let i = 0; i < 3; i += 1) {
    const rule = breakReads({ kind: "denied" });
    await store.refresh();
    rule.remove();
    await put("{");
    await store.refresh();
  }
  assert.equal(problems.length, 2, problems.join("\n"));
  await put(EMPTY);
  await store.refresh();
  await put("{");
  await store.refresh();
  assert.equal(problems.length, 3);
});

test("content that cannot be used keeps the old keys and quotes nothing; mended, it is taken", async (t) => {
  const { arn, put } = await parameter();
  const { store, problems, watch } = await open(t, arn, { roles: new Set(["viewer"]) });
  watch(3_600_000);
  const { token, key } = await store.createKey({ name: "a", roles: ["viewer"] });
  const stored = { id: key.id, name: "CANARY", roles: ["root"], sha256: "0".repeat(64), created_at: key.created_at };
  for (const text of [
    "CANARY",
    " ",
    '{"version":1,"keys":[]}',
    JSON.stringify({ version: 2, keys: [{ ...stored, roles: ["CANARY"] }] }),
  ]) {
    await put(text);
    await store.refresh();
    assert.ok(isIn(store, token), text);
    assert.ok(store.problem());
  }
  assert.equal(problems.length, 3, "two are the same: no JSON");
  for (const problem of problems) {
    assert.ok(problem.startsWith(`${arn}:1: `), problem);
    assert.ok(!problem.includes("CANARY"), problem);
  }
  await put(JSON.stringify({ version: 2, keys: [stored] }));
  await store.refresh();
  assert.match(problems.at(-1) ?? "", /keys\.0\.roles: there is no role root, which CANARY has$/);
  assert.ok(isIn(store, token));
  await put(EMPTY);
  await store.refresh();
  assert.equal(isIn(store, token), false);
  assert.equal(store.problem(), undefined);
});

test("what cannot be read or used at the start is refused, and is not written over", async (t) => {
  const { arn, put } = await parameter("CANARY");
  await assert.rejects(open(t, arn), (error: Error) => error.message === `${arn}:1: not JSON`);
  await put(EMPTY);
  const { store } = await open(t, arn);
  await put("CANARY");
  await assert.rejects(store.createKey({ name: "a", roles: ["viewer"] }), /:1: not JSON$/);
  await put(EMPTY);
  const rule = breakReads({ kind: "denied" });
  await assert.rejects(open(t, arn), (error: Error) => error.message.startsWith(`${arn} cannot be read: `));
  rule.remove();
  await assert.rejects(open(t, `${arn}-missing`), /-missing cannot be read: /);
});

test("two who change keys at once: when one change is lost, whoever overwrote it is told", async (t) => {
  const { arn } = await parameter();
  const [one, two] = [await open(t, arn), await open(t, arn)];
  const results = await Promise.allSettled([
    one.store.createKey({ name: "one", roles: ["viewer"] }),
    two.store.createKey({ name: "two", roles: ["viewer"] }),
  ]);
  const server = (await open(t, arn)).store;
  const made = results.flatMap((result) => (result.status === "fulfilled" ? [result.value.token] : []));
  const refused = results.flatMap((result) => (result.status === "rejected" ? [String(result.reason)] : []));
  for (const reason of refused) assert.match(reason, /somebody else (wrote at the same time|has written since)/);
  // Whose key was written over may have looked before that happened; whoever wrote over it knows.
  const lost = made.filter((token) => !isIn(server, token));
  assert.ok(lost.length === 0 || refused.length > 0, "a key was lost, and nobody knows");
});

test("more keys than fit are refused with what to do, and the ones there stay", async (t) => {
  const { arn } = await parameter();
  const { store } = await open(t, arn);
  const tokens: string[] = [];
  const { message } = await (async () => {
    for (;;) tokens.push((await store.createKey({ name: `key-${tokens.length}`, roles: ["viewer"] })).token);
  })().catch((error: Error) => error);
  assert.match(message, /cannot be written: it holds 8192 bytes, and this is \d+$/);
  assert.ok(tokens.length >= 30, `${tokens.length} keys`);
  await store.refresh();
  for (const token of tokens) assert.ok(isIn(store, token));
});
