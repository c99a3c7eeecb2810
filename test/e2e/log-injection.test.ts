import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { createKeys, readRows } from "../support/scene.ts";
import { runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { initialize, legacyRequest, modernRequest, openSession, post, StdioWire, send } from "../support/wire.ts";

// Whatever somebody sends, the log is one JSON object a line that nobody can forge, and nothing that is printed steers a
// terminal or hides from whoever reads it.

/** Each would be seen, obeyed or skipped by a terminal, a log shipper or an editor. */
const HOSTILE = [
  'x\n{"level":"info","msg":"forged"}',
  'x\r\n{"level":"info","msg":"forged"}\r',
  "\u001b[2J\u001b]0;owned\u0007",
  "\u009b31mred\u0085next",
  "\u202egnp.exe\u2066\u2069\u200f",
  "one\u2028two\u2029three",
  "zero\u200bwidth\ufeff\u00ad",
  `tags${String.fromCodePoint(0xe0041, 0xe0042)}`,
  "back\b\b\bspace\u007f",
  "nul\u0000byte",
];
const ALL = HOSTILE.join("|");
/** A variable and an argument cannot hold NUL. */
const ARGUMENT = HOSTILE.filter((text) => !text.includes("\u0000")).join("|");
/** What a Cedar text may hold, and nobody sees. */
const HIDDEN = "\u202egnp.exe\u2066\u200b\u009b31m\u0085\u2028x";
/** What a header may hold, by RFC 9110 and Node: tabs, and bytes from 0x80. */
const HEADER = "\u009b31m\u0085\u00ad\tx";

const RAW = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|\p{Default_Ignorable_Code_Point}/u;

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

/** The lines of a log, each checked to be one. */
function entries(stderr: string): Record<string, unknown>[] {
  assert.doesNotMatch(stderr, RAW);
  assert.ok(stderr === "" || stderr.endsWith("\n"), "the last line has an end");
  const lines = stderr.split("\n").slice(0, -1);
  const parsed = lines
    .filter((line) => !line.startsWith("Serving MCP on http"))
    .map((line) => {
      assert.match(line, /^\{.*\}$/);
      return JSON.parse(line) as Record<string, unknown>;
    });
  for (const { level, time, msg, service } of parsed) {
    assert.match(String(level), /^(debug|info|warn|error)$/);
    assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.equal(service, "mcp-aws-server");
    assert.notEqual(msg, "forged");
  }
  return parsed;
}

const printable = (text: string, what: string) => assert.doesNotMatch(text.replaceAll("\t", ""), RAW, what);

/** Messages with something hostile in every place of them. */
function messages() {
  const clientInfo = { name: ALL, version: ALL };
  const envelope = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": clientInfo,
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const list = { name: "ec2_list_instances", arguments: { limit: 1 } };
  return [
    modernRequest("tools/call", { ...list, _meta: envelope }),
    modernRequest("tools/call", { name: ALL, arguments: {}, _meta: envelope }),
    modernRequest("tools/call", { name: "ec2_list_instances", arguments: { [ALL]: ALL, region: ALL } }),
    modernRequest("tools/call", { ...list, requestState: ALL, inputResponses: { [ALL]: ALL } }),
    modernRequest("tools/call", { ...list, _meta: { ...envelope, progressToken: ALL, traceparent: ALL, [ALL]: ALL } }),
    modernRequest("tools/call", list, {}, ALL),
    modernRequest("prompts/get", { name: ALL }),
    modernRequest("prompts/get", { name: "investigate_alarm", arguments: { alarm_name: ALL, [ALL]: ALL } }),
    modernRequest("tools/list", { cursor: ALL }),
    modernRequest(ALL, { [ALL]: ALL }),
    { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: ALL, reason: ALL } },
    { jsonrpc: "2.0", id: ALL, result: { [ALL]: ALL } },
    { jsonrpc: "2.0", id: ALL, error: { code: 1, message: ALL } },
    { jsonrpc: ALL, id: ALL, method: ALL },
  ];
}

