import assert from "node:assert/strict";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { createKeys, stateDirOf } from "../support/scene.ts";
import { type HttpServerProcess, startHttpServer, temporaryHome } from "../support/server.ts";
import {
  headersFor,
  initialize,
  type JsonRpc,
  legacyRequest,
  modernRequest,
  openSession,
  post,
  StdioWire,
  send,
} from "../support/wire.ts";

// What goes wrong is told without the inside of this server: no stack, no file, no ARN, no account.

const INSIDE: Readonly<Record<string, RegExp>> = {
  "a stack": /\bat [\w.<>[\] ]+ \(|\bat file:|\bat async |node:internal/,
  "a file":
    /\/tmp\/|\/home\/|\/work\/|\/src\/|node_modules|\.[jt]s\b|\.cedar\b|\.db\b|\.sqlite\b|\bENOENT\b|\bEACCES\b/,
  "an ARN": /arn:aws/,
  "an account": /(?<!\d)\d{12}(?!\d)/,
  "the store": /SQLITE|\bsqlite\b|\bpg_/i,
};

function assertTellsNothing(text: string, what: string): void {
  for (const [kind, pattern] of Object.entries(INSIDE)) assert.doesNotMatch(text, pattern, `${kind}: ${what}`);
}

/** The errors of a reply: the protocol's, or a tool's. A reply without one is not looked at. */
function errorOf(reply: JsonRpc): unknown {
  return reply.error ?? (reply.result?.isError ? [reply.result.content, reply.result.structuredContent] : undefined);
}

let moto: Moto;
let proxy: FaultProxy;

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
});
after(async () => {
  await proxy?.close();
  await moto?.stop();
});

const LIST = { name: "ec2_list_instances", arguments: { limit: 1 } };
const STOP = { name: "ec2_stop_instance", arguments: { instance_id: "i-0123456789abcdef0" } };
const ODD = [
  "__proto__",
  "constructor",
  "toString",
  "",
  "../../etc/passwd",
  "x".repeat(3_000),
  "\u0000",
  "#{7*7}",
  "%s%n",
];

/** Requests that no client sends, and such as a broken one might. */
function provocations(): JsonRpc[] {
  const prompt = (params: object) => modernRequest("prompts/get", params);
  const hostile = ODD.flatMap((odd) => [
    prompt({ name: odd }),
    prompt({
      name: "investigate_alarm",
      arguments: JSON.parse(`{${JSON.stringify(odd)}:"x","alarm_name":"a"}`) as object,
    }),
    prompt({ name: "investigate_alarm", arguments: { alarm_name: odd, region: odd } }),
    modernRequest("tools/call", { name: odd, arguments: {} }),
    modernRequest("tools/call", { ...LIST, requestState: odd, inputResponses: { confirm: odd } }),
    modernRequest("tools/call", { ...LIST, inputResponses: { confirm: { action: odd, content: { [odd]: odd } } } }),
    modernRequest("tools/list", { cursor: odd }),
    modernRequest(odd),
    modernRequest("server/discover", { [odd]: odd }),
  ]);
  const misshapen = [null, 1, [], {}, "x", true].flatMap((value) => [
    prompt({ name: value }),
    prompt({ name: "investigate_alarm", arguments: value }),
    prompt({ name: "investigate_alarm", arguments: { alarm_name: value } }),
    modernRequest("tools/call", { name: value, arguments: value }),
    modernRequest("tools/call", { ...LIST, arguments: value }),
    modernRequest("tools/call", { ...LIST, requestState: value, inputResponses: value }),
    modernRequest("tools/list", { cursor: value }),
    modernRequest("tools/list", { _meta: value }),
    modernRequest("tools/call", { ...LIST, _meta: { ...modernRequest("x").params, progressToken: value } }),
    { jsonrpc: "2.0", id: 1, method: "tools/call", params: value },
    { jsonrpc: "2.0", id: 1, method: "initialize", params: value },
    { jsonrpc: "2.0", id: 1, method: value } as unknown as JsonRpc,
  ]);
  return [...hostile, ...misshapen];
}

