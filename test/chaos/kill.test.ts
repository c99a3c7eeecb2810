import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { verifySqliteTrail } from "../../src/audit/test-support.ts";
import { trailFile } from "../../src/audit/trail.ts";
import { CHURN_TOOLS, churn, intentsOf, unrecorded, withoutIntent } from "../support/churn.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { changes, createKeys, launch, readRows, stateDirOf } from "../support/scene.ts";
import { type HttpServerProcess, startHttpServer, temporaryHome } from "../support/server.ts";

// `kill -9` in the middle of writes: whatever reached AWS must have an intent in the trail, and the trail must be whole.

const RUNS = 25;
const INSTANCES = 12;

let moto: Moto;
let proxy: FaultProxy;
let home: string;
let key: string;
let instances: string[];

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  home = temporaryHome();
  ({ admin: key } = await createKeys(home));
  instances = (await launch(proxy.url, { stopped: INSTANCES })).stopped;
});

after(async () => {
  await proxy?.close();
  await moto?.stop();
});

const start = (): Promise<HttpServerProcess> =>
  startHttpServer({
    endpoint: proxy.url,
    home,
    bundled: true,
    args: ["--confirm", "never", "--calls-per-minute", "0"],
  });

const intentsIn = async (dir: string) => intentsOf(await readRows(dir));

test(`kill -9 in ${RUNS} runs of writes: no change without an intent, and the chain verifies`, async (t) => {
  let killedInside = 0;
  const acknowledged = new Set<string>();
  for (let run = 0; run < RUNS; run += 1) {
    const server = await start();
    const before = changes(proxy).length;
    const load = Promise.all(instances.map((id) => churn(server.url, id, key, acknowledged)));
    while (changes(proxy).length < before + 3) await sleep(1);
    await sleep((run * 7) % 60);
    await server.kill();
    await load;
    const inside = changes(proxy).filter((request) => request.abortedByClient).length;
    killedInside = Math.max(killedInside, inside);
    const verified = await verifySqliteTrail({ dir: stateDirOf(home) });
    assert.deepEqual(verified.problems, [], `after run ${run}`);
  }
  const sent = changes(proxy);
  const intents = await intentsIn(home);
  t.diagnostic(`${sent.length} changes, ${intents.length} intents, ${killedInside} cut off on the wire`);
  assert.ok(sent.length >= RUNS * 3);
  assert.ok(killedInside > 0, "no kill hit a change on the wire: the test proves too little");
  assert.deepEqual(withoutIntent(sent, intents), []);
  assert.ok(acknowledged.size >= RUNS);
  assert.deepEqual(unrecorded(acknowledged, await readRows(home)), []);

  // It starts again, and an orderly end covers everything with a signature.
  const server = await start();
  const [instance_id = ""] = instances;
  await rawCall(server.url, { tool: "ec2_describe_instance", args: { instance_id }, key });
  assert.equal(await server.stop(), 0);
  const verified = await verifySqliteTrail({ dir: stateDirOf(home) });
  assert.deepEqual(verified.problems, []);
  assert.equal(verified.covered_until, verified.rows);
});

test("the check would have seen a lost intent, in the trail and on the wire", async () => {
  const sent = changes(proxy);
  const intents = await intentsIn(home);
  const [first, ...rest] = sent;
  assert.ok(first);
  // A request that nobody intended, and one that was sent before its intent was written.
  const stray = { ...first, parameters: { "InstanceId.1": "i-0123456789abcdef0" } };
  assert.deepEqual(withoutIntent([...sent, stray], intents), [stray]);
  const early = { ...first, time: "2000-01-01T00:00:00.000Z" };
  assert.deepEqual(withoutIntent([early, ...rest], intents), [early]);

  const copy = temporaryHome();
  cpSync(stateDirOf(home), stateDirOf(copy), { recursive: true });
  const db = new DatabaseSync(trailFile(stateDirOf(copy)));
  for (const { name } of db.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").all()) {
    db.exec(`DROP TRIGGER "${name}"`);
  }
  const lost = db.prepare("DELETE FROM audit WHERE event = 'intent' AND resource_id = ? AND operation = ?");
  lost.run(String(first.parameters["InstanceId.1"]), String(CHURN_TOOLS[first.operation]));
  db.close();
  assert.ok(withoutIntent(sent, await intentsIn(copy)).length > 0);
  const verified = await verifySqliteTrail({ dir: stateDirOf(copy) });
  assert.ok(verified.problems.some(({ kind }) => kind === "missing_rows"));
});
