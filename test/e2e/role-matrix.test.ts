import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createPolicyEngine } from "../../src/access/policy/policy.ts";
import type { Principal } from "../../src/core/call.ts";
import type { Effect } from "../../src/core/tool.ts";
import { manifest } from "../../src/manifest.ts";
import { stageAll } from "../../src/tools/stage-support.ts";
import { eventually } from "../support/eventually.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { openScene, readRows, type Scene } from "../support/scene.ts";
import { runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import type { Stage } from "../support/stage.ts";
import { modernRequest, post, StdioWire } from "../support/wire.ts";

// Every caller times every tool times every effect a call of it can have: what is listed, and what becomes of the call.
// What is expected is read from the table of docs/access.md, which knows nothing of the policies.

type Outcome = "denied" | "ran" | "asked" | "asked to type";
type Verdicts = Readonly<Record<Effect, Outcome>>;

const BUILT_IN = ["viewer", "operator", "admin"] as const;
/** In the site's file, with no policy of the site about it. */
const SITE_ROLE = "auditor";
/** The same role, of a caller without a key. */
const OVER_STDIO = "auditor over stdio";
const CALLERS = [...BUILT_IN, SITE_ROLE, OVER_STDIO] as const;
type Caller = (typeof CALLERS)[number];

const EXPECTED: Readonly<Record<Caller, Verdicts>> = readTable(
  readFileSync(join(import.meta.dirname, "../../docs/access.md"), "utf8"),
);

function readTable(page: string): Record<Caller, Verdicts> {
  const cell = (text = ""): Outcome => {
    const outcome = { yes: "ran", "–": "denied", confirmed: "asked", "confirmed, resource id typed": "asked to type" }[
      text
    ];
    assert.ok(outcome, `the table of roles says "${text}"`);
    return outcome as Outcome;
  };
  const onlyAdmin = /What everybody did \(`audit_search`\)[^.]*only `admin` may/.test(page);
  assert.ok(onlyAdmin, "docs/access.md says who may search the trail");
  const rows = BUILT_IN.map((role) => {
    const line = page.split("\n").find((each) => each.startsWith(`| \`${role}\``));
    const [, , read, write, destructive, deploy] = (line ?? "").split("|").map((each) => each.trim());
    const audit = role === "admin" ? "ran" : "denied";
    return [
      role,
      { read: cell(read), audit, write: cell(write), destructive: cell(destructive), deploy: cell(deploy) },
    ];
  });
  const nothing: Verdicts = {
    read: "denied",
    audit: "denied",
    write: "denied",
    destructive: "denied",
    deploy: "denied",
  };
  return { ...Object.fromEntries(rows), [SITE_ROLE]: nothing, [OVER_STDIO]: nothing };
}

/** Calls that are graver than their tool. */
const service = { cluster: "deploy", service: "web" };
const GRAVER: Readonly<Record<string, Partial<Record<Effect, Record<string, unknown>>>>> = {
  ecs_update_service: {
    destructive: { ...service, desired_count: 0, allow_zero: true },
    deploy: { ...service, task_definition: "deploy-web:2" },
  },
};

let scene: Scene;
let auditorKey: string;
let stage: Stage;
let siteHome: string;
let wire: StdioWire;

before(async () => {
  siteHome = temporaryHome();
  const principals = join(siteHome, "principals.yaml");
  writeFileSync(principals, `roles: [${SITE_ROLE}]\n`);
  const roles = ["--principals-file", principals];
  scene = await openScene({ env: { MCP_AWS_CALLS_PER_MINUTE: "0" }, args: roles });
  const create = ["keys", "create", "--role", SITE_ROLE, "--name", SITE_ROLE, ...roles];
  auditorKey = (await runCli(create, { home: scene.server.home })).stdout.trim();
  const key = { authorization: `Bearer ${auditorKey}` };
  // A running server sees a new key within a second or two.
  await eventually(async () => (await post(scene.server.url, modernRequest("tools/list"), key)).status === 200, 30_000);
  stage = await stageAll({
    proxy: scene.proxy,
    async call(tool, args) {
      const { content, result } = await rawCall(scene.server.url, { tool, args, key: scene.keys.admin });
      return { content, isError: result.isError === true, text: result.content[0].text };
    },
  });
  const args = ["--role", SITE_ROLE, ...roles, "--user", SITE_ROLE];
  wire = new StdioWire({ home: siteHome, endpoint: scene.proxy.url, args });
});
after(async () => {
  await wire?.end();
  await scene?.close();
});

interface Reply {
  outcome: Outcome;
  callId: string | undefined;
  said: string;
}

// biome-ignore lint/suspicious/noExplicitAny: a JSON-RPC result of any shape
function outcomeOf(result: any, said: string): Reply {
  const form = result?.inputRequests?.confirm?.params?.requestedSchema;
  const callId = result?._meta?.["mcp-aws-server/call_id"];
  if (form !== undefined) {
    const [field] = Object.keys(form.properties);
    return { outcome: field === "resource_id" ? "asked to type" : "asked", callId, said };
  }
  assert.ok(result?.structuredContent, said);
  const kind = result.structuredContent.error?.kind;
  assert.ok(kind === undefined || kind === "denied", said);
  return { outcome: kind === "denied" ? "denied" : "ran", callId, said };
}

const keyOf = (caller: Exclude<Caller, typeof OVER_STDIO>) => (caller === SITE_ROLE ? auditorKey : scene.keys[caller]);

async function callAs(caller: Caller, tool: string, args: Record<string, unknown>): Promise<Reply> {
  if (caller === OVER_STDIO) {
    const { result, error } = await wire.request(
      modernRequest("tools/call", { name: tool, arguments: args }, { elicitation: {} }),
    );
    return outcomeOf(result, JSON.stringify(result ?? error));
  }
  const { result, error } = await rawCall(scene.server.url, { tool, args, key: keyOf(caller) });
  return outcomeOf(result, JSON.stringify(result ?? error));
}

async function listAs(caller: Caller): Promise<string[]> {
  const message = modernRequest("tools/list");
  const result =
    caller === OVER_STDIO
      ? (await wire.request(message)).result
      : (await post(scene.server.url, message, { authorization: `Bearer ${keyOf(caller)}` })).json.result;
  return result.tools.map(({ name }: { name: string }) => name);
}

const rowsOf = (caller: Caller, callId: string | undefined) =>
  caller === OVER_STDIO ? readRows(siteHome, callId) : scene.rows(callId);

const sent = () => scene.proxy.requests.filter(({ userAgent }) => userAgent?.includes("mcp-aws-server"));
const isLook = (operation: string) => /^(Describe|List|Get|BatchGet)/.test(operation);

test("the manifest and the stage know every tool and every graver effect", () => {
  for (const { name, effects } of manifest) {
    const [, ...graver] = effects;
    assert.ok(stage[name], name);
    assert.deepEqual(Object.keys(GRAVER[name] ?? {}).sort(), [...graver].sort(), name);
  }
});

for (const caller of CALLERS) {
  describe(caller, () => {
    test("sees exactly the tools it may use", async () => {
      const wanted = manifest
        .filter(({ effects: [own] }) => EXPECTED[caller][own] !== "denied")
        .map(({ name }) => name);
      assert.deepEqual((await listAs(caller)).sort(), [...wanted].sort());
    });

    for (const { name, effects } of manifest) {
      const [own, ...graver] = effects;
      // What is only asked about is not done, so that the next caller finds everything as it was.
      for (const effect of [...graver, own]) {
        const expected = EXPECTED[caller][own] === "denied" ? "denied" : EXPECTED[caller][effect];
        test(`${name}, ${effect}: ${expected}`, async () => {
          const args = effect === own ? stage[name]?.calls[0] : GRAVER[name]?.[effect];
          assert.ok(args);
          const from = sent().length;
          const { outcome, callId, said } = await callAs(caller, name, args);
          assert.equal(outcome, expected, said);
          const requests = sent()
            .slice(from)
            .map(({ operation }) => operation);
          if (outcome !== "ran")
            assert.deepEqual(
              requests.filter((operation) => !isLook(operation)),
              [],
            );
          if (EXPECTED[caller][own] === "denied")
            assert.deepEqual(requests, [], "a tool that is not listed asks AWS nothing");
          if (callId === undefined) return; // a question has its call id inside its state
          const rows = await rowsOf(caller, callId);
          assert.equal(rows.at(-1)?.result, outcome === "denied" ? "denied" : "success", said);
          assert.equal(rows.at(-1)?.body?.operation, name);
        });
      }
    }
  });
}

describe("a principal without any role", () => {
  test("could never use a tool, by the policies that decide the calls", async () => {
    const tools = manifest.flatMap(({ name, effects: [own, ...graver] }) => [
      { name, effect: own },
      ...graver.map((effect) => ({ name: `${name}:${effect}`, effect })),
    ]);
    const engine = await createPolicyEngine({ tools, sitePolicies: [] });
    const nobody: Principal = { id: "nobody", roles: [], via: "oauth" };
    for (const { name } of tools) {
      assert.equal(engine.mayEverUse(nobody, name), false, name);
      for (const kind of ["scope", "resource"] as const) {
        const place = { account: "123456789012", region: "us-east-1", type: "x:y", own: false };
        const resource = kind === "scope" ? { kind, ...place } : { kind, ...place, id: "i", state: "s", tags: {} };
        const { verdict } = engine.decide({
          principal: nobody,
          tool: name,
          resource,
          dryRun: false,
          affected: 1,
          recentChanges: 0,
        });
        assert.equal(verdict, "deny", name);
      }
    }
  });
});

test("an excluded tool is nobody's: not listed, not callable, and the attempt is recorded", async () => {
  const excluded = manifest.map(({ name }) => name).filter((name) => name !== "ec2_list_instances");
  const args = ["--exclude-tools", excluded.join(","), "--principals-file", join(siteHome, "principals.yaml")];
  const env = { MCP_AWS_CALLS_PER_MINUTE: "0" };
  const server = await startHttpServer({ endpoint: scene.proxy.url, home: scene.server.home, args, env });
  try {
    const listed = await post(server.url, modernRequest("tools/list"), { authorization: `Bearer ${scene.keys.admin}` });
    assert.deepEqual(
      listed.json.result.tools.map(({ name }: { name: string }) => name),
      ["ec2_list_instances"],
    );
    const from = sent().length;
    const before = (await scene.rows()).length;
    for (const tool of excluded) {
      const { error, result } = await rawCall(server.url, { tool, args: stage[tool]?.calls[0], key: scene.keys.admin });
      assert.equal(result, undefined);
      assert.deepEqual([error?.code, error?.message], [-32602, `Unknown tool: ${tool}. Tools: ec2_list_instances`]);
    }
    assert.equal(sent().length, from);
    const rows = (await scene.rows()).slice(before).filter(({ result }) => result === "not_found");
    assert.deepEqual(rows.map(({ operation }) => operation).sort(), [...excluded].sort());
  } finally {
    await server.stop();
  }
});
