import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readRows } from "../support/scene.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { modernRequest, post } from "../support/wire.ts";

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

test("is refused before the key is looked at; who was in stays in; trail and log get a few lines", async () => {
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
  assert.equal((await post(server.url, list, late)).status, 429, "good, but not seen before: not looked at");
  assert.equal((await post(server.url, list, good)).status, 200, "known");
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
  assert.deepEqual(counts, { unknown: looked, too_many: ATTEMPTS - looked + 1, missing: 1 });
  const lines = server
    .stderr()
    .split("\n")
    .filter((line) => line.includes("not authenticated"));
  assert.equal(lines.length, 5, "the first of each reason, and how many there were");
});
