import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import {
  call,
  connectHttp,
  connectStdio,
  type HttpServerProcess,
  mainFile,
  runCli,
  serverEnv,
  startHttpServer,
  temporaryHome,
} from "../support/server.ts";
import { legacyRequest, modernRequest, openSession, post } from "../support/wire.ts";

const ROLES = ["viewer", "operator", "admin"] as const;

let moto: Moto;
let proxy: FaultProxy;
let http: HttpServerProcess;
const keys: Record<string, string> = {};

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  const home = temporaryHome();
  for (const role of ROLES) {
    keys[role] = (await runCli(["keys", "create", "--role", role, "--name", role], { home })).stdout.trim();
  }
  http = await startHttpServer({ endpoint: proxy.url, home });
});

after(async () => {
  await http?.stop();
  await proxy?.close();
  await moto?.stop();
});

const bearer = (role = "viewer") => ({ authorization: `Bearer ${keys[role]}` });

/** Every way a client of some revision introduces itself, and the revision it ends up with. */
const INTRODUCTIONS = [
  ...["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"].map((version) => ({
    name: `initialize ${version}`,
    version,
    options: { supportedProtocolVersions: [version] },
  })),
  {
    name: "2026-07-28 pinned",
    version: "2026-07-28",
    options: { versionNegotiation: { mode: { pin: "2026-07-28" } } },
  },
  { name: "auto", version: "2026-07-28", options: { versionNegotiation: { mode: "auto" as const } } },
];

for (const transport of ["stdio", "http"] as const) {
  describe(transport, { concurrency: 2 }, () => {
    for (const { name, version, options } of INTRODUCTIONS) {
      test(`${name}: list, call, instructions, ping`, async () => {
        const client = new Client({ name: "matrix", version: "1" }, options);
        await client.connect(
          transport === "http"
            ? new StreamableHTTPClientTransport(new URL(http.url), { requestInit: { headers: bearer() } })
            : new StdioClientTransport({
                command: process.execPath,
                args: [mainFile()],
                env: serverEnv(temporaryHome(), { endpoint: proxy.url }) as Record<string, string>,
                stderr: "ignore",
              }),
        );
        try {
          assert.equal(client.getNegotiatedProtocolVersion(), version);
          assert.match(client.getInstructions() ?? "", /circuit_open/);
          assert.equal(client.getServerVersion()?.name, "mcp-aws-server");
          assert.deepEqual(client.getServerCapabilities(), { tools: {}, prompts: {} });
          const first = await client.listTools();
          assert.ok(first.tools.some((tool) => tool.name === "ec2_list_instances"));
          const reply = await call(client, "ec2_list_instances", { limit: 1 });
          assert.equal(reply.isError, false, reply.text);
          assert.deepEqual(JSON.parse(reply.text), reply.content);
          if (version === "2026-07-28") assert.ok((await client.discover()).supportedVersions.includes(version));
          else assert.deepEqual(await client.ping(), {});
        } finally {
          await client.close();
        }
      });
    }
  });
}

test("a revision nobody has is answered with one the server has", async () => {
  const message = legacyRequest("initialize", {
    protocolVersion: "1999-01-01",
    capabilities: {},
    clientInfo: { name: "old", version: "1" },
  });
  const reply = await post(http.url, message, bearer());
  assert.equal(reply.json.result.protocolVersion, "2025-11-25");

  const future = modernRequest("tools/list");
  future.params._meta["io.modelcontextprotocol/protocolVersion"] = "2099-01-01";
  const refused = await post(http.url, future, { ...bearer(), "mcp-protocol-version": "2099-01-01" });
  assert.equal(refused.status, 400);
  assert.equal(refused.json.error?.code, -32022);
  assert.deepEqual(refused.json.error?.data.supported, ["2026-07-28"]);
});

