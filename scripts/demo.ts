// `npm run demo`: the real server, the official client and a simulated AWS play a story, printed as it happens. Every
// step is checked: the demo fails when the server does not behave as it says. `--keep` leaves everything running,
// `--no-build` takes the bundle that is there.
import assert from "node:assert/strict";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Client } from "@modelcontextprotocol/client";
import { startFaultProxy } from "../test/support/fault-proxy.ts";
import { seedFleet } from "../test/support/fleet.ts";
import { startMoto } from "../test/support/moto.ts";
import { call, connectHttp, runCli, startHttpServer, type ToolReply } from "../test/support/server.ts";
import { SHOP, seedShop } from "../test/support/shop.ts";
import { stage } from "./demo/stage.ts";
import { ensureMoto } from "./setup-moto.ts";

const BREAKER_RESET_S = 3;
const { values: options } = parseArgs({
  options: { keep: { type: "boolean", default: false }, build: { type: "boolean", default: true } },
  allowNegative: true,
});

const home = mkdtempSync(join(tmpdir(), "mcp-aws-demo-"));
const endings: (() => Promise<unknown>)[] = [async () => rmSync(home, { recursive: true, force: true })];
try {
  await play();
} finally {
  for (const end of endings.reverse()) await end();
}

async function play(): Promise<void> {
  stage.title("mcp-aws-server demo");
  await ensureMoto();
  if (options.build) await import("./build.ts");
  const moto = await startMoto();
  endings.push(() => moto.stop());
  const aws = await startFaultProxy({ target: moto.url });
  endings.push(() => aws.close());
  const fleet = await seedFleet(aws.url);
  await seedShop(aws.url, fleet.stoppedDev.region);
  const local = { home, endpoint: aws.url, bundled: true };
  const key = (await runCli(["keys", "create", "--role", "operator", "--name", "demo-agent"], local)).stdout.trim();
  const server = await startHttpServer({ ...local, args: ["--breaker-reset-s", String(BREAKER_RESET_S)] });
  endings.push(() => server.stop());
  const regions = [...new Set(fleet.instances.map((instance) => instance.region))];
  stage.note(`a simulated AWS with ${fleet.instances.length} instances in ${regions.join(" and ")}`);
  stage.note(`the real server on ${server.url}, an API key with the role operator, a fresh audit trail`);

  const client = await connectHttp(server.url, {
    era: "modern",
    key,
    person: (question) => {
      stage.asked(question, "yes");
      return { action: "accept", content: { confirm: true } };
    },
  });
  endings.push(() => client.close());
  const agent = async (tool: string, args: Record<string, unknown>): Promise<ToolReply["content"]> => {
    stage.agent(tool, args);
    const reply = await call(client, tool, args);
    stage.reply(reply.content);
    return reply.content;
  };

  stage.scene(1, "Find stopped development machines, in two regions at once");
  const found = await agent("ec2_list_instances", { tags: { env: "dev" }, states: ["stopped"], regions, limit: 3 });
  assert.ok(found.summary.matched > 0 && found.items.length > 0);

  stage.scene(2, "Look at one of them");
  const { id, region } = fleet.stoppedDev;
  const described = await agent("ec2_describe_instance", { instance_id: id, region });
  assert.equal(described.state, "stopped");

  stage.scene(3, "Start it: a person confirms what they can read");
  const started = await agent("ec2_start_instance", { instance_id: id, region });
  assert.equal(started.previous_state, "stopped");
  assert.equal(started.changed, true);

  stage.scene(4, "Try something forbidden: stop the machine the server itself runs on");
  const forbidden = await agent("ec2_stop_instance", { instance_id: fleet.self.id, region: fleet.self.region });
  assert.equal(forbidden.error.kind, "denied");
  assert.deepEqual(forbidden.error.policies, ["own-resources"]);

  stage.scene(5, "Scale a service: the same tool with another task definition is a deployment, and not an operator's");
  const service = { cluster: SHOP.cluster, service: SHOP.service, region };
  const scaled = await agent("ecs_update_service", { ...service, desired_count: 3 });
  assert.match(scaled.current_state, /^desired 3/);
  const deployed = await agent("ecs_update_service", { ...service, task_definition: SHOP.newer });
  assert.equal(deployed.error.kind, "denied");

  stage.scene(6, "Ask for something that does not exist");
  const missing = await agent("ec2_describe_instance", { instance_id: "i-0123456789abcdef0", region });
  assert.equal(missing.error.kind, "not_found");

  stage.scene(7, "AWS breaks down: after five failures the breaker opens, and no request is sent");
  await outage(client, aws, region);

  stage.scene(8, "What the auditor sees");
  const tail = await runCli(["audit", "tail", "-n", "12"], local);
  stage.shell("mcp-aws-server audit tail -n 12", tail.stdout);
  const verified = await runCli(["audit", "verify"], local);
  stage.shell("mcp-aws-server audit verify", verified.stdout);
  assert.equal(verified.code, 0, verified.stderr);

  stage.scene(9, "Somebody edits one row of a copy of the trail");
  const tampered = await tamperWithCopy(id);
  stage.shell("mcp-aws-server audit verify", tampered.stdout);
  assert.equal(tampered.code, 1);

  stage.title("every step behaved as it should");
  if (options.keep) await keep(server.url, key);
}

