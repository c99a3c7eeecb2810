import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Client } from "@modelcontextprotocol/client";
import { connectStdio, temporaryHome } from "../support/server.ts";

const clients: Client[] = [];
let modern: Client;
let legacy: Client;
let narrow: Client;

before(async () => {
  const connect = async (era: "modern" | "legacy", args: string[] = []) => {
    const client = await connectStdio({ era, home: temporaryHome(), args });
    clients.push(client);
    return client;
  };
  modern = await connect("modern");
  legacy = await connect("legacy");
  narrow = await connect("modern", ["--toolsets", "cloudwatch,ec2", "--tools", "cost_get_forecast"]);
});
after(() => Promise.all(clients.map((client) => client.close())));

const names = async (client: Client) => (await client.listPrompts()).prompts.map(({ name }) => name);

describe("prompts", () => {
  test("are the same to every era, with arguments", async () => {
    const { prompts } = await modern.listPrompts();
    assert.deepEqual(
      prompts.map(({ name }) => name),
      ["investigate_alarm", "service_health", "cost_review", "right_size_database"],
    );
    assert.deepEqual(prompts[0]?.arguments, [
      { name: "alarm_name", description: "Name of the alarm", required: true },
      { name: "region", description: "AWS region; default: the server's", required: false },
    ]);
    assert.deepEqual((await legacy.listPrompts()).prompts, prompts);
  });

  test("become a message of the user's with steps to follow", async () => {
    for (const client of [modern, legacy]) {
      const got = await client.getPrompt({ name: "service_health", arguments: { cluster: "main", service: "web" } });
      assert.equal(got.messages.length, 1);
      const [message] = got.messages;
      assert.ok(message?.role === "user" && message.content.type === "text");
      assert.match(message.content.text, /1\. ecs_describe_service for "web" in cluster "main"/);
    }
  });

  test("are offered only with all the tools they need", async () => {
    assert.deepEqual(await names(narrow), ["investigate_alarm"]);
    await assert.rejects(
      narrow.getPrompt({ name: "cost_review" }),
      /Unknown prompt: cost_review\. Prompts: investigate/,
    );
  });

  test("refuse what they do not take, as a protocol error that says so", async () => {
    for (const [given, message] of [
      [{ name: "nothing" }, /Unknown prompt: nothing/],
      [{ name: "service_health", arguments: { cluster: "main" } }, /service is required/],
      [{ name: "cost_review", arguments: { year: "2026" } }, /takes month; not year/],
      [{ name: "cost_review", arguments: { month: "x".repeat(300) } }, /at most 255/],
    ] as const) {
      for (const client of [modern, legacy]) await assert.rejects(client.getPrompt(given), { code: -32602, message });
    }
  });
});
