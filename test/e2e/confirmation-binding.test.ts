import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { JUMPING_CLOCK } from "../support/jumping-clock.ts";
import { type RawCall, type RawReply, rawCall } from "../support/raw-mcp.ts";
import { changes, launch, openScene, type Scene, tagInstance } from "../support/scene.ts";
import { startHttpServer } from "../support/server.ts";

// An answer is good for exactly the call the person was asked about, once: what a client does that keeps to no rule.

let scene: Scene;
let stopped: string[];
let running: string[];

before(async () => {
  scene = await openScene({ env: { NODE_OPTIONS: JUMPING_CLOCK } });
  ({ stopped, running } = await launch(scene.proxy.url, { stopped: 16, running: 3, tags: { env: "dev" } }));
});

after(() => scene?.close());

const YES = { confirm: { action: "accept", content: { confirm: true } } };
const start = (id: string): RawCall => ({
  tool: "ec2_start_instance",
  args: { instance_id: id },
  key: scene.keys.operator,
});
const send = (call: RawCall) => rawCall(scene.server.url, call);

function fresh(pool: string[] = stopped): string {
  const id = pool.pop();
  assert.ok(id, "the scene needs more instances");
  return id;
}

/** Asks and returns the state that has to come back with the answer. */
async function ask(call: RawCall): Promise<string> {
  const { question } = await send(call);
  assert.ok(question, "a question was expected");
  return question.requestState;
}

function refused(reply: RawReply, id: string): void {
  assert.equal(reply.kind, "confirmation_required");
  assert.deepEqual(changes(scene.proxy, id), []);
}

test("a replayed answer is refused, also when both arrive at once", async () => {
  const id = fresh();
  const answer = { ...start(id), requestState: await ask(start(id)), inputResponses: YES };
  const replies = await Promise.all([send(answer), send(answer), send(answer)]);
  const done = replies.filter(({ content }) => content?.changed === true);
  assert.equal(done.length, 1);
  assert.equal(changes(scene.proxy, id).length, 1);

  const other = fresh();
  const declined = { ...start(other), requestState: await ask(start(other)) };
  assert.equal((await send({ ...declined, inputResponses: { confirm: { action: "decline" } } })).kind, "declined");
  refused(await send({ ...declined, inputResponses: YES }), other);
});

test("an answer does not fit other arguments, another tool, or another principal", async () => {
  const id = fresh();
  const other = fresh();
  const requestState = await ask(start(id));
  const answer = { requestState, inputResponses: YES };
  refused(await send({ ...start(other), ...answer }), other);
  refused(await send({ ...start(id), args: { instance_id: id, wait: true }, ...answer }), id);

  const victim = fresh(running);
  const typed = { confirm: { action: "accept", content: { confirm: true, resource_id: victim } } };
  const stop: RawCall = { tool: "ec2_stop_instance", args: { instance_id: victim }, key: scene.keys.operator };
  refused(await send({ ...stop, requestState, inputResponses: typed }), victim);
  refused(await send({ ...stop, key: scene.keys.admin, requestState: await ask(stop), inputResponses: typed }), victim);

  // The order of arguments is not a difference; and none of the attempts has used the answer up.
  const args = { wait: false, instance_id: id };
  assert.equal((await send({ ...start(id), args, ...answer })).content.changed, true);
});

test("an answer does not fit a resource that changed: its state, or a tag", async () => {
  const tagged = fresh();
  const state = await ask(start(tagged));
  await tagInstance(scene.proxy.url, tagged, { env: "prod" });
  const reply = await send({ ...start(tagged), requestState: state, inputResponses: YES });
  assert.equal(reply.kind, "conflict");
  assert.match(reply.content.error.next_step, /call again/);
  assert.deepEqual(changes(scene.proxy, tagged), []);

  // Moto changes states at once, so one that lasts is written into the answer: force applies to `stopping`, too.
  const id = fresh(running);
  const stop: RawCall = {
    tool: "ec2_stop_instance",
    args: { instance_id: id, force: true },
    key: scene.keys.operator,
  };
  const requestState = await ask(stop);
  const rule = scene.proxy.rule({
    operation: "DescribeInstances",
    fault: { kind: "rewrite", rewrite: (body) => body.replaceAll("<name>running</name>", "<name>stopping</name>") },
  });
  const inputResponses = { confirm: { action: "accept", content: { resource_id: id } } };
  const late = await send({ ...stop, requestState, inputResponses });
  rule.remove();
  assert.equal(late.kind, "conflict");
  assert.deepEqual(changes(scene.proxy, id), []);
});

