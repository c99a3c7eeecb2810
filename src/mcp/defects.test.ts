import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { modernRequest, openSession, post, send } from "../../test/support/wire.ts";
import type { Log } from "../core/log.ts";
import { type HttpParts, type HttpServer, serveHttp } from "./http.ts";
import { createServerFactory } from "./server.ts";

// A defect anywhere behind the protocol: the client learns that there was one, the log what it said.

const SAYS = "EACCES: /home/ops/state/audit.db of arn:aws:iam::123456789012:role/x";
const broken = (): never => {
  throw new TypeError(SAYS);
};

const logged: unknown[] = [];
const note = (fields: object) => void logged.push(fields);
const log: Log = { debug: note, info: note, warn: note, error: note };
const principal = { id: "ann", roles: ["admin"], via: "api_key" } as const;
const who = { ok: true, principal, valid: () => true } as unknown as ReturnType<HttpParts["admit"]>;
const servers: HttpServer[] = [];

async function start(parts: Partial<HttpParts> = {}): Promise<string> {
  const createServer = createServerFactory({
    ...{ version: "0", handleCall: async () => broken(), toolList: broken, log, stateKey: new Uint8Array(32) },
    prompts: { list: async () => broken(), get: async () => broken() },
  });
  const server = await serveHttp(
    {
      ...{ createServer, admit: () => who, stepUp: async () => undefined, metadata: undefined, log },
      readiness: () => ({ ready: true, reasons: [], notes: [] }),
      ...parts,
    },
    {
      ...{
        host: "127.0.0.1",
        port: 0,
        maxConnections: 10,
        isShared: () => false,
        tls: undefined,
        onRefused: () => true,
      },
      ...{ allowedHosts: ["127.0.0.1"], allowedOrigins: [], maxBodyBytes: 10_000 },
      sessions: { max: 10, maxPerPrincipal: 10, idleMs: 60_000 },
      shares: { maxOpen: 10, messagesPerMinute: 0 },
    },
  );
  servers.push(server);
  return server.url;
}

let url: string;
before(async () => {
  url = await start();
});
after(() => Promise.all(servers.map((server) => server.close())));

for (const [method, params] of [
  ["tools/list", {}],
  ["prompts/list", {}],
  ["prompts/get", { name: "x" }],
  ["tools/call", { name: "x", arguments: {} }],
] as const) {
  for (const era of ["modern", "legacy"] as const) {
    test(`${method}, ${era}: the client is told nothing but that it failed`, async () => {
      logged.length = 0;
      const message = modernRequest(method, params);
      const reply =
        era === "modern"
          ? await post(url, message)
          : await post(url, { ...message, params }, await openSession(url, {}, {}));
      assert.deepEqual(reply.json.error, { code: -32603, message: "Internal error" });
      assert.ok(JSON.stringify(logged).includes(SAYS), "the log says what it was");
    });
  }
}

for (const [what, parts] of Object.entries<Partial<HttpParts>>({
  "who it is from": { admit: broken },
  "a scope that is missing": { stepUp: broken },
})) {
  test(`a defect while looking for ${what} is a 500 without a word more`, async () => {
    logged.length = 0;
    const reply = await post(await start(parts), modernRequest("tools/call", { name: "x", arguments: {} }));
    assert.equal(reply.status, 500);
    assert.deepEqual(reply.json, { jsonrpc: "2.0", error: { code: -32603, message: "Internal error" }, id: null });
    assert.ok(JSON.stringify(logged).includes(SAYS));
  });
}

test("so is one of the health route's", async () => {
  const reply = await send(await start({ readiness: broken }), { method: "GET", path: "/readyz" });
  assert.equal(reply.status, 500);
  assert.ok(!reply.text.includes("EACCES"));
});
