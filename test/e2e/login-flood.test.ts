import assert from "node:assert/strict";
import * as http from "node:http";
import { after, before, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { createKeys, readRows } from "../support/scene.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { headersFor, modernRequest, post } from "../support/wire.ts";

// Somebody tries keys, from the same address as everybody else.

const home = temporaryHome();
const list = modernRequest("tools/list");
const ATTEMPTS = 300;
let server: HttpServerProcess;
let good: Record<string, string>;
let late: Record<string, string>;

async function createKey(name: string) {
  const { stdout } = await runCli(["keys", "create", "--role", "viewer", "--name", name], { home });
  return { authorization: `Bearer ${stdout.trim()}` };
}

before(async () => {
  good = await createKey("good");
  late = await createKey("late");
  server = await startHttpServer({ home });
});
after(() => server?.stop());

test("is mostly refused before the key is looked at; who was in stays in, a new key gets in; trail and log get a few lines", async () => {
  assert.equal((await post(server.url, list, good)).status, 200);
  const statuses: number[] = [];
  for (let i = 0; i < ATTEMPTS; i += 1) {
    const guess = { authorization: `Bearer mcpaws_${String(i).padStart(8, "0")}_${"A".repeat(43)}` };
    const reply = await post(server.url, list, guess);
    statuses.push(reply.status);
    if (reply.status !== 429) continue;
    assert.match(reply.headers["retry-after"] ?? "", /^[1-9]\d*$/);
    assert.equal(reply.json.error?.message, "Too many requests");
  }
  const looked = statuses.filter((status) => status === 401).length;
  assert.ok(looked >= 30 && looked < ATTEMPTS / 2, `${looked} were looked at`);
  assert.equal(statuses.filter((status) => status === 429).length, ATTEMPTS - looked);
  assert.equal((await post(server.url, list, good)).status, 200, "known");
  let refusedLate = 0;
  await eventually(async () => {
    const reply = await post(server.url, list, late);
    if (reply.status === 200) return true;
    assert.deepEqual([reply.status, reply.headers["retry-after"]], [429, "1"]);
    refusedLate += 1;
    return false;
  });
  const unknown = await post(server.url, list);
  assert.equal(unknown.status, 401, "without a key it is told how to get in");
  assert.match(unknown.headers["www-authenticate"] ?? "", /^Bearer /);

  assert.equal(await server.stop(), 0);
  const rows = (await readRows(home)).filter(({ event }) => event === "auth_failure");
  const counts = Object.fromEntries(
    rows.map(({ body }) => {
      const detail = body?.detail as { reason: string; count: number } | undefined;
      return [detail?.reason, detail?.count];
    }),
  );
  assert.deepEqual(counts, { unknown: looked, too_many: ATTEMPTS - looked + refusedLate, missing: 1 });
  const lines = server
    .stderr()
    .split("\n")
    .filter((line) => line.includes("not authenticated"));
  assert.equal(lines.length, 5, "the first of each reason, and how many there were");
});

/** The status of one request, on a connection of its own from one of this machine's addresses. */
async function statusFrom(url: string, from: string, authorization: string): Promise<number | undefined> {
  const { hostname, port, pathname } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const headers = { ...headersFor(list), authorization };
  const target = { hostname, port, path: pathname, method: "POST", localAddress: from, agent: false, headers };
  const request = http.request(target, (response) => response.resume().once("end", () => resolve(response.statusCode)));
  request.once("error", reject).end(JSON.stringify(list));
  return promise;
}

test("who was in stays in, however somebody else spells a good key", async () => {
  const own = temporaryHome();
  const keys = await createKeys(own);
  const other = await startHttpServer({ home: own });
  try {
    const here = (authorization: string) => statusFrom(other.url, "127.0.0.1", authorization);
    const guess = (i: number) => `Bearer mcpaws_${String(i).padStart(8, "0")}_${"A".repeat(43)}`;
    assert.equal(await here(`Bearer ${keys.admin}`), 200);
    for (let i = 0; i < 40; i += 1) await here(guess(i));
    assert.equal(await here(`Bearer ${keys.admin}`), 200, "still in");
    const spellings = ["Bearer", "bearer", "BEARER", "bEARER", "beARER"].map((scheme) => `${scheme} ${keys.viewer}`);
    for (const spelling of spellings) assert.equal(await statusFrom(other.url, "127.0.0.2", spelling), 200);
    const blanks = [2, 3, 10, 100, 1_000].map((count) => `Bearer${" ".repeat(count)}${keys.viewer}`);
    for (const spelling of blanks) assert.equal(await statusFrom(other.url, "127.0.0.2", spelling), 401);
    for (let i = 0; i < 20; i += 1) await here(guess(i));
    for (let i = 0; i < 20; i += 1) assert.equal(await here(`Bearer ${keys.admin}`), 200, "in, after all");
  } finally {
    await other.stop();
  }
});

test("from many addresses of one IPv6 network are one source, from many networks a few rows", async () => {
  const own = temporaryHome();
  await createKeys(own);
  const other = await startHttpServer({ home: own, args: ["--trusted-proxies", "127.0.0.1"] });
  for (let i = 1; i <= 200; i += 1) await post(other.url, list, { "x-forwarded-for": `2001:db8::${i.toString(16)}` });
  for (let i = 1; i <= 200; i += 1)
    await post(other.url, list, { "x-forwarded-for": `2001:db8:${i.toString(16)}::1`, authorization: "Bearer x" });
  await other.stop();
  const details = (await readRows(own))
    .filter(({ event }) => event === "auth_failure")
    .map(({ body }) => body?.detail as { reason: string; source: string; count: number });
  const of = (reason: string) => details.filter((detail) => detail.reason === reason);
  const total = (rows: { count: number }[]) => rows.reduce((sum, { count }) => sum + count, 0);
  assert.equal(total(of("missing")), 200);
  assert.equal(total(of("malformed")), 200);
  // Two of each at most: the minute may end in between.
  assert.ok(of("missing").length <= 2, `${of("missing").length} rows for one network`);
  assert.equal(of("missing")[0]?.source, "2001:db8::1");
  assert.ok(of("malformed").length <= 102, `${of("malformed").length} rows for 200 networks`);
  assert.ok(of("malformed").some(({ source }) => source === "others"));
});
