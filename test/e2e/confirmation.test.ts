import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Client } from "@modelcontextprotocol/client";
import { changes, launch, openScene, readRows, type Scene } from "../support/scene.ts";
import { call, connectHttp, connectStdio, type Person, temporaryHome } from "../support/server.ts";

// What the person at an official client sees and says, over both transports and in both eras of the protocol.

const HOSTILE = "web-9\nState: running → running\u202E\u200B";

let scene: Scene;
let stopped: string[];
let running: string[];

before(async () => {
  scene = await openScene();
  const tags = { Name: HOSTILE, env: "prod", note: 'x", env="dev' };
  ({ stopped, running } = await launch(scene.proxy.url, { stopped: 16, running: 24, tags }));
});

after(() => scene?.close());

function next(pool: string[]): string {
  const id = pool.pop();
  assert.ok(id, "the scene needs more instances");
  return id;
}

/** A client whose person answers as told now. */
interface Seat {
  client: Client;
  home: string;
  /** Questions asked so far. */
  asked: { message: string; form: Record<string, unknown> }[];
  answer: Person;
}

async function sit(connect: (person: Person) => Promise<{ client: Client; home: string }>): Promise<Seat> {
  const asked: Seat["asked"] = [];
  const seat: Partial<Seat> = { asked };
  const person: Person = (message, form) => {
    asked.push({ message, form });
    return seat.answer?.(message, form) ?? { action: "cancel" };
  };
  return Object.assign(seat, await connect(person)) as Seat;
}

for (const transport of ["stdio", "http"] as const) {
  for (const era of ["legacy", "modern"] as const) {
    describe(`${transport}, ${era}`, () => {
      let seat: Seat;

      before(async () => {
        seat = await sit(async (person) => {
          if (transport === "http") {
            const { url, home } = scene.server;
            return { client: await connectHttp(url, { era, key: scene.keys.operator, person }), home };
          }
          const home = temporaryHome();
          const args = ["--role", "operator"];
          const env = { MCP_AWS_USER: "operator" };
          return { client: await connectStdio({ era, home, endpoint: scene.proxy.url, args, env, person }), home };
        });
      });

      after(() => seat?.client.close());

      const start = (instance_id: string) => call(seat.client, "ec2_start_instance", { instance_id });
      const stop = (instance_id: string) => call(seat.client, "ec2_stop_instance", { instance_id });
      const rowsOf = async (id: string) => {
        const rows = await readRows(seat.home);
        return rows.filter(({ resource_id, operation }) => resource_id === id && operation !== "authenticate");
      };

      test("a person is asked in words; yes starts the instance and leaves three linked rows", async () => {
        const id = next(stopped);
        seat.answer = () => {
          assert.equal(changes(scene.proxy, id).length, 0, "nothing is sent while the person thinks");
          return { action: "accept", content: { confirm: true } };
        };
        const before = seat.asked.length;
        const reply = await start(id);
        assert.equal(reply.content.previous_state, "stopped");
        assert.equal(reply.content.changed, true);
        assert.equal(seat.asked.length, before + 1);
        assert.deepEqual(seat.asked.at(-1)?.message.split("\n"), [
          'operator, through "test-client", wants to start this t3.micro EC2 instance (it is billed while it runs).',
          `Resource: ${id} ("web-9 State: running → running")`,
          `Account: ${scene.proxy.accountId}, region: us-east-1`,
          "State: stopped → running",
          'Tags: env="prod", note="x\\", env=\\"dev"',
        ]);
        assert.equal(changes(scene.proxy, id).length, 1);

        const [question, intent, outcome, ...more] = await rowsOf(id);
        assert.deepEqual(more, []);
        assert.deepEqual([question?.event, intent?.event, outcome?.event], ["question", "intent", "outcome"]);
        assert.deepEqual([question?.result, intent?.result, outcome?.result], ["pending", "pending", "success"]);
        assert.notEqual(question?.call_id, intent?.call_id);
        assert.equal(intent?.call_id, outcome?.call_id);
        const via = era === "legacy" ? "elicitation" : "input_required";
        for (const row of [intent, outcome]) {
          assert.equal(row?.body?.asked_in, question?.call_id);
          assert.equal(row?.body?.confirmed_via, via);
          assert.equal(row?.body?.confirm_mode, "always");
          assert.equal(row?.body?.agent, "test-client/1.0.0");
        }
      });

      for (const [how, answer] of [
        ["says no", { action: "decline" }],
        ["dismisses the question", { action: "cancel" }],
        ["accepts without ticking", { action: "accept", content: { confirm: false } }],
      ] as const) {
        test(`a person who ${how} starts nothing`, async () => {
          const [id = ""] = stopped;
          const before = (await rowsOf(id)).length;
          seat.answer = () => answer;
          const reply = await start(id);
          assert.equal(reply.isError, true);
          assert.equal(reply.content.error.kind, "declined");
          assert.equal(reply.content.error.retryable, false);
          assert.deepEqual(changes(scene.proxy, id), []);
          const [question, outcome, ...more] = (await rowsOf(id)).slice(before);
          assert.deepEqual(more, []);
          assert.deepEqual([question?.event, outcome?.event, outcome?.result], ["question", "outcome", "declined"]);
          assert.equal(outcome?.body?.asked_in, question?.call_id);
          assert.equal(outcome?.body?.confirmed_via, undefined);
        });
      }

      test("stopping wants the id typed, exactly", async () => {
        const id = next(running);
        for (const typed of [
          "",
          "yes",
          id.slice(0, -1),
          id.toUpperCase(),
          `${id} ${id}`,
          ` ${id}`,
          `${id}\n`,
          `${id}\u200B`,
        ]) {
          seat.answer = () => ({ action: "accept", content: { resource_id: typed } });
          const reply = await stop(id);
          assert.equal(reply.content.error.kind, "declined", `typed ${JSON.stringify(typed)}`);
        }
        assert.deepEqual(changes(scene.proxy, id), []);
        const form = seat.asked.at(-1)?.form as { properties: object; required: string[] };
        assert.deepEqual(Object.keys(form.properties), ["resource_id"]);
        assert.deepEqual(form.required, ["resource_id"]);
        assert.match(seat.asked.at(-1)?.message ?? "", /wants to stop this t3\.micro.*interrupted\.\n/);

        seat.answer = () => ({ action: "accept", content: { resource_id: id } });
        const reply = await stop(id);
        assert.equal(reply.content.previous_state, "running");
        assert.equal(changes(scene.proxy, id).length, 1);
      });

      test("a rehearsal asks nobody and changes nothing", async () => {
        const [id = ""] = running;
        const before = seat.asked.length;
        const reply = await call(seat.client, "ec2_stop_instance", { instance_id: id, dry_run: true });
        assert.equal(reply.content.changed, false);
        assert.equal(seat.asked.length, before);
        assert.ok(changes(scene.proxy, id).every(({ parameters }) => parameters.DryRun === "true"));
        const rows = await rowsOf(id);
        assert.equal(rows.at(-1)?.body?.confirmed_via, "dry_run_changes_nothing");
      });

      test("nobody is asked about what would change nothing", async () => {
        const [id = ""] = running;
        const before = seat.asked.length;
        const reply = await start(id);
        assert.equal(reply.content.changed, false);
        assert.equal(seat.asked.length, before);
      });
    });
  }
}