test("over stdio: user, agent, tool, arguments, ids and lines that are no messages", async () => {
  const home = temporaryHome();
  const user = "\u202ea\nb\u001b[2J\u009b\u2028\u200b";
  for (const era of ["modern", "legacy"] as const) {
    const args = ["--user", user, "--log-level", "debug"];
    const wire = new StdioWire({ home, endpoint: proxy.url, args });
    if (era === "legacy") {
      const greeting = initialize();
      Object.assign(greeting.params, { clientInfo: { name: ALL, version: ALL } });
      await wire.request(greeting);
      for (const [i, { method = "", params }] of messages().entries())
        wire.send(legacyRequest(method, { ...params, _meta: undefined }, `${ALL}${i}`));
    }
    for (const message of messages()) wire.send(message);
    for (const text of [ALL, `{"jsonrpc":"2.0","id":"${ALL}`, JSON.stringify({ [ALL]: ALL }), `["${ALL}"]`])
      for (const line of text.split("\n")) wire.send(line);
    await wire.request(
      era === "legacy" ? legacyRequest("ping", {}, "last") : modernRequest("tools/list", {}, {}, "last"),
    );
    assert.equal(await wire.end(), 0, wire.stderr.slice(-1_000));
    assert.ok(entries(wire.stderr).length > 10, wire.stderr);
    assert.deepEqual(wire.noise, []);
  }
  const rows = await readRows(home);
  assert.ok(
    rows.some(({ body }) => String(body?.agent).includes("forged")),
    "who said that is on record",
  );
});

