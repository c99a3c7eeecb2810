import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import type { Role } from "../../src/core/call.ts";
import { eventually } from "../support/eventually.ts";
import { JUMPING_CLOCK } from "../support/jumping-clock.ts";
import { query } from "../support/postgres.ts";
import { type RawCall, type RawReply, rawCall } from "../support/raw-mcp.ts";
import { openReplicas, type Replicas } from "../support/replicas.ts";
import { changes, launch, tagInstance } from "../support/scene.ts";
import { type HttpServerProcess, runCli } from "../support/server.ts";
import { SHOP, seedShop } from "../support/shop.ts";
import { modernRequest, StdioWire } from "../support/wire.ts";

// Two servers with one database and one state key: an answer is good on either, once, for exactly what was asked.

const KEY = randomBytes(32);

let at: Replicas;
let arn: string;
let env: NodeJS.ProcessEnv;
let one: HttpServerProcess;
let two: HttpServerProcess;
let stopped: string[];
let running: string[];

before(async () => {
  at = await openReplicas();
  arn = await at.secret(`${KEY.toString("base64")}\n`);
  env = { MCP_AWS_STATE_KEY_ARN: arn };
  one = await at.start({ env });
  two = await at.start({ env: { ...env, NODE_OPTIONS: JUMPING_CLOCK } });
  ({ stopped, running } = await launch(at.proxy.url, { stopped: 24, running: 14, tags: { env: "dev" } }));
  await seedShop(at.proxy.url, "us-east-1");
});
after(() => at?.close());

const start = (id: string, role: Role = "operator"): RawCall => ({
  tool: "ec2_start_instance",
  args: { instance_id: id },
  key: at.keys[role],
});
const stop = (id: string): RawCall => ({ ...start(id), tool: "ec2_stop_instance" });
const accept = (content: unknown) => ({ confirm: { action: "accept", content } });
const YES = accept({ confirm: true });

/** When a question is over, in seconds, by the clock of whoever asked. */
const expiry = (state: string): number =>
  JSON.parse(Buffer.from(state.split(".")[1] ?? "", "base64url").toString()).exp;

function fresh(pool: string[] = stopped): string {
  const id = pool.pop();
  assert.ok(id, "the scene needs more instances");
  return id;
}

async function ask(call: RawCall, server = one): Promise<string> {
  const { question, content } = await rawCall(server.url, call);
  assert.ok(question, `a question was expected: ${JSON.stringify(content)}`);
  return question.requestState;
}

const writes = () =>
  at.proxy.requests.filter(
    ({ operation, userAgent }) =>
      userAgent?.includes("mcp-aws-server") && !/^(Describe|List|Get|BatchGet)/.test(operation),
  ).length;

/** Sends it, and makes sure that it was refused, that nothing was changed anywhere, and that there is a row of it. */
async function refused(server: HttpServerProcess, call: RawCall, kind = "confirmation_required"): Promise<RawReply> {
  const before = writes();
  const reply = await rawCall(server.url, call);
  assert.equal(reply.kind, kind, JSON.stringify(reply.content ?? reply.error));
  assert.equal(writes(), before, "nothing reached AWS");
  const rows = await at.rows(reply.callId);
  assert.deepEqual(
    rows.map(({ event, result, operation }) => [event, result, operation]),
    [["outcome", kind, call.tool]],
  );
  return reply;
}

