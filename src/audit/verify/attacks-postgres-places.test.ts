import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import {
  CloudWatchLogsClient,
  CreateLogStreamCommand,
  DeleteLogStreamCommand,
  PutLogEventsCommand,
} from "@aws-sdk/client-cloudwatch-logs";
import { awsClientConfig } from "../../../test/support/client.ts";
import { type ControlUnderTest, openControl } from "../../../test/support/control.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { type Postgres, startPostgres } from "../../../test/support/postgres.ts";
import { ControlLogs } from "../../aws/control-logs.ts";
import { Anchorer } from "../anchors.ts";
import { type Checkpoint, signStatement } from "../checkpoint.ts";
import { startLogSink } from "../sink/cloudwatch-logs.ts";
import type { AnchorReader, AnchorWriter } from "../sink/copies.ts";
import { decodeRow, encodeRow } from "../sink/events.ts";
import { fileAnchorReader, fileAnchorWriter } from "../sink/file-anchors.ts";
import { logAnchorReader, logAnchorWriter, logCopy } from "../sink/log-copy.ts";
import { openPostgresReader } from "../store/postgres-reader.ts";
import { openPostgresState } from "../store/postgres-state.ts";
import { targetOf } from "../store/postgres-support.ts";
import type { AuditStore } from "../store/store.ts";
import { memoryLog, temporaryDirectory } from "../test-support.ts";
import {
  append,
  checkpointsOf,
  copyOf,
  type Found,
  found,
  keys,
  makeTrail,
  openStore,
  restore,
  rewrite,
  type rowsOf,
  signing,
  type Trail,
  tamper,
  verify,
} from "./attacks-postgres-support.ts";
import { digests } from "./attacks-support.ts";

// What the database alone cannot show is found by what lies outside: heads in files and in CloudWatch Logs, and the copy
// of the rows there. The chains are those of attacks-postgres.test.ts, and more where a test says so.

let server: Postgres;
let trail: Awaited<ReturnType<typeof makeTrail>>;
let aws: ControlUnderTest;
let logs: CloudWatchLogsClient;
let groups = 0;
before(async () => {
  aws = await openControl();
  logs = new CloudWatchLogsClient(awsClientConfig(aws.proxy.url, "us-east-1"));
  server = await startPostgres();
  trail = await makeTrail(server);
});
after(async () => {
  await trail?.drop();
  await server?.stop();
  logs?.destroy();
  await aws?.close();
});

interface Places {
  service: ControlLogs;
  group: string;
  writers: AnchorWriter[];
  files: AnchorReader;
  cloudwatch: AnchorReader;
}

async function places(t: TestContext): Promise<Places> {
  groups += 1;
  const group = `/mcp/audit/attacks-${groups}`;
  const service = new ControlLogs(aws.control, group);
  await service.createGroup(400);
  const dir = temporaryDirectory(t);
  return {
    service,
    group,
    writers: [fileAnchorWriter(dir), logAnchorWriter(service)],
    files: fileAnchorReader(dir),
    cloudwatch: logAnchorReader(service),
  };
}

/** Anchors the store's head as a server does. */
async function anchor(store: AuditStore, { writers }: Places): Promise<void> {
  const [file, remote] = writers as [AnchorWriter, AnchorWriter];
  const anchorer = new Anchorer({
    latest: () => store.checkpoint(),
    remote: [remote],
    local: [file],
    log: memoryLog(),
    closeMs: 20_000,
  });
  await anchorer.anchored(undefined);
  await anchorer.close();
  assert.ok(anchorer.health().every(({ number }) => number > 0));
}

const problemsOf = async (at: Trail, options: Parameters<typeof verify>[1] = {}): Promise<Found[]> =>
  found(at, (await verify(at, options)).problems);

async function anchorAll(at: Trail, { writers }: Places): Promise<void> {
  await tamper(at.superuser, async (client) => {
    for (const chain of at.chains)
      for (const checkpoint of await checkpointsOf(client, chain))
        for (const writer of writers) await writer.anchor(checkpoint);
  });
}