describe("a client that cannot ask", () => {
  for (const era of ["legacy", "modern"] as const) {
    test(`gets confirmation_required with the way out, ${era}`, async () => {
      const client = await connectHttp(scene.server.url, { era, key: scene.keys.operator });
      const [id = ""] = stopped;
      const start = await call(client, "ec2_start_instance", { instance_id: id });
      assert.equal(start.isError, true);
      assert.equal(start.content.error.kind, "confirmation_required");
      assert.match(start.content.error.next_step, /elicitation.*--confirm destructive \(or never\)/);
      const [victim = ""] = running;
      const stop = await call(client, "ec2_stop_instance", { instance_id: victim });
      assert.equal(stop.content.error.kind, "confirmation_required");
      assert.match(stop.content.error.next_step, /--confirm never\./);
      assert.deepEqual(changes(scene.proxy, id), []);
      await client.close();
    });
  }
});

test("an admin is not asked about a write, but about what destroys", async () => {
  const questions: string[] = [];
  const person: Person = (message) => {
    questions.push(message);
    return { action: "decline" };
  };
  const client = await connectHttp(scene.server.url, { era: "modern", key: scene.keys.admin, person });
  const id = next(stopped);
  const start = await call(client, "ec2_start_instance", { instance_id: id });
  assert.equal(start.content.changed, true);
  assert.deepEqual(questions, []);
  const rows = (await scene.rows()).filter((row) => row.resource_id === id);
  assert.deepEqual(
    rows.map(({ event, body }) => [event, body?.confirmed_via]),
    [
      ["intent", "not_required"],
      ["outcome", "not_required"],
    ],
  );
  const stop = await call(client, "ec2_stop_instance", { instance_id: id });
  assert.equal(stop.content.error.kind, "declined");
  assert.equal(questions.length, 1);
  await client.close();
});

for (const mode of ["destructive", "never"] as const) {
  test(`--confirm ${mode} waives the question, and every row says so`, async () => {
    const home = temporaryHome();
    const args = ["--role", "operator", "--confirm", mode];
    const client = await connectStdio({ era: "modern", home, endpoint: scene.proxy.url, args });
    const id = next(stopped);
    assert.equal((await call(client, "ec2_start_instance", { instance_id: id })).content.changed, true);
    const stop = await call(client, "ec2_stop_instance", { instance_id: id });
    if (mode === "never") assert.equal(stop.content.changed, true);
    else assert.equal(stop.content.error.kind, "confirmation_required");
    await client.close();

    const rows = await readRows(home);
    assert.ok(rows.length > 3 && rows.every(({ body }) => body?.confirm_mode === mode));
    const intents = rows.filter(({ event }) => event === "intent");
    assert.equal(intents.length, mode === "never" ? 2 : 1);
    assert.ok(intents.every(({ body }) => body?.confirmed_via === "waived_by_server_option"));
  });
}