describe("one answer", () => {
  test("works on the other replica, and then on neither", async () => {
    const id = fresh();
    const answer = { ...start(id), requestState: await ask(start(id)), inputResponses: YES };
    const reply = await rawCall(two.url, answer);
    assert.equal(reply.content.changed, true, JSON.stringify(reply.content));
    const [intent, outcome] = await at.rows(reply.callId);
    assert.deepEqual([intent?.event, outcome?.event, outcome?.result], ["intent", "outcome", "success"]);
    assert.ok(intent?.asked_in);
    // It runs already: there is nothing to confirm, and nothing is done.
    for (const server of [two, one]) assert.equal((await rawCall(server.url, answer)).content.changed, false);
    assert.equal(changes(at.proxy, id).length, 1);
  });

  test("replayed on the same and on the other replica, after a yes and after a no", async () => {
    for (const inputResponses of [accept({ resource_id: "x" }), { confirm: { action: "decline" } }]) {
      const id = fresh(running);
      const asked = { ...stop(id), requestState: await ask(stop(id)) };
      await refused(one, { ...asked, inputResponses }, "declined");
      for (const server of [one, two]) {
        const replay = await refused(server, { ...asked, inputResponses: accept({ resource_id: id }) });
        assert.match(replay.content.error.message, /already used/);
      }
    }
  });

  test("sent twenty times at once, half to each: exactly one runs", async () => {
    for (let round = 0; round < 3; round += 1) {
      const id = fresh(running);
      const answer = {
        ...stop(id),
        requestState: await ask(stop(id)),
        inputResponses: accept({ resource_id: id }),
      };
      const replies = await Promise.all(
        Array.from({ length: 20 }, (_, i) => rawCall((i % 2 === 0 ? one : two).url, answer)),
      );
      const done = replies.filter(({ content }) => content?.changed === true);
      assert.equal(done.length, 1, JSON.stringify(replies.map(({ content }) => content)));
      assert.equal(changes(at.proxy, id).length, 1);
      for (const { callId } of replies) assert.ok((await at.rows(callId)).length > 0);
    }
  });

  test("is remembered by the database, not by the process", async () => {
    const id = fresh(running);
    const third = await at.start({ env });
    const answer = { ...stop(id), requestState: await ask(stop(id), third) };
    await refused(third, { ...answer, inputResponses: { confirm: { action: "cancel" } } }, "declined");
    await third.stop();
    const again = await at.start({ env, home: third.home });
    await refused(again, { ...answer, inputResponses: accept({ resource_id: id }) });
    // And a question outlives the process that asked it.
    const open = { ...stop(id), requestState: await ask(stop(id), again), inputResponses: accept({ resource_id: id }) };
    await again.kill();
    assert.equal((await rawCall(one.url, open)).content.changed, true);
  });

  test("is not taken while the database does not say whether it was used", async () => {
    const id = fresh();
    const answer = { ...start(id), requestState: await ask(start(id)), inputResponses: YES };
    await query(at.db.owner, "REVOKE ALL ON state.used FROM mcp_audit_writer");
    const reply = await refused(two, answer, "audit_unavailable").finally(() =>
      query(at.db.owner, "GRANT SELECT, INSERT, DELETE ON state.used TO mcp_audit_writer"),
    );
    assert.deepEqual([reply.content.error.retryable, reply.content.error.retry_after_s], [true, 30]);
    assert.equal((await rawCall(two.url, answer)).content.changed, true);
  });
});

