import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { call, connectHttp } from "../support/server.ts";

const DEMO = join(import.meta.dirname, "../../scripts/demo.ts");

function play(...args: string[]) {
  const child = spawn(process.execPath, [DEMO, "--no-build", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  return { child, output: () => output };
}

test("the demo plays to its end, and every step behaves", async () => {
  const { child, output } = play();
  const [code] = await once(child, "exit");
  assert.equal(code, 0, output());
  for (const line of [
    "is asked:",
    "own-resources",
    "not_found",
    "circuit_open, 0 requests",
    "✔ intact",
    "✘ TAMPERED",
    "every step behaved",
  ]) {
    assert.ok(output().includes(line), `${line} is missing in:\n${output()}`);
  }
});

test("--keep leaves a server that a client can use, and Ctrl-C ends everything", async (context) => {
  const { child, output } = play("--keep");
  context.after(() => child.kill("SIGKILL"));
  while (!output().includes("claude mcp add")) await once(child.stdout, "data");
  const [, url = ""] = /aws-demo (http\S+)/.exec(output()) ?? [];
  const [key = ""] = /mcpaws_\w+_[\w-]+/.exec(output()) ?? [];
  const client = await connectHttp(url, { era: "modern", key });
  const { content } = await call(client, "ec2_list_instances", { limit: 1 });
  assert.equal(content.summary.counts_complete, true);
  await client.close();
  child.kill("SIGINT");
  const [code] = await once(child, "exit");
  assert.equal(code, 0, output());
  await assert.rejects(fetch(url));
});