describe("tools/list", () => {
  const list = async (role: string) => (await post(http.url, modernRequest("tools/list"), bearer(role))).json.result;

  test("says who may cache it, and for how long", async () => {
    const { cacheScope, ttlMs } = await list("viewer");
    assert.equal(cacheScope, "private");
    assert.ok(Number.isInteger(ttlMs) && ttlMs > 0 && ttlMs <= 3_600_000, String(ttlMs));
  });

  test("shows each role what it may use, in both eras and on both transports", async () => {
    const names = async (role: string) => (await list(role)).tools.map((tool: { name: string }) => tool.name);
    const writes = ["ec2_start_instance", "ec2_stop_instance"];
    for (const role of ROLES) {
      const expected = role === "viewer" ? [] : writes;
      const shown: string[] = await names(role);
      assert.ok(shown.includes("ec2_list_instances"), role);
      assert.deepEqual(
        writes.filter((name) => shown.includes(name)),
        expected,
        role,
      );
      const session = await openSession(http.url, bearer(role));
      const legacy = (await post(http.url, legacyRequest("tools/list"), session)).json.result.tools;
      assert.deepEqual(
        legacy.map((tool: { name: string }) => tool.name),
        shown,
      );
    }
    const client = await connectStdio({ era: "legacy", home: temporaryHome() });
    const overStdio = (await client.listTools()).tools.map((tool) => tool.name);
    await client.close();
    assert.deepEqual(overStdio, await names("viewer"));
  });

  test("is the same, byte for byte, whatever connection asks and whoever it says it is", async () => {
    const text = async (capabilities: object, id: number) =>
      JSON.stringify((await post(http.url, modernRequest("tools/list", {}, capabilities, id), bearer())).json.result);
    const first = await text({}, 1);
    assert.equal(await text({ elicitation: {}, sampling: {} }, 2), first);
    const { tools } = JSON.parse(first);
    for (const era of ["legacy", "modern"] as const) {
      const client = await connectHttp(http.url, { era, key: keys.viewer ?? "" });
      const seen = (await client.listTools()).tools;
      await client.close();
      assert.deepEqual(JSON.parse(JSON.stringify(seen)), tools, era);
    }
  });

  test("hints follow from what a tool does", async () => {
    const { tools } = await list("admin");
    const hints = (name: string) => tools.find((tool: { name: string }) => tool.name === name).annotations;
    assert.equal(hints("ec2_list_instances").readOnlyHint, true);
    assert.equal(hints("ec2_start_instance").readOnlyHint, false);
  });
});

test("a tool that is not listed is refused all the same", async () => {
  const client = await connectHttp(http.url, { era: "modern", key: keys.viewer ?? "" });
  const reply = await call(client, "ec2_stop_instance", { instance_id: "i-0123456789abcdef0" });
  await client.close();
  assert.equal(reply.isError, true);
  assert.equal(reply.content.error.kind, "denied");
});

test("what an older client says in the words of the newer protocol counts for nothing", async () => {
  const session = await openSession(http.url, bearer("operator"));
  const _meta = {
    "io.modelcontextprotocol/clientInfo": { name: 5 },
    "io.modelcontextprotocol/clientCapabilities": { elicitation: { form: {} } },
  };
  const call = legacyRequest("tools/call", { name: "ec2_list_instances", arguments: { limit: 1 }, _meta });
  const reply = await post(http.url, call, session);
  assert.equal(reply.json.result?.isError, false, reply.text);
});

test("an unknown tool is -32602, names the tools the caller can use, and is recorded", async () => {
  const call = modernRequest("tools/call", { name: "ec2_nuke_everything", arguments: { really: true } });
  const viewer = await post(http.url, call, bearer("viewer"));
  assert.equal(viewer.json.error?.code, -32602);
  assert.match(viewer.json.error?.message ?? "", /ec2_nuke_everything.*ec2_list_instances/);
  assert.doesNotMatch(viewer.json.error?.message ?? "", /ec2_stop_instance/);

  const session = await openSession(http.url, bearer("admin"));
  const admin = await post(http.url, legacyRequest("tools/call", { name: "ec2_nuke_everything" }), session);
  assert.equal(admin.json.error?.code, -32602);
  assert.match(admin.json.error?.message ?? "", /ec2_stop_instance/);

  const args = ["audit", "query", "--operation", "ec2_nuke_everything", "--json"];
  const rows = (await runCli(args, { home: http.home })).stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual(rows.map((row) => [row.user, row.result]).sort(), [
    ["admin", "not_found"],
    ["viewer", "not_found"],
  ]);
});