describe("an answer to something else, on either replica", () => {
  test("other arguments, another resource, another tool, another principal", async () => {
    const [id, other, victim, bystander] = [fresh(), fresh(), fresh(running), fresh(running)];
    const answer = { requestState: await ask(start(id)), inputResponses: YES };
    const asked = await ask(stop(victim));
    for (const server of [one, two]) {
      await refused(server, { ...start(other), ...answer });
      await refused(server, { ...start(id), args: { instance_id: id, wait: true }, ...answer });
      await refused(server, { ...stop(victim), ...answer, inputResponses: accept({ resource_id: victim }) });
      const typed = { requestState: asked, inputResponses: accept({ resource_id: victim }) };
      await refused(server, { ...stop(victim), key: at.keys.admin, ...typed });
      await refused(server, { ...stop(victim), key: at.keys.viewer, ...typed }, "denied");
      await refused(server, { ...stop(bystander), ...typed });
    }
    // None of it has used the answer up.
    assert.equal((await rawCall(two.url, { ...start(id), ...answer })).content.changed, true);
  });

  test("the same name by another way in", async () => {
    const id = fresh();
    const answer = { name: "ec2_start_instance", arguments: { instance_id: id }, inputResponses: YES };
    const requestState = await ask(start(id));
    const options = { endpoint: at.proxy.url, home: at.home(), env: { ...at.databaseEnv, ...env } };
    const wire = new StdioWire({ ...options, args: ["--role", "operator", "--user", "operator"] });
    const before = writes();
    const reply = await wire.request(modernRequest("tools/call", { ...answer, requestState }, { elicitation: {} }));
    assert.equal(reply.result.structuredContent.error.kind, "confirmation_required");
    assert.match(reply.result.structuredContent.error.message, /another call/);
    assert.equal(writes(), before);
    const [row] = await at.rows(reply.result._meta["mcp-aws-server/call_id"]);
    assert.deepEqual(
      [row?.user, row?.authenticated_via, row?.result],
      ["operator", "configured_user", "confirmation_required"],
    );
    await wire.end();
    assert.equal((await rawCall(two.url, { ...start(id), requestState, inputResponses: YES })).content.changed, true);
  });

  test("a resource that changed: its tags, its state, or another of the same name", async () => {
    const id = fresh();
    const tagged = { ...start(id), requestState: await ask(start(id)), inputResponses: YES };
    await tagInstance(at.proxy.url, id, { env: "prod" });
    await refused(two, tagged, "conflict");

    const victim = fresh(running);
    const call: RawCall = { ...stop(victim), args: { instance_id: victim, force: true } };
    const forced = { ...call, requestState: await ask(call), inputResponses: accept({ resource_id: victim }) };
    const stopping = at.proxy.rule({
      operation: "DescribeInstances",
      fault: { kind: "rewrite", rewrite: (body) => body.replaceAll("<name>running</name>", "<name>stopping</name>") },
    });
    await refused(two, forced, "conflict").finally(stopping.remove);

    const scale: RawCall = {
      tool: "ecs_update_service",
      args: { cluster: SHOP.cluster, service: SHOP.service, desired_count: 3 },
      key: at.keys.operator,
    };
    // Moto does not say when a service was made, AWS does.
    const made = (time: number) =>
      at.proxy.rule({
        operation: "DescribeServices",
        fault: {
          kind: "rewrite",
          rewrite: (body) => body.replace('"serviceArn"', `"createdAt": ${time}, "serviceArn"`),
        },
      });
    const first = made(1_700_000_000);
    const scaled = { ...scale, requestState: await ask(scale).finally(first.remove), inputResponses: YES };
    const replaced = made(1_700_000_060);
    await refused(two, scaled, "conflict").finally(replaced.remove);
    assert.ok(first.hits > 0 && replaced.hits > 0);
  });
});

describe("an answer that is nearly a yes", () => {
  test("is a no, and cannot be corrected", async () => {
    const id = fresh(running);
    for (const typed of [
      id.toUpperCase(),
      ` ${id}`,
      `${id}\n`,
      `${id}\u200b`,
      id.replace("i", "\u0456"),
      id.slice(1),
      "yes",
    ]) {
      const asked = { ...stop(id), requestState: await ask(stop(id)) };
      await refused(two, { ...asked, inputResponses: accept({ resource_id: typed }) }, "declined");
      await refused(one, { ...asked, inputResponses: accept({ resource_id: id }) });
    }
    const contents = [
      { resource_id: [id] },
      { resource_id: id, confirm: true },
      { resource_id: id, x: "" },
      { confirm: true },
    ];
    for (const content of contents) {
      const asked = { ...stop(id), requestState: await ask(stop(id)) };
      await refused(two, { ...asked, inputResponses: accept(content) }, "declined");
    }
    const other = fresh();
    for (const content of [{ confirm: "true" }, { confirm: 1 }, { confirm: true, resource_id: other }, {}]) {
      const asked = { ...start(other), requestState: await ask(start(other)) };
      await refused(two, { ...asked, inputResponses: accept(content) }, "declined");
    }
  });
});