/** Verifies clean, attacks, and looks with each place, with all keys and with the public one alone. */
async function attacked(
  t: TestContext,
  attack: string | Parameters<typeof tamper>[1],
  expected: { alone: Found[]; anchored: Found[] },
): Promise<void> {
  const copy = await copyOf(trail, t);
  const outside = await places(t);
  await anchorAll(copy, outside);
  const both = [outside.files, outside.cloudwatch];
  const whole = await verify(copy, { anchors: both });
  // A file holds the last head of each chain, the log group all of them.
  assert.deepEqual([whole.problems, whole.anchors_checked], [[], 3 + 8]);
  await tamper(copy.superuser, attack);
  for (const publicOnly of [false, true]) {
    assert.deepEqual(await problemsOf(copy, { publicOnly }), expected.alone);
    for (const place of both)
      assert.deepEqual(await problemsOf(copy, { publicOnly, anchors: [place] }), expected.anchored, place.name);
  }
}

test("the newest writer dropped, rows and checkpoints: nobody in the database names it, an anchor does", async (t) => {
  const [, , c = ""] = trail.chains;
  await attacked(
    t,
    `DELETE FROM audit.trail WHERE writer = '${c}'; DELETE FROM audit.checkpoints WHERE writer = '${c}'`,
    { alone: [], anchored: [["dropped_writer", "c", 1, 10]] },
  );
});

test("the newest writer's tail cut, with its checkpoint", async (t) => {
  const [, , c = ""] = trail.chains;
  await attacked(
    t,
    `DELETE FROM audit.trail WHERE writer = '${c}' AND seq > 4; DELETE FROM audit.checkpoints WHERE writer = '${c}' AND seq > 4`,
    { alone: [], anchored: [["rolled_back", "c", 5, 10]] },
  );
});

test("the last checkpoint deleted", async (t) => {
  const [a = ""] = trail.chains;
  await attacked(t, `DELETE FROM audit.checkpoints WHERE writer = '${a}' AND number = 4`, {
    alone: [],
    anchored: [["missing_checkpoint", "a", 100, 100]],
  });
});

test("everything deleted", async (t) => {
  await attacked(t, "TRUNCATE audit.trail; DELETE FROM audit.checkpoints; DELETE FROM audit.meta", {
    alone: [],
    anchored: [
      ["dropped_writer", "a", 1, 100],
      ["dropped_writer", "b", 1, 15],
      ["dropped_writer", "c", 1, 10],
    ],
  });
});

test("a writer cloned with its keys: the other continuation, rewritten and signed, is a fork", async (t) => {
  const [, , c = ""] = trail.chains;
  await attacked(
    t,
    async (client) => {
      const rows = await rewrite(client, c, 5, (body) => body.replace('"ann"', '"bob"'));
      await signAgain(client, rows);
    },
    { alone: [], anchored: [["forked", "c", 10, 10]] },
  );
});

async function signAgain(client: Parameters<typeof rowsOf>[0], rows: Awaited<ReturnType<typeof rowsOf>>) {
  const last = rows.at(-1);
  assert.ok(last);
  const [, old] = await checkpointsOf(client, last.writer);
  assert.ok(old);
  const digest = digests(rows).at(-1) ?? last.mac;
  const { mac, signature }: Checkpoint = signStatement(signing, { ...old, mac: last.mac, digest });
  await client.query(
    "UPDATE audit.checkpoints SET mac = $2, digest = $3, signature = $4 WHERE writer = $1 AND number = 2",
    [last.writer, mac, digest, signature].map((value) => (typeof value === "string" ? value : Buffer.from(value))),
  );
}

