import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../support/eventually.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import {
  headersFor,
  initialize,
  legacyRequest,
  modernRequest,
  openSession,
  post,
  send,
  sendBytes,
  type WireReply,
} from "../support/wire.ts";

// Who gets in over HTTP, and what is left behind of those who do not.

const list = modernRequest("tools/list");
const running: HttpServerProcess[] = [];

after(() => Promise.all(running.map((server) => server.stop())));

async function start(home = temporaryHome(), args: string[] = []): Promise<HttpServerProcess> {
  const server = await startHttpServer({ home, args });
  running.push(server);
  return server;
}

async function createKey(home: string, name: string, role = "viewer"): Promise<string> {
  const { stdout, stderr } = await runCli(["keys", "create", "--role", role, "--name", name], { home });
  assert.match(stdout, /^mcpaws_/, stderr);
  return stdout.trim();
}

/** Deletes the key a token belongs to. */
async function revoke(home: string, token: string): Promise<void> {
  const { code, stderr } = await runCli(["keys", "revoke", token.split("_")[1] ?? ""], { home });
  assert.equal(code, 0, stderr);
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const tools = (reply: WireReply): string[] => reply.json.result.tools.map((tool: { name: string }) => tool.name);

function assertUnauthorized(reply: WireReply): void {
  assert.equal(reply.status, 401, reply.text);
  assert.match(reply.headers["www-authenticate"] ?? "", /^Bearer /);
  assert.equal(reply.headers["x-content-type-options"], "nosniff");
  assert.equal(reply.json.error?.code, -32001);
  assert.equal(reply.json.error?.message, "Unauthorized", "whoever is refused learns nothing of why");
}

async function rowsOf(home: string, event: string) {
  const { stdout } = await runCli(["audit", "query", "--event", event, "--json"], { home });
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

test("without a key in the world, this machine may look and nothing else", async () => {
  const server = await start();
  const reply = await post(server.url, list);
  assert.equal(reply.status, 200);
  assert.ok(tools(reply).includes("ec2_list_instances"));
  assert.ok(!tools(reply).includes("ec2_stop_instance"));
  const stop = modernRequest("tools/call", {
    name: "ec2_stop_instance",
    arguments: { instance_id: "i-0123456789abcdef0" },
  });
  assert.equal((await post(server.url, stop)).json.result.structuredContent.error.kind, "denied");
  const [row] = (await rowsOf(server.home, "outcome")).map(({ user, result }) => [user, result]);
  assert.deepEqual(row, ["anonymous", "denied"]);
  // Who shows a key that is none is mistaken, and told so.
  assertUnauthorized(await post(server.url, list, bearer("mcpaws_nope")));
});

describe("with keys", () => {
  let server: HttpServerProcess;
  let ci: string;
  let ops: string;

  test("each lets in who has it, by either header", async () => {
    const home = temporaryHome();
    ci = await createKey(home, "ci");
    ops = await createKey(home, "ops", "operator");
    server = await start(home);
    for (const headers of [bearer(ci), { authorization: `bearer ${ci}` }, { "x-api-key": ci }]) {
      const reply = await post(server.url, list, headers);
      assert.equal(reply.status, 200, JSON.stringify(headers));
      assert.ok(!tools(reply).includes("ec2_stop_instance"));
    }
    assert.ok(tools(await post(server.url, list, { "x-api-key": ops })).includes("ec2_stop_instance"));
  });

  test("no key, a wrong key, and what is no key at all", async () => {
    const wrong = `${ci.slice(0, -5)}AAAAA`;
    const swapped = ci.replace(/_[0-9a-f]{8}_/, `_${ops.split("_")[1]}_`);
    const attempts: Record<string, string>[] = [
      {},
      bearer(wrong),
      bearer(swapped),
      bearer(""),
      bearer("mcpaws_00000000_".padEnd(59, "A")),
      { authorization: ci },
      { authorization: `Basic ${btoa(`ci:${ci}`)}` },
      { "x-api-key": "" },
      { "x-api-key": wrong },
      { ...bearer(ci), "x-api-key": ops },
      { authorization: `Bearer ${ci}, Bearer ${ci}` },
    ];
    for (const [i, headers] of attempts.entries()) {
      // Thirty failures are looked at; the thirty-first is another answer.
      for (const method of i < 2 ? ["POST", "GET", "DELETE", "PUT"] : ["POST"]) {
        const all = { "content-type": "application/json", ...headers };
        const reply = await send(server.url, {
          method,
          headers: all,
          ...(method === "POST" && { body: JSON.stringify(list) }),
        });
        assertUnauthorized(reply);
      }
    }
    for (const path of ["/healthz", "/readyz"]) {
      assert.equal((await send(server.url, { method: "GET", path })).status, 200, "health needs no key");
    }
  });

  test("a repeated header is refused, the same or another: what stands in front may have gone by any of them", async () => {
    const body = JSON.stringify(list);
    const lines = Object.entries({ host: "localhost", connection: "close", ...headersFor(list) }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    const status = async (shown: string[]) => {
      const head = ["POST /mcp HTTP/1.1", ...lines, ...shown, `content-length: ${body.length}`];
      return (await sendBytes(server.url, [...head, "", body].join("\r\n"))).slice(0, 12);
    };
    const [asBearer, asKey] = [`Authorization: Bearer ${ci}`, `X-API-Key: ${ci}`];
    for (const shown of [[asBearer], [asKey], [asBearer, asKey]])
      assert.equal(await status(shown), "HTTP/1.1 200", `${shown.length} headers`);
    for (const shown of [
      [asBearer, `authorization: Bearer ${ops}`],
      [`authorization: Bearer ${ops}`, asBearer],
      [asBearer, asBearer],
      [asBearer, "Authorization: Basic Zm9v"],
      [asBearer, "Authorization:"],
      [asKey, asKey],
      [asKey, `x-api-key: ${ops}`],
    ])
      assert.equal(await status(shown), "HTTP/1.1 401", shown.map((line) => line.slice(0, 23)).join());
  });

  test("nobody has to be waited for before that", async () => {
    const head =
      "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    assert.match(await sendBytes(server.url, `${head}the rest never comes`), /^HTTP\/1\.1 401 /);
  });

  test("a session is of no use to anybody but who opened it", async () => {
    const session = await openSession(server.url, bearer(ci));
    assert.equal((await post(server.url, legacyRequest("ping"), session)).status, 200);
    for (const method of ["POST", "GET", "DELETE"]) {
      const body = method === "POST" ? JSON.stringify(legacyRequest("ping")) : undefined;
      const headers = {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        ...session,
        ...bearer(ops),
      };
      const reply = await send(server.url, { method, headers, ...(body && { body }) });
      assert.equal(reply.status, 404, method);
      assert.equal(reply.json.error?.message, "Session not found");
    }
    assert.equal((await post(server.url, legacyRequest("ping"), session)).status, 200, "it still belongs to its owner");
    assertUnauthorized(await post(server.url, legacyRequest("ping"), { ...session, authorization: "" }));
  });

  test("a revoked key stops working, also inside an open session, and its name is no key either", async () => {
    const session = await openSession(server.url, bearer(ops));
    assert.ok(tools(await post(server.url, legacyRequest("tools/list"), session)).includes("ec2_stop_instance"));
    await revoke(server.home, ops);
    await eventually(async () => (await post(server.url, list, bearer(ops))).status === 401);
    assertUnauthorized(await post(server.url, legacyRequest("tools/list"), session));
    const heir = await createKey(server.home, "ops", "viewer");
    await eventually(async () => (await post(server.url, list, bearer(heir))).status === 200);
    const inherited = await post(server.url, legacyRequest("tools/list"), { ...session, ...bearer(heir) });
    assert.equal(inherited.status, 404, "a new key of the same name does not inherit the session and its role");
  });

  test("who was refused is in the trail: a row for each source and reason, not for each attempt", async () => {
    assert.equal((await rowsOf(server.home, "auth_failure")).length, 0, "folded for a minute");
    assert.equal(await server.stop(), 0);
    const rows = await rowsOf(server.home, "auth_failure");
    // Asking again and again until a new key is known is trying keys, too; see login-flood.test.ts.
    const folded = rows.map((row) => row.body.detail).filter(({ reason }) => reason !== "too_many");
    assert.deepEqual(folded.map(({ reason }) => reason).sort(), ["malformed", "missing", "unknown"]);
    for (const { source, count } of folded) {
      assert.match(source, /127\.0\.0\.1$/);
      assert.ok(count >= 4, JSON.stringify(folded));
    }
    const { stdout } = await runCli(["audit", "tail", "-n", "1000", "--json"], { home: server.home });
    for (const token of [ci, ops]) assert.ok(!stdout.includes(token) && !server.stderr().includes(token));
  });
});

test("the first key ends anonymous access, sessions included, and for good", async () => {
  const server = await start();
  const session = await openSession(server.url);
  const anonymous = () => post(server.url, list);
  assert.equal((await anonymous()).status, 200);
  const key = await createKey(server.home, "anonymous");
  const made = performance.now();
  while ((await anonymous()).status === 200) {
    assert.ok(performance.now() - made < 5_000, "a key that was made is not seen");
    await sleep(50);
  }
  assertUnauthorized(await post(server.url, legacyRequest("ping"), session));
  const disguised = await post(server.url, legacyRequest("ping"), { ...session, ...bearer(key) });
  assert.equal(disguised.status, 404, "a key called anonymous does not own what nobody opened");
  await revoke(server.home, key);
  await eventually(async () => (await post(server.url, list, bearer(key))).status === 401);
  assertUnauthorized(await anonymous());
});

describe("refuses to start", () => {
  const home = temporaryHome();
  const refusal = async (args: string[]) => {
    const result = await runCli(["http", "--port", "0", ...args], { home });
    assert.equal(result.code, 2, result.stderr);
    assert.doesNotMatch(result.stderr, /\n\s+at /);
    return result.stderr;
  };

  for (const host of ["0.0.0.0", "::", "192.0.2.1", "mcp.example.com"]) {
    test(`on ${host} without a key`, async () => {
      assert.match(
        await refusal(["--host", host]),
        /Refusing to listen on .* without authentication[\s\S]*keys create/,
      );
    });
  }

  for (const role of ["operator", "admin"]) {
    test(`as ${role} without a key`, async () => {
      assert.match(
        await refusal(["--role", role]),
        new RegExp(`${role} needs a key[\\s\\S]*keys create --role ${role}`),
      );
    });
  }
});

test("with a key it listens on every address, and losing the last key does not open it", async () => {
  const home = temporaryHome();
  const key = await createKey(home, "net");
  const server = await start(home, ["--host", "0.0.0.0"]);
  const url = server.url.replace("0.0.0.0", "127.0.0.1");
  assert.equal((await post(url, list, bearer(key))).status, 200);
  assertUnauthorized(await post(url, initialize()));
  await revoke(home, key);
  await eventually(async () => (await post(url, list, bearer(key))).status === 401);
  assertUnauthorized(await post(url, list));
});