describe("a forged state", () => {
  const sign = (envelope: unknown, key: Uint8Array) => {
    const text = `v1.${Buffer.from(JSON.stringify(envelope)).toString("base64url")}`;
    return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
  };

  test("one bit of any byte, a part of it, signed by another or by nobody: AWS is not even asked", async () => {
    const id = fresh();
    const state = await ask(start(id));
    const [version, body = "", mac = ""] = state.split(".");
    const envelope = JSON.parse(Buffer.from(body, "base64url").toString());
    const edited = { ...envelope, p: { ...envelope.p, user: "admin" } };
    const flipped = [...state].map((char, i) => {
      // What a JSON text can carry, and another character than this one.
      const other = String.fromCharCode(char.charCodeAt(0) ^ (1 << (i % 5)));
      return state.slice(0, i) + other + state.slice(i + 1);
    });
    const forged = [
      ...flipped,
      ...[0, 1, 3, 4, body.length, state.length - 1].map((length) => state.slice(0, length)),
      `${version}.${body}`,
      `${version}.${body}.`,
      `${version}.${Buffer.from(JSON.stringify(edited)).toString("base64url")}.${mac}`,
      sign(envelope, randomBytes(32)),
      sign(envelope, new Uint8Array(32)),
      sign(envelope, Buffer.from(arn)),
      sign({ ...envelope, exp: 0 }, KEY),
      state.toUpperCase(),
      `${state}.${mac}`,
      `${state} `,
      `${state}=`,
    ];
    const from = at.proxy.requests.length;
    for (let i = 0; i < forged.length; i += 10) {
      const batch = forged.slice(i, i + 10).map(async (requestState) => {
        const reply = await rawCall(two.url, { ...start(id), requestState, inputResponses: YES });
        assert.equal(reply.kind, "confirmation_required", `${requestState} → ${JSON.stringify(reply.content)}`);
        assert.match(reply.content.error.next_step, /asked anew/);
        const rows = await at.rows(reply.callId);
        assert.deepEqual(
          rows.map(({ result }) => result),
          ["confirmation_required"],
        );
      });
      await Promise.all(batch);
    }
    assert.equal(at.proxy.requests.length, from);
    // The clock of the test is right and the key is what signs: untouched, the same state is a yes.
    assert.equal(sign(envelope, KEY), state);
    assert.equal(
      (await rawCall(two.url, { ...start(id), requestState: state, inputResponses: YES })).content.changed,
      true,
    );
  });

  test("of a process with a key of its own, and of one that restarted", async () => {
    const id = fresh();
    const alone = await at.start();
    const there = { ...start(id), requestState: await ask(start(id), alone), inputResponses: YES };
    await refused(one, there);
    await refused(alone, { ...start(id), requestState: await ask(start(id)), inputResponses: YES });
    await alone.stop();
    const again = await at.start({ home: alone.home });
    const late = await refused(again, there);
    assert.match(late.content.error.message, /process that does not share its key/);
  });

  test("older than ten minutes by the clock of whoever is to take it", async () => {
    const id = fresh();
    const state = await ask(start(id));
    process.kill(two.pid, "SIGUSR2");
    const other = fresh();
    await eventually(async () => expiry(await ask(start(other), two)) > expiry(state) + 600);
    await refused(two, { ...start(id), requestState: state, inputResponses: YES });
    assert.equal(
      (await rawCall(one.url, { ...start(id), requestState: state, inputResponses: YES })).content.changed,
      true,
    );
  });
});

describe("a key that is none", () => {
  const start = async (given: NodeJS.ProcessEnv, database = at.databaseEnv) => {
    const options = { endpoint: at.proxy.url, home: at.home(), env: { ...database, ...given } };
    const { code, stdout, stderr } = await runCli(["http", "--port", "0"], options);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    assert.doesNotMatch(stderr, /\n\s+at /, "no stack");
    return stderr;
  };

  test("stops the start in one sentence that does not quote it", async () => {
    for (const text of ["correct-horse-battery-staple", randomBytes(31).toString("base64"), "A".repeat(64)]) {
      const stderr = await start({ MCP_AWS_STATE_KEY_ARN: await at.secret(text) });
      assert.match(stderr, /state_key_arn arn:\S+: the text of the secret .*openssl rand -base64 32/);
      assert.ok(!stderr.includes(text));
    }
    const gone = await start({ MCP_AWS_STATE_KEY_ARN: arn.replace(/:secret:.*/, ":secret:gone-AbCdEf") });
    assert.match(gone, /state_key_arn: arn:\S+ cannot be read/);
    const wrong = await start({ MCP_AWS_STATE_KEY_ARN: "/etc/passwd" });
    assert.match(wrong, /state_key_arn: not the ARN of a secret/);
  });

  test("needs a database that the replicas share", async () => {
    const stderr = await start(env, {});
    assert.match(stderr, /state_key_arn needs the audit trail in PostgreSQL/);
  });
});