test("a forged, truncated or foreign state never becomes a call", async () => {
  const id = fresh();
  const requestState = await ask(start(id));
  const [version, body = "", mac] = requestState.split(".");
  const envelope = JSON.parse(Buffer.from(body, "base64url").toString("utf8"));
  const edited = Buffer.from(JSON.stringify({ ...envelope, exp: envelope.exp + 1 })).toString("base64url");
  const forgeries = [
    "",
    "x",
    requestState.slice(0, -1),
    requestState.slice(1),
    `${requestState}A`,
    [version, edited, mac].join("."),
    [version, body].join("."),
  ];
  const from = scene.proxy.requests.length;
  for (const forged of forgeries) {
    const reply = await send({ ...start(id), requestState: forged, inputResponses: YES });
    refused(reply, id);
    assert.match(reply.content.error.message, /older than ten minutes, was changed, or/);
    assert.match(reply.content.error.next_step, /Call the tool again without the old state/);
    const [row, ...more] = await scene.rows(reply.callId);
    assert.deepEqual(
      [row?.event, row?.result, row?.user, more.length],
      ["outcome", "confirmation_required", "operator", 0],
    );
  }
  // What is no text breaks the protocol before it is a call.
  for (const broken of [42, { nonce: "n" }]) {
    const { error } = await send({ ...start(id), requestState: broken, inputResponses: YES });
    assert.equal(error?.code, -32602);
  }
  assert.equal(scene.proxy.requests.length, from, "AWS was not even asked about it");

  const replica = await startHttpServer({ endpoint: scene.proxy.url, home: scene.server.home });
  const elsewhere = await rawCall(replica.url, { ...start(id), requestState, inputResponses: YES });
  refused(elsewhere, id);
  assert.match(elsewhere.content.error.message, /a process that does not share its key/);
  await replica.stop();
  assert.deepEqual(changes(scene.proxy, id), []);
});

test("half an answer asks again or says what is missing", async () => {
  const id = fresh();
  const requestState = await ask(start(id));
  // An answer without the state it belongs to answers nothing: the person is asked.
  const stateless = await send({ ...start(id), inputResponses: YES });
  assert.ok(stateless.question);
  for (const inputResponses of [undefined, {}, { other: { action: "accept", content: { confirm: true } } }]) {
    refused(await send({ ...start(id), requestState, inputResponses }), id);
  }
  const content = [{}, { confirm: "true" }, { confirm: 1 }, { confirm: [true] }];
  for (const given of content) {
    const state = await ask(start(id));
    const reply = await send({
      ...start(id),
      requestState: state,
      inputResponses: { confirm: { action: "accept", content: given } },
    });
    assert.ok(reply.error !== undefined || reply.kind === "declined" || reply.kind === "confirmation_required");
  }
  assert.deepEqual(changes(scene.proxy, id), []);
  assert.equal((await send({ ...start(id), requestState, inputResponses: YES })).content.changed, true);
});

test("of two open questions about the same thing, the second finds it changed", async () => {
  const id = fresh();
  const [first, second] = [await ask(start(id)), await ask(start(id))];
  assert.notEqual(first, second);
  assert.equal((await send({ ...start(id), requestState: second, inputResponses: YES })).content.changed, true);
  const late = await send({ ...start(id), requestState: first, inputResponses: YES });
  assert.equal(late.content.changed, false);
  assert.equal(changes(scene.proxy, id).length, 1);
});

test("a question leaves one row, reads only, and no intent", async () => {
  const id = fresh();
  const from = scene.proxy.requests.length;
  const { question, result } = await send(start(id));
  assert.equal(result.resultType, "input_required");
  assert.match(question?.message ?? "", /^operator, through "raw-client", wants to start/);
  const sent = scene.proxy.requests.slice(from).filter(({ service }) => service === "ec2");
  assert.deepEqual(
    sent.map(({ operation }) => operation),
    ["DescribeInstances"],
  );
  const rows = (await scene.rows()).filter(({ resource_id }) => resource_id === id);
  assert.deepEqual(
    rows.map(({ event, result }) => [event, result]),
    [["question", "pending"]],
  );
});

// Last, because the clock does not go back.
test("a question is open for ten minutes", async () => {
  const id = fresh();
  const requestState = await ask(start(id));
  process.kill(scene.server.pid, "SIGUSR2");
  // The signal arrives when it arrives.
  const expiry = (state: string) => JSON.parse(Buffer.from(state.split(".")[1] ?? "", "base64url").toString()).exp;
  await eventually(async () => expiry(await ask(start(id))) > expiry(requestState) + 600);
  const late = await send({ ...start(id), requestState, inputResponses: YES });
  refused(late, id);
  assert.equal((await scene.rows(late.callId))[0]?.result, "confirmation_required");
  const again = { ...start(id), requestState: await ask(start(id)), inputResponses: YES };
  assert.equal((await send(again)).content.changed, true);
});