/** What both transports are asked once something under them does not work. */
const usual = () => [
  modernRequest("tools/list"),
  modernRequest("prompts/list"),
  modernRequest("prompts/get", { name: "investigate_alarm", arguments: { alarm_name: "a" } }),
  modernRequest("tools/call", LIST, { elicitation: {} }),
  modernRequest("tools/call", STOP, { elicitation: {} }),
  modernRequest("tools/call", { name: "audit_search", arguments: {} }),
];

describe("over HTTP", () => {
  const running: HttpServerProcess[] = [];
  after(() => Promise.all(running.map((server) => server.stop())));

  async function start(args: string[] = [], home = temporaryHome()) {
    const keys = await createKeys(home);
    // Outside the state directory: a key that is gone ends the answers it was asked with.
    const file = join(home, "keys.json");
    renameSync(join(stateDirOf(home), "api-keys.json"), file);
    const own = ["--calls-per-minute", "0", "--api-keys-file", file];
    const server = await startHttpServer({ endpoint: proxy.url, home, args: [...own, ...args] });
    running.push(server);
    const key = { authorization: `Bearer ${keys.admin}` };
    const session = await openSession(server.url, key);
    /** In both protocols; resolves with the errors. */
    const ask = async (message: JsonRpc): Promise<unknown[]> => {
      const errors: unknown[] = [];
      const body = JSON.stringify(message);
      const { _meta, ...plain } = message.params ?? {};
      const legacy = JSON.stringify(_meta === undefined ? message : { ...message, params: plain });
      const odd =
        typeof message.method !== "string" || !/^[\x20-\x7e]*$/.test(`${message.method}${message.params?.name ?? ""}`);
      const own = odd ? headersFor(modernRequest("ping")) : headersFor(message);
      for (const sent of [
        { headers: { ...stringsOf(own), ...key }, body },
        { headers: { ...headersFor(legacyRequest("ping")), ...session }, body: legacy },
      ]) {
        const reply = await send(server.url, sent);
        const error = errorOf(reply.json);
        if (reply.status >= 400 || error !== undefined) {
          assertTellsNothing(
            error === undefined ? reply.text : JSON.stringify(error),
            `${reply.text}\nto ${body.slice(0, 300)}`,
          );
          errors.push(error ?? reply.text);
        }
      }
      return errors;
    };
    return { server, ask, key };
  }

  const stringsOf = (headers: Record<string, unknown>) =>
    Object.fromEntries(
      Object.entries(headers).filter(([, value]) => typeof value === "string" && value.length < 1_000),
    ) as Record<string, string>;

  test("what no client sends", async () => {
    const { server, ask } = await start();
    let errors = 0;
    for (const message of provocations()) errors += (await ask(message)).length;
    assert.ok(errors > 100, `${errors}`);
    assert.equal(await server.stop(), 0);
  });

  test("other paths, methods and headers", async () => {
    const { server, key } = await start();
    const list = JSON.stringify(modernRequest("tools/list"));
    const headers = { ...headersFor(modernRequest("tools/list")), ...key };
    const plain = { ...headersFor(legacyRequest("tools/list")), ...key };
    for (const options of [
      { path: "/../../etc/passwd", method: "GET" },
      { path: "/mcp/%2e%2e/%2e%2e/src/main.ts", method: "GET" },
      { path: "/.well-known/oauth-protected-resource", method: "GET" },
      { path: "/mcp", method: "PATCH", headers },
      { path: "/mcp", method: "GET", headers },
      { path: "/mcp", method: "DELETE", headers: { ...headers, "mcp-session-id": "x" } },
      { body: list, headers: { ...headers, "content-type": "text/plain" } },
      { body: list, headers: { ...headers, host: "evil.example" } },
      { body: list, headers: { ...headers, origin: "null" } },
      { body: JSON.stringify(legacyRequest("tools/list")), headers: { ...plain, "mcp-session-id": "../../x" } },
      { body: list, headers: { ...headers, "mcp-protocol-version": "1999-01-01" } },
      { body: list, headers: { ...headers, "mcp-method": "tools/call" } },
      { body: list.slice(0, -5), headers },
      { body: "", headers },
      { body: list, headers: { ...headers, authorization: "Bearer nobody" } },
    ]) {
      const reply = await send(server.url, options);
      assert.ok(reply.status >= 400 && reply.status < 500, `${reply.status} to ${JSON.stringify(options)}`);
      assertTellsNothing(reply.text, reply.text);
    }
  });

  test("a state directory that is removed while it runs", async () => {
    const { server, ask, key } = await start();
    rmSync(stateDirOf(server.home), { recursive: true });
    for (let round = 0; round < 3; round += 1) for (const message of usual()) await ask(message);
    assertTellsNothing(await (await fetch(new URL("/readyz", server.url))).text(), "/readyz");
    assert.equal((await post(server.url, modernRequest("tools/list"), key)).status, 200);
  });

  test("a policy that cannot be evaluated", async () => {
    const home = temporaryHome();
    const file = join(home, "overflow.cedar");
    const policy = `@id("overflow") forbid (principal, action, resource) when { context.affected + 9223372036854775807 + 1 > 0 };`;
    writeFileSync(file, policy);
    const { ask } = await start(["--policy-files", file], home);
    const errors = [];
    for (const message of usual()) errors.push(...(await ask(message)));
    assert.ok(JSON.stringify(errors).includes("overflow"), "which policy it was is said");
  });

  test("policies that become unusable, and then are no file any more", async () => {
    const home = temporaryHome();
    const file = join(home, "site.cedar");
    writeFileSync(file, `@id("none") forbid (principal, action, resource) when { context.affected > 1000 };`);
    const { server, ask } = await start(["--policy-files", file], home);
    const ready = async () => (await fetch(new URL("/readyz", server.url))).text();
    for (const spoil of [() => writeFileSync(file, "permit (((("), () => rmSync(file)]) {
      spoil();
      await eventually(async () => (await ready()).includes("cannot be used"), 30_000);
      assertTellsNothing(await ready(), "/readyz");
      for (const message of usual()) await ask(message);
    }
  });
});

