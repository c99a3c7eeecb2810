import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, seedFleet } from "../support/fleet.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { readRows } from "../support/scene.ts";
import { call, connectHttp, runCli, startHttpServer, temporaryHome } from "../support/server.ts";

const NO_PROD = `
@id("no-prod")
forbid (principal, action in [Action::"write", Action::"destructive"], resource is Resource)
when { resource.hasTag("env") && resource.getTag("env") == "prod" };

@id("never-stop")
forbid (principal, action == Action::"ec2_stop_instance", resource);
`;

let moto: Moto;
let proxy: FaultProxy;
let fleet: Fleet;

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  fleet = await seedFleet(proxy.url);
});
after(async () => {
  await proxy?.close();
  await moto?.stop();
});

function policyFile(home: string, text: string): string {
  const file = join(home, "site.cedar");
  writeFileSync(file, text);
  return file;
}

describe("a site's own policies", () => {
  test("take away what the roles give, on the list and on the call", async () => {
    const home = temporaryHome();
    const key = (await runCli(["keys", "create", "--role", "admin", "--name", "ann"], { home })).stdout.trim();
    const args = ["--policy-files", policyFile(home, NO_PROD), "--toolsets", "ec2"];
    const server = await startHttpServer({ endpoint: proxy.url, home, args });
    const client = await connectHttp(server.url, { era: "modern", key });
    const { tools } = await client.listTools();
    assert.deepEqual(
      tools.map(({ name }) => name),
      ["ec2_list_instances", "ec2_describe_instance", "ec2_start_instance"],
    );
    const prod = await call(client, "ec2_start_instance", { instance_id: fleet.prod.id });
    assert.equal(prod.content.error.kind, "denied");
    assert.deepEqual(prod.content.error.policies, ["no-prod"]);
    const dev = await call(client, "ec2_start_instance", { instance_id: fleet.stoppedDev.id });
    assert.equal(dev.content.changed, true, dev.text);
    const hidden = await call(client, "ec2_stop_instance", { instance_id: fleet.stoppedDev.id });
    assert.equal(hidden.content.error.kind, "denied");
    await client.close();
    await server.stop();
  });

  for (const [what, text, message] of [
    ["malformed", '@id("x") permit (principal', /site\.cedar/],
    [
      "about a tool there is not",
      '@id("x") permit (principal, action == Action::"ec2_launch", resource);',
      /site\.cedar.*x/s,
    ],
    [
      "asking for the tags of reads",
      '@id("x") permit (principal, action in Action::"read", resource) when { resource.hasTag("a") };',
      /site\.cedar.*x/s,
    ],
  ] as const) {
    test(`that are ${what}: the server does not start, and names the file`, async () => {
      for (const command of [[], ["http", "--port", "0"]]) {
        const home = temporaryHome();
        const { code, stderr } = await runCli([...command, "--policy-files", policyFile(home, text)], { home });
        assert.equal(code, 2);
        assert.match(stderr, message);
        assert.doesNotMatch(stderr, /\n\s+at /);
      }
    });
  }

  test("in a file that is not there: the server does not start", async () => {
    const { code, stderr } = await runCli(["--policy-files", "/nowhere.cedar"], { home: temporaryHome() });
    assert.equal(code, 2);
    assert.match(stderr, /Cannot read the policy file \/nowhere\.cedar/);
  });
});

test("a port that is taken is said in a line", async () => {
  const home = temporaryHome();
  const server = await startHttpServer({ endpoint: proxy.url });
  const { code, stderr } = await runCli(["http", "--port", new URL(server.url).port], { home });
  await server.stop();
  assert.equal(code, 2);
  assert.match(stderr, /Cannot listen on 127\.0\.0\.1:\d+/);
  const rows = await readRows(home);
  assert.deepEqual(
    rows.map(({ operation }) => operation),
    ["start", "stop"],
  );
  assert.doesNotMatch(stderr, /\n\s+at /);
});