test("over HTTP: headers, sessions, sources, keys and bodies", async () => {
  const home = temporaryHome();
  const keys = await createKeys(home);
  const server = await startHttpServer({
    endpoint: proxy.url,
    home,
    args: ["--trusted-proxies", "127.0.0.1", "--log-level", "debug", "--calls-per-minute", "0"],
  });
  try {
    const good = { authorization: `Bearer ${keys.admin}` };
    const session = await openSession(server.url, good);
    for (const message of messages()) {
      const method = "method" in message && message.method === ALL ? { "mcp-method": "x" } : {};
      const name = { "mcp-name": encodeURIComponent(ALL) };
      const plain = { "content-type": "application/json", accept: "application/json, text/event-stream" };
      const body = JSON.stringify(message);
      const modern = { ...plain, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", ...name, ...method };
      await send(server.url, { headers: { ...modern, ...good }, body });
      await send(server.url, { headers: { ...modern, "mcp-name": HEADER, ...good }, body });
      await send(server.url, { headers: { ...plain, ...session }, body });
    }
    const list = modernRequest("tools/list");
    const hostile: Record<string, string>[] = [
      { authorization: `Bearer ${HEADER}` },
      { authorization: HEADER },
      { "x-api-key": HEADER },
      { ...good, "mcp-session-id": HEADER },
      { ...good, "mcp-protocol-version": HEADER },
      { ...good, accept: HEADER },
      { ...good, "content-type": `application/json; ${HEADER}` },
      { ...good, origin: HEADER },
      { ...good, "user-agent": HEADER, "last-event-id": HEADER, traceparent: HEADER },
    ];
    for (const forwarded of [
      HEADER,
      `10.0.0.9, ${HEADER}`,
      '10.0.0.9\t{"level":"info"}',
      "[fe80::1%\u009b31m]",
      "fe80::1%eth0\u0085",
    ])
      hostile.push({ "x-forwarded-for": forwarded });
    for (const headers of hostile) {
      const { status } = await post(server.url, list, headers);
      assert.ok([200, 400, 401, 403, 404, 406, 415, 429].includes(status), `${status} to ${JSON.stringify(headers)}`);
    }
    for (const path of ["/\u0009", "/%0a%7b%22level%22%3a%22info%22%7d", "/.well-known/%1b%5b2J"])
      await send(server.url, { method: "GET", path: path.replace("\t", "%09"), headers: good });
  } finally {
    assert.equal(await server.stop(), 0);
  }
  const logged = entries(server.stderr());
  assert.ok(logged.length > 10, server.stderr());
  const sources = logged.filter(({ source }) => source !== undefined).map(({ source }) => String(source));
  assert.ok(sources.length > 0);
  for (const source of sources) assert.match(source, /^[0-9a-f.:]+$/);
});

describe("what the command line prints", () => {
  const home = temporaryHome();
  const cases: [string, string[]][] = [
    ["a setting that is none", ["--region", ARGUMENT]],
    ["a role that is none", ["http", "--role", ARGUMENT]],
    ["an option that is none", [`--${ARGUMENT}`]],
    ["a command that is none", [ARGUMENT]],
    ["a choice that is none", ["policy", "explain", "--as", "a", "--tool", "ec2_stop_instance", "--via", ARGUMENT]],
    ["a file that is not there", ["--policy-files", ARGUMENT]],
    ["a configuration that is not there", ["--config", ARGUMENT]],
    ["a time that is none", ["audit", "query", "--since", ARGUMENT]],
    ["a proxy that is none", ["http", "--trusted-proxies", ARGUMENT]],
    ["a toolset that is none", ["--toolsets", ARGUMENT]],
    ["a key's name", ["keys", "create", "--name", ARGUMENT]],
    ["a key's end", ["keys", "create", "--name", "a", "--expires", ARGUMENT]],
    ["a key that is none", ["keys", "revoke", ARGUMENT]],
    ["a tool that is none", ["policy", "explain", "--as", "a", "--tool", ARGUMENT]],
    ["a bundle that is none", ["audit", "verify", "--bundle", ARGUMENT]],
    ["cases that are none", ["policy", "test", ARGUMENT]],
  ];
  for (const [what, args] of cases)
    test(what, async () => {
      const { code, stdout, stderr } = await runCli(args, { home });
      assert.ok(code !== 0 && code !== null, `${code}`);
      printable(stdout + stderr, what);
      assert.doesNotMatch(stderr, /^\s+at /m);
      assert.ok(stderr.length > 0);
    });

  test("policy explain, about a hostile caller and thing", async () => {
    const about = [
      "--as",
      ARGUMENT,
      "--tool",
      "ec2_stop_instance",
      "--resource",
      ARGUMENT,
      "--tag",
      `${ARGUMENT}=${ARGUMENT}`,
    ];
    for (const json of [[], ["--json"]]) {
      const { code, stdout, stderr } = await runCli(["policy", "explain", ...about, "--state", ARGUMENT, ...json], {
        home,
      });
      assert.equal(code, 0, stderr);
      printable(stdout + stderr, stdout);
      assert.match(stdout, /owned/);
    }
  });

  test("policies and cases with invisible text: check, explain, test", async () => {
    const policies = join(home, "hidden.cedar");
    const condition = `when { resource.id != "${HIDDEN}" }`;
    const head = '@id("hidden") forbid (principal, action == Action::"ec2_stop_instance", resource)';
    writeFileSync(policies, `// ${HIDDEN}\n${head} ${condition};`);
    const broken = join(home, "broken.cedar");
    writeFileSync(broken, '@id("\u202e\u009b31m") forbid (principal, action, resource) when { principal.\u202e };');
    const cases = join(home, "cases.yaml");
    const named = JSON.stringify(ARGUMENT).replaceAll("\u2028", "\\u2028");
    writeFileSync(
      cases,
      `cases:\n  - name: ${named}\n    as: ann\n    role: [operator]\n    tool: ec2_stop_instance\n    resource: i-1\n    expect: run\n`,
    );
    const files = ["--policy-files", policies];
    const commands: [number, string[]][] = [
      [0, ["policy", "check", ...files]],
      [1, ["policy", "check", "--policy-files", broken]],
      [
        0,
        [
          "policy",
          "explain",
          ...files,
          "--as",
          "a",
          "--role",
          "operator",
          "--tool",
          "ec2_stop_instance",
          "--resource",
          "i-1",
        ],
      ],
      [1, ["policy", "test", ...files, cases]],
      [2, ["policy", "test", "--policy-files", broken, cases]],
    ];
    for (const [expected, args] of commands) {
      const { code, stdout, stderr } = await runCli(args, { home });
      assert.equal(code, expected, stdout + stderr);
      printable(stdout + stderr, args.join(" "));
    }
  });

  test("keys list, of a file that somebody wrote by hand", async () => {
    const hand = temporaryHome();
    await createKeys(hand);
    const file = join(hand, "keys.json");
    mkdirSync(hand, { recursive: true });
    const key = { id: "k1", name: "\u202ea\u009b31m", roles: ["viewer"], created_at: "2026-01-01T00:00:00.000Z" };
    writeFileSync(file, JSON.stringify({ version: 1, keys: [{ ...key, expires_at: null, hash: "0".repeat(64) }] }));
    for (const args of [
      ["keys", "list", "--api-keys-file", file],
      ["keys", "list"],
      ["keys", "list", "--json"],
    ]) {
      const { stdout, stderr } = await runCli(args, { home: hand });
      printable(stdout + stderr, args.join(" "));
      assert.ok((stdout + stderr).length > 10);
    }
  });

  test("audit tail and query, of a trail that hostile callers wrote", async () => {
    const home = temporaryHome();
    const wire = new StdioWire({ home, endpoint: proxy.url, args: ["--user", "\u202ea\nb\u009b\u2028\u200b"] });
    for (const message of messages()) wire.send(message);
    await wire.request(modernRequest("tools/list", {}, {}, "last"));
    await wire.end();
    for (const args of [["tail"], ["tail", "--json"], ["query"], ["query", "--json"]]) {
      const { code, stdout, stderr } = await runCli(["audit", ...args], { home });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /ec2_list_instances/);
      printable(stdout + stderr, args.join(" "));
    }
  });
});