describe("over stdio", () => {
  async function errorsOf(wire: StdioWire, messages: JsonRpc[]): Promise<number> {
    for (const message of messages) wire.send(message);
    // Every answer comes before that of a later list, but for calls, which are waited for by their count.
    await wire.request(modernRequest("tools/list", {}, {}, "last"));
    assert.equal(await wire.end(), 0, wire.stderr.slice(-1_000));
    const errors = wire.replies.map(errorOf).filter((error) => error !== undefined);
    for (const error of errors) assertTellsNothing(JSON.stringify(error), JSON.stringify(error).slice(0, 500));
    assert.deepEqual(wire.noise, []);
    return errors.length;
  }

  test("what no client sends", async () => {
    const wire = new StdioWire({ home: temporaryHome(), endpoint: proxy.url });
    for (const line of ["{", "[1]", "null", '"x"', `${"[".repeat(70)}`, '{"jsonrpc":"1.0","id":1}']) wire.send(line);
    assert.ok((await errorsOf(wire, provocations())) > 60);
  });

  test("what a client of before sends wrong", async () => {
    const wire = new StdioWire({ home: temporaryHome(), endpoint: proxy.url });
    await wire.request(initialize());
    assert.ok((await errorsOf(wire, [...provocations(), legacyRequest("initialize", { protocolVersion: 1 })])) > 60);
  });

  test("a state directory that is removed while it runs", async () => {
    const home = temporaryHome();
    const wire = new StdioWire({ home, endpoint: proxy.url, args: ["--role", "admin"] });
    await wire.request(modernRequest("tools/list", {}, {}, "first"));
    rmSync(stateDirOf(home), { recursive: true });
    for (const [i, message] of usual().entries()) await wire.request({ ...message, id: `usual ${i}` });
    await errorsOf(wire, []);
  });
});