test("the whole database put back to an earlier copy of itself", { timeout: 60_000 }, async (t) => {
  const copy = await copyOf(trail, t);
  const outside = await places(t);
  const anchors = [outside.files, outside.cloudwatch];
  const store = openStore(copy.writer);
  t.after(() => store.close());
  await append(store, 5);
  await anchor(store, outside);
  // The store loses its connection here, and goes on with its chain.
  const earlier = await copyOf(copy, t);
  await eventually(() =>
    append(store, 1).then(
      () => true,
      () => false,
    ),
  );
  await append(store, 4);
  await anchor(store, outside);
  await store.close();
  const later = openStore(copy.writer);
  await append(later, 2);
  await anchor(later, outside);
  await later.close();
  const whole = await verify(copy, { anchors });
  assert.deepEqual([whole.problems, whole.rows], [[], 130 + 11 + 3]);
  copy.chains = [...copy.chains, ...started(whole.chains, copy)];
  await restore(copy, earlier);
  for (const publicOnly of [false, true]) {
    assert.deepEqual(await problemsOf(copy, { publicOnly }), []);
    for (const place of anchors) {
      assert.deepEqual(await problemsOf(copy, { publicOnly, anchors: [place] }), [
        ["rolled_back", "d", 7, 11],
        ["dropped_writer", "e", 1, 3],
      ]);
    }
  }
});

/** Names of the chains that began since, the longer first. */
function started(chains: readonly { writer: string; rows: number }[], { chains: known }: Trail): string[] {
  const fresh = chains.filter(({ writer }) => !known.includes(writer)).sort((x, y) => y.rows - x.rows);
  return fresh.map(({ writer }) => writer);
}

/** A copy of the trail, all of it in a log group by way of the sink. */
async function copied(t: TestContext) {
  const at = await copyOf(trail, t);
  const { service, group } = await places(t);
  const state = openPostgresState(targetOf(at.writer));
  t.after(() => state.close());
  const sink = startLogSink({
    service,
    openReader: () => openPostgresReader(targetOf(at.writer)),
    state,
    mac: keys.mac,
    writer: () => undefined,
    log: memoryLog(),
    ownIntervalMs: 20,
    othersIntervalMs: 50,
  });
  t.after(() => sink.close());
  await eventually(
    async () => [...(await state.shipped()).values()].reduce((sum, seq) => sum + seq, 0) === 130,
    30_000,
  );
  await sink.close();
  const look = async (options: Parameters<typeof verify>[1] = {}) =>
    verify(at, { copy: logCopy(service, 400), shipped: await state.shipped(), ...options });
  for (const publicOnly of [false, true]) {
    const { problems, copy } = await look({ publicOnly });
    assert.deepEqual(problems, []);
    assert.deepEqual([copy?.rows, copy?.matched, copy?.not_yet_copied], [130, 130, 0]);
  }
  const [a = "", b = "", c = ""] = at.chains;
  return { at, service, group, look, a, b, c };
}

test("a log stream deleted: its rows are missing in the copy, but those too fresh to be judged", async (t) => {
  const { at, group, look, b } = await copied(t);
  await logs.send(new DeleteLogStreamCommand({ logGroupName: group, logStreamName: `rows/${b}` }));
  for (const publicOnly of [false, true]) {
    const { problems, copy } = await look({ publicOnly });
    // Row 1, the start of the chain, was recorded moments ago.
    assert.deepEqual(found(at, problems), [["missing_in_copy", "b", 2, 20]]);
    assert.deepEqual([copy?.matched, copy?.not_yet_copied], [110, 1]);
  }
});

test("the log group emptied", async (t) => {
  const { at, group, look, a, b, c } = await copied(t);
  for (const chain of [a, b, c])
    await logs.send(new DeleteLogStreamCommand({ logGroupName: group, logStreamName: `rows/${chain}` }));
  assert.deepEqual(found(at, (await look()).problems), [
    ["missing_in_copy", "a", 1, 100],
    ["missing_in_copy", "b", 2, 20],
    ["missing_in_copy", "c", 2, 10],
  ]);
});