async function outage(client: Client, aws: Awaited<ReturnType<typeof startFaultProxy>>, region: string): Promise<void> {
  const list = () => call(client, "ec2_list_instances", { region, limit: 1 });
  const kinds: string[] = [];
  const requests = () => aws.requests.filter((request) => request.operation === "DescribeInstances").length;
  aws.rule({ service: "ec2", fault: { kind: "internal" } });
  while (kinds.at(-1) !== "circuit_open") {
    const before = requests();
    const { content } = await list();
    kinds.push(content.error.kind);
    stage.note(`call ${kinds.length}: ${content.error.kind}, ${requests() - before} requests sent to AWS`);
    assert.ok(kinds.length <= 6, "the breaker did not open");
    if (kinds.length === 6) stage.reply(content);
  }
  assert.equal(kinds.length, 6);
  aws.clearRules();
  stage.note(
    `AWS is well again; ${BREAKER_RESET_S} s later (60 s outside this demo) three trial calls close the breaker`,
  );
  await sleep(BREAKER_RESET_S * 1000);
  for (let trial = 1; trial <= 3; trial += 1) {
    const { content } = await list();
    assert.equal(content.error, undefined);
    stage.note(`trial ${trial}: ${content.summary.matched} instances`);
  }
}

/** Changes who did it, in a copy of the state directory, the way somebody with access to the file would. */
async function tamperWithCopy(resourceId: string) {
  const copy = mkdtempSync(join(tmpdir(), "mcp-aws-demo-copy-"));
  endings.push(async () => rmSync(copy, { recursive: true, force: true }));
  cpSync(join(home, "state", "mcp-aws-server"), copy, { recursive: true });
  const db = new DatabaseSync(join(copy, "audit.db"));
  const table = String(
    db.prepare("SELECT tbl_name FROM sqlite_schema WHERE sql LIKE '%body%' AND type = 'table'").get()?.tbl_name,
  );
  for (const { name } of db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()) {
    db.exec(`DROP TRIGGER "${name}"`);
  }
  db.prepare(`UPDATE ${table} SET "user" = 'somebody-else' WHERE resource_id = ?`).run(resourceId);
  db.close();
  return runCli(["audit", "verify", "--state-dir", copy], { home, bundled: true });
}

/** Leaves the stage to the person, until they press Ctrl-C. */
async function keep(url: string, key: string): Promise<void> {
  stage.say(`\nThe server stays up. Paste one of these; Ctrl-C ends everything.\n`);
  stage.say(`  claude mcp add --transport http aws-demo ${url} --header "Authorization: Bearer ${key}"\n`);
  stage.say(
    `  ${JSON.stringify({ mcpServers: { "aws-demo": { type: "http", url, headers: { Authorization: `Bearer ${key}` } } } })}\n`,
  );
  // A signal that is waited for does not keep the process alive; this does.
  const staying = setInterval(() => {}, 60_000);
  await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
  clearInterval(staying);
}