test("a log stream put back without some rows, and with one edited", async (t) => {
  const { at, service, group, look, c } = await copied(t);
  const stream = { logGroupName: group, logStreamName: `rows/${c}` };
  const messages: string[] = [];
  for await (const page of service.messages(stream.logStreamName)) messages.push(...page);
  await logs.send(new DeleteLogStreamCommand(stream));
  await logs.send(new CreateLogStreamCommand(stream));
  const logEvents = messages.flatMap((message) => {
    const row = decodeRow(message);
    assert.ok(row);
    if (row.seq === 4 || row.seq === 5) return [];
    const edited = { ...row, body: Buffer.from(Buffer.from(row.body).toString().replace('"ann"', '"bob"')) };
    return { timestamp: Date.now(), message: row.seq === 8 ? encodeRow(edited) : message };
  });
  await logs.send(new PutLogEventsCommand({ ...stream, logEvents }));
  assert.deepEqual(found(at, (await look()).problems), [
    ["missing_in_copy", "c", 4, 5],
    ["forged_copy", "c", 8, 8],
    ["missing_in_copy", "c", 8, 8],
  ]);
  // Without the MAC key nobody can say which of the two is the edited one, but for the signature.
  assert.deepEqual(found(at, (await look({ publicOnly: true })).problems), [
    ["missing_in_copy", "c", 4, 5],
    ["differs_from_copy", "c", 8, 8],
  ]);
  await logs.send(new PutLogEventsCommand({ ...stream, logEvents: [{ timestamp: Date.now(), message: "a note" }] }));
  assert.ok(found(at, (await look()).problems).some(([kind, chain]) => kind === "forged_copy" && chain === "c"));
});

test("rows deleted from the store are named by the copy", async (t) => {
  const { at, look, a, c } = await copied(t);
  await tamper(
    at.superuser,
    `DELETE FROM audit.trail WHERE writer = '${a}' AND seq BETWEEN 50 AND 55;
     DELETE FROM audit.trail WHERE writer = '${c}' AND seq > 1; DELETE FROM audit.checkpoints WHERE writer = '${c}' AND seq > 1`,
  );
  assert.deepEqual(await problemsOf(at), [["missing_rows", "a", 50, 55]]);
  assert.deepEqual(found(at, (await look()).problems), [
    ["missing_in_store", "a", 50, 55],
    ["missing_rows", "a", 50, 55],
    ["missing_in_store", "c", 2, 10],
  ]);
  await tamper(
    at.superuser,
    `DELETE FROM audit.trail WHERE writer = '${c}'; DELETE FROM audit.checkpoints WHERE writer = '${c}'`,
  );
  const gone = found(at, (await look({ publicOnly: true })).problems);
  assert.deepEqual(
    gone.filter(([, chain]) => chain === "c"),
    [["missing_in_store", "c", 1, 10]],
  );
});

test("a tail rewritten with both keys, signed and all, differs from the copy", async (t) => {
  const { at, look, c } = await copied(t);
  await tamper(at.superuser, async (client) => {
    await signAgain(client, await rewrite(client, c, 8, (body) => body.replace('"ann"', '"bob"')));
  });
  for (const publicOnly of [false, true]) {
    assert.deepEqual(await problemsOf(at, { publicOnly }), []);
    assert.deepEqual(found(at, (await look({ publicOnly })).problems), [["differs_from_copy", "c", 8, 10]]);
  }
});

test("the cursor put forward over rows that never arrived: they are missing", async (t) => {
  const { at, look } = await copied(t);
  const store = openStore(at.writer);
  await append(store, 3);
  await store.close();
  const fresh = await look();
  assert.deepEqual([fresh.problems, fresh.copy?.not_yet_copied], [[], 4]);
  await tamper(
    at.superuser,
    `INSERT INTO state.shipped SELECT writer, 4 FROM audit.trail GROUP BY writer HAVING count(*) = 4`,
  );
  at.chains.push(...started(fresh.chains, at));
  assert.deepEqual(found(at, (await look()).problems), [["missing_in_copy", "d", 2, 4]]);
});
