import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import {
  CreateClusterCommand,
  CreateServiceCommand,
  ECSClient,
  RegisterTaskDefinitionCommand,
} from "@aws-sdk/client-ecs";
import { CreateDBInstanceCommand, CreateDBSnapshotCommand, RDSClient } from "@aws-sdk/client-rds";
import { awsClientConfig } from "../../test/support/client.ts";
import { eventually } from "../../test/support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../../test/support/fault-proxy.ts";
import { type Moto, startMoto } from "../../test/support/moto.ts";
import { launch, readRows, stateDirOf } from "../../test/support/scene.ts";
import { temporaryHome } from "../../test/support/server.ts";
import { openIntentsOf } from "../audit/open-intents.ts";
import { searchOf } from "../audit/search.ts";
import { openSqliteReader } from "../audit/store/sqlite-reader.ts";
import { openSqliteState } from "../audit/store/sqlite-state.ts";
import { memoryLog, openTrail } from "../audit/test-support.ts";
import { type Trail, trailFile } from "../audit/trail.ts";
import { AwsClients } from "../aws/clients.ts";
import type { AuditEvent } from "../core/audit.ts";
import type { Principal } from "../core/call.ts";
import { type Instance, instanceText, thisInstance } from "../core/instance.ts";
import { catalog } from "../tools/catalog.ts";
import { createCallHandler } from "./handle-call.ts";
import { Limits } from "./limits.ts";
import { createReconciler, type ReconcileParts } from "./reconcile.ts";
import { UsedHere } from "./used-answers.ts";

// The real tools, trail, leases and AWS clients. A process that died is one whose outcomes reach no trail.

const ADMIN: Principal = { id: "ann", roles: ["admin"], via: "api_key" };
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** A later run of this process: what this one began, nobody will end. */
const LATER: Instance = { ...thisInstance(), run: "ffffffff" };
const NOTHING = { confirmed: 0, unknown: 0, pending: 0 };

let moto: Moto;
let proxy: FaultProxy;
let clients: AwsClients;
const env = { ...process.env };

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  Object.assign(process.env, {
    AWS_ACCESS_KEY_ID: "testing",
    AWS_SECRET_ACCESS_KEY: "testing",
    AWS_ENDPOINT_URL: proxy.url,
  });
  clients = new AwsClients({
    region: "us-east-1",
    version: "test",
    breaker: { failureThreshold: 1_000, resetTimeoutMs: 60_000, halfOpenMaxCalls: 3 },
  });
});
after(async () => {
  clients?.destroy();
  await proxy?.close();
  await moto?.stop();
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
  Object.assign(process.env, env);
});

interface Site {
  home: string;
  trail: Trail;
  log: ReturnType<typeof memoryLog>;
  /** A call whose process dies before it can record the outcome; `reaches`: whether AWS carries the change out. */
  die(tool: string, args: object, options?: { change?: string; reaches?: boolean }): Promise<void>;
  /** The parts of a server that comes after. */
  parts(changes?: Partial<ReconcileParts>): ReconcileParts;
  outcomes(): Promise<{ result: string | null; detail: Record<string, unknown>; error: unknown; body: object }[]>;
}

function site(t: TestContext): Site {
  const home = temporaryHome();
  const dir = stateDirOf(home);
  const log = memoryLog();
  const trail = openTrail({ dir, log });
  t.after(() => trail.close());
  t.after(() => proxy.clearRules());
  const openReader = () => openSqliteReader(trailFile(dir));
  const common = {
    catalog,
    aws: {
      account: async () => proxy.accountId,
      session: (actions: Parameters<AwsClients["session"]>[0], signal: AbortSignal) => clients.session(actions, signal),
    },
    trail: searchOf(openReader),
    redact: trail.redact,
    log,
    shutdown: new AbortController().signal,
    options: {
      confirm: "never" as const,
      deadlineS: 30,
      site: { maxScaleFactor: 10, imageRepositories: ["registry.example/*"] },
    },
  };
  const call = createCallHandler({
    ...common,
    audit: { commit: (event) => trail.commit(event), record: async () => "lost" },
    policy: async () => ({
      mayEverUse: () => true,
      decide: () => ({ verdict: "run", policies: [], reason: "" }),
    }),
    limits: new Limits({ maxCalls: 10, maxWaits: 10 }),
    excess: { add: () => true },
    usedAnswers: new UsedHere(),
    isOwn: () => false,
  });
  return {
    home,
    trail,
    log,
    async die(tool, args, { change, reaches = true } = {}) {
      const rule = reaches
        ? undefined
        : proxy.ruleFirst({ ...(change && { operation: change }), fault: { kind: "denied" } });
      await call({
        tool,
        arguments: args,
        principal: ADMIN,
        agent: undefined,
        transport: "http",
        signal: new AbortController().signal,
        progress: () => {},
        canAsk: undefined,
        answer: undefined,
        traceId: undefined,
      });
      rule?.remove();
      assert.deepEqual(
        (await readRows(home)).filter(({ event }) => event === "intent").at(-1)?.operation,
        tool,
        "no intent was written",
      );
    },
    parts(changes = {}) {
      const state = openSqliteState(join(dir, "state.db"));
      t.after(() => state.close());
      return {
        ...common,
        audit: trail,
        intents: openIntentsOf({ openReader, state }),
        here: LATER,
        settled: () => true,
        ...changes,
      };
    },
    async outcomes() {
      const rows = (await readRows(home)).filter(({ event }) => event === "outcome");
      return rows.map(({ result, body }) => ({
        result,
        detail: body?.detail as Record<string, unknown>,
        error: body?.error,
        body: body ?? {},
      }));
    },
  };
}

/** What an intent looks like, for those that no call of today would write. */
function intent(fields: Partial<AuditEvent>): AuditEvent {
  return {
    event: "intent",
    call_id: crypto.randomUUID(),
    timestamp: new Date().toISOString(),
    user: "ann",
    roles: ["admin"],
    authenticated_via: "api_key",
    agent: undefined,
    transport: "http",
    operation: "ec2_start_instance",
    effect: "write",
    resource_type: "ec2:instance",
    resource_id: "i-0123456789abcdef0",
    region: "us-east-1",
    account: proxy.accountId,
    arguments: { instance_id: "i-0123456789abcdef0" },
    result: "pending",
    ...fields,
  };
}

const instance = async (state: "running" | "stopped"): Promise<string> => {
  const made = await launch(proxy.url, { [state]: 1 });
  return made[state][0] ?? "";
};

let names = 0;
const unique = (): string => {
  names += 1;
  return `thing-${names}`;
};

async function ecsService(): Promise<{ cluster: string; service: string; family: string }> {
  const ecs = new ECSClient(awsClientConfig(proxy.url, "us-east-1"));
  const [cluster, service, family] = [unique(), unique(), unique()];
  await ecs.send(new CreateClusterCommand({ clusterName: cluster }));
  const containerDefinitions = [{ name: "app", image: "registry.example/team/web:1", memory: 128 }];
  for (let i = 0; i < 2; i += 1) await ecs.send(new RegisterTaskDefinitionCommand({ family, containerDefinitions }));
  await ecs.send(
    new CreateServiceCommand({ cluster, serviceName: service, taskDefinition: `${family}:1`, desiredCount: 1 }),
  );
  ecs.destroy();
  return { cluster, service, family };
}

async function database(): Promise<{ db: string; snapshot: string }> {
  const rds = new RDSClient(awsClientConfig(proxy.url, "us-east-1"));
  const [db, snapshot] = [unique(), unique()];
  await rds.send(
    new CreateDBInstanceCommand({
      DBInstanceIdentifier: db,
      DBInstanceClass: "db.t3.micro",
      Engine: "postgres",
      AllocatedStorage: 20,
      MasterUsername: "admin1",
      MasterUserPassword: "not-a-secret-1",
    }),
  );
  await rds.send(new CreateDBSnapshotCommand({ DBInstanceIdentifier: db, DBSnapshotIdentifier: snapshot }));
  rds.destroy();
  return { db, snapshot };
}

/** A call of every tool that changes something: the change it sends, and its arguments, with all they need made. */
const CHANGES: Record<string, { change: string; args: () => Promise<object>; provable?: false }> = {
  ec2_start_instance: { change: "StartInstances", args: async () => ({ instance_id: await instance("stopped") }) },
  ec2_stop_instance: { change: "StopInstances", args: async () => ({ instance_id: await instance("running") }) },
  ecs_update_service: {
    change: "UpdateService",
    args: async () => {
      const { cluster, service, family } = await ecsService();
      return { cluster, service, desired_count: 3, task_definition: `${family}:2` };
    },
  },
  ecs_register_task_definition: {
    change: "RegisterTaskDefinition",
    args: async () => ({ task_definition: `${(await ecsService()).family}:2`, cpu_units: 256 }),
    provable: false,
  },
  ecs_deregister_task_definition: {
    change: "DeregisterTaskDefinition",
    args: async () => ({ task_definition: `${(await ecsService()).family}:2` }),
  },
  rds_create_snapshot: {
    change: "CreateDBSnapshot",
    args: async () => ({ db_instance_id: (await database()).db, snapshot_id: unique() }),
  },
  rds_delete_snapshot: {
    change: "DeleteDBSnapshot",
    args: async () => ({ snapshot_id: (await database()).snapshot }),
  },
};

test("every tool that changes something is in this file", () => {
  const tools = catalog.filter(({ effect }) => effect !== "read" && effect !== "audit").map(({ name }) => name);
  assert.deepEqual(tools.sort(), Object.keys(CHANGES).sort());
});

for (const [tool, { change, args, provable }] of Object.entries(CHANGES)) {
  describe(tool, () => {
    for (const reaches of [true, false]) {
      const confirmed = reaches && provable !== false;
      test(`${reaches ? "carried out" : "never carried out"}: ${confirmed ? "confirmed" : "unknown"}`, async (t) => {
        const { die, parts, outcomes, home } = site(t);
        await die(tool, await args(), { change, reaches });
        proxy.clearRequests();
        const round = await createReconciler(parts()).round();
        assert.deepEqual(round, { ...NOTHING, [confirmed ? "confirmed" : "unknown"]: 1 });
        const [outcome, ...more] = await outcomes();
        assert.deepEqual(more, []);
        assert.deepEqual(
          [outcome?.result, outcome?.detail.reconciled],
          confirmed ? ["success", "confirmed"] : ["unknown_outcome", "unknown"],
        );
        if (provable === false) assert.match(String(outcome?.detail.why), /no state can prove/);
        else if (!reaches) assert.match(String(outcome?.detail.why), /not as the call wanted/);
        const [begun, ended] = (await readRows(home)).filter(({ operation }) => operation === tool);
        for (const field of ["call_id", "user", "resource_type", "resource_id", "region", "account"] as const)
          assert.equal(ended?.[field], begun?.[field], field);
        assert.ok(proxy.requests.length > 0 && proxy.requests.every(({ operation }) => operation !== change));
        assert.deepEqual(await createReconciler(parts()).round(), NOTHING);
      });
    }
  });
}

test("what no state can tell apart is not confirmed", async (t) => {
  const { die, parts, outcomes } = site(t);
  await die("rds_create_snapshot", { db_instance_id: (await database()).db });
  const { service, cluster } = await ecsService();
  await die("ecs_update_service", { cluster, service, force_new_deployment: true });
  assert.deepEqual(await createReconciler(parts()).round(), { ...NOTHING, unknown: 2 });
  for (const { result } of await outcomes()) assert.equal(result, "unknown_outcome");
});

test("a rehearsal is cancelled, whatever the state", async (t) => {
  const { trail, parts, outcomes } = site(t);
  const id = await instance("running");
  await trail.commit(intent({ resource_id: id, arguments: { instance_id: id, dry_run: true } }));
  await createReconciler(parts()).round();
  assert.equal((await outcomes())[0]?.result, "cancelled");
});

describe("an intent that cannot be judged by its row is unknown", () => {
  const cases: [string, Partial<AuditEvent>, RegExp][] = [
    ["a tool that is no more", { operation: "ec2_reboot_instance" }, /no such tool any more/],
    [
      "arguments that were cut",
      { arguments: { instance_id: "i-1", note: "x".repeat(200_000) } },
      /not on record in full/,
    ],
    ["arguments with a secret", { arguments: { instance_id: "AKIAIOSFODNN7EXAMPLE" } }, /not on record in full/],
    ["no arguments", { arguments: undefined }, /not on record in full/],
    ["arguments of another version", { arguments: { instance: "i-0123456789abcdef0" } }, /do not fit the tool/],
  ];
  for (const [name, fields, why] of cases) {
    test(name, async (t) => {
      const { trail, parts, outcomes } = site(t);
      await trail.commit(intent(fields));
      proxy.clearRequests();
      assert.deepEqual(await createReconciler(parts()).round(), { ...NOTHING, unknown: 1 });
      const [outcome] = await outcomes();
      assert.equal(outcome?.result, "unknown_outcome");
      assert.match(String(outcome?.detail.why), why);
      assert.deepEqual(proxy.requests, [], "AWS is not asked about what is not known");
    });
  }

  test("arguments that are hidden by their place", async (t) => {
    const { die, parts, outcomes } = site(t);
    const { family } = await ecsService();
    const environment = [{ container: "app", name: "MODE", value: "hunter2-planted" }];
    await die("ecs_register_task_definition", { task_definition: `${family}:2`, environment });
    await createReconciler(parts()).round();
    const [outcome] = await outcomes();
    assert.match(String(outcome?.detail.why), /not on record in full/);
    assert.ok(!JSON.stringify(outcome).includes("hunter2"));
  });
});

describe("AWS cannot be asked", () => {
  for (const [name, answer, why] of [
    ["it is down", "down", /^AWS could not be asked: /],
    ["it was for another account", "account", /another AWS account/],
  ] as const) {
    test(`${name}: asked again for an hour, then unknown`, async (t) => {
      const { die, parts, outcomes } = site(t);
      await die("ec2_start_instance", { instance_id: await instance("stopped") });
      const other = { ...parts().aws, account: async () => "999999999999" };
      if (answer === "down") proxy.rule({ operation: "DescribeInstances", fault: { kind: "denied" } });
      let now = Date.now();
      const changes = { now: () => now, ...(answer === "account" && { aws: other }) };
      const reconciler = createReconciler(parts(changes));
      for (const minutes of [0, 30, 29]) {
        now += minutes * MINUTE_MS;
        assert.deepEqual(await reconciler.round(), { ...NOTHING, pending: 1 });
      }
      assert.deepEqual(await outcomes(), []);
      now += MINUTE_MS;
      assert.deepEqual(await reconciler.round(), { ...NOTHING, unknown: 1 });
      const [outcome] = await outcomes();
      assert.equal(outcome?.result, "unknown_outcome");
      assert.match(String(outcome?.detail.why), why);
    });
  }

  test("it comes back within the hour: confirmed", async (t) => {
    const { die, parts, outcomes } = site(t);
    await die("ec2_start_instance", { instance_id: await instance("stopped") });
    const down = proxy.rule({ operation: "DescribeInstances", fault: { kind: "denied" } });
    const reconciler = createReconciler(parts());
    assert.equal((await reconciler.round()).pending, 1);
    down.remove();
    assert.equal((await reconciler.round()).confirmed, 1);
    assert.equal((await outcomes()).length, 1);
  });
});

describe("whose process still may end the call", () => {
  const dead = Number(execFileSync(process.execPath, ["-p", "process.pid"], { encoding: "utf8" }));
  const { host, pid, run } = thisInstance();
  const cases: [string, string | undefined, boolean][] = [
    ["this very process", instanceText({ host, pid, run: LATER.run }), false],
    ["an earlier run with this process's id", instanceText({ host, pid, run }), true],
    ["another process that runs", instanceText({ host, pid: process.ppid, run }), false],
    ["a process that is gone", instanceText({ host, pid: dead, run }), true],
    ["a process of another host", instanceText({ host: "elsewhere", pid: dead, run }), false],
    ["a row that names none", undefined, false],
    ["a row that names nonsense", "../../etc", false],
  ];
  for (const [name, by, atOnce] of cases) {
    test(`${name}: judged ${atOnce ? "at once" : "when no call can take so long"}`, async (t) => {
      const { die, parts, outcomes } = site(t);
      await die("ec2_start_instance", { instance_id: await instance("stopped") });
      let now = Date.now();
      const given = parts({ now: () => now });
      const intents = {
        ...given.intents,
        find: async (since: string) => (await given.intents.find(since)).map((open) => ({ ...open, instance: by })),
      };
      const reconciler = createReconciler({ ...given, intents });
      assert.equal((await reconciler.round()).confirmed, atOnce ? 1 : 0);
      now += 15 * MINUTE_MS;
      assert.deepEqual(await reconciler.round(), NOTHING, "a call that waits may take longer");
      now += HOUR_MS;
      assert.equal((await reconciler.round()).confirmed, atOnce ? 0 : 1);
      assert.equal((await outcomes()).length, 1);
    });
  }
});

describe("two processes", () => {
  test("at once write one outcome", async (t) => {
    const { die, parts, outcomes } = site(t);
    for (let i = 0; i < 3; i += 1) await die("ec2_start_instance", { instance_id: await instance("stopped") });
    proxy.rule({ operation: "DescribeInstances", fault: { kind: "delay", ms: 100 } });
    const rounds = await Promise.all([createReconciler(parts()).round(), createReconciler(parts()).round()]);
    assert.equal(
      rounds.reduce((sum, { confirmed }) => sum + confirmed, 0),
      3,
    );
    assert.equal((await outcomes()).length, 3);
  });

  test("while one has the lease the other does nothing; when it let go, or died, the other does", async (t) => {
    const { die, parts, outcomes } = site(t);
    await die("ec2_start_instance", { instance_id: await instance("stopped") });
    const [one, other] = [parts(), createReconciler(parts())];
    assert.equal(await one.intents.lease(5 * MINUTE_MS), true);
    assert.deepEqual(await other.round(), NOTHING);
    assert.deepEqual(await outcomes(), []);
    await one.intents.release();
    assert.equal((await other.round()).confirmed, 1);
    await die("ec2_start_instance", { instance_id: await instance("stopped") });
    // It dies with the lease in its hand, which ends with its time.
    assert.equal(await one.intents.lease(200), true);
    await eventually(async () => (await other.round()).confirmed === 1);
    assert.equal((await outcomes()).length, 2);
  });

  test("what the other finished between the look and the lease is not finished again", async (t) => {
    const { die, parts, outcomes } = site(t);
    await die("ec2_start_instance", { instance_id: await instance("stopped") });
    const given = parts();
    let looks = 0;
    const find = async (since: string) => {
      const open = await given.intents.find(since);
      looks += 1;
      if (looks === 1) assert.equal((await createReconciler(parts()).round()).confirmed, 1);
      return open;
    };
    assert.deepEqual(await createReconciler({ ...given, intents: { ...given.intents, find } }).round(), NOTHING);
    assert.equal((await outcomes()).length, 1);
  });

  test("one that loses the lease in between stops", async (t) => {
    const { die, parts, outcomes } = site(t);
    for (let i = 0; i < 2; i += 1) await die("ec2_start_instance", { instance_id: await instance("stopped") });
    const given = parts();
    let asked = 0;
    const lease = async (ttlMs: number) => {
      asked += 1;
      return asked <= 2 && given.intents.lease(ttlMs);
    };
    const round = await createReconciler({ ...given, intents: { ...given.intents, lease } }).round();
    assert.equal(round.confirmed, 1);
    assert.equal((await outcomes()).length, 1);
  });
});

test("while rows wait for the store, nothing is judged", async (t) => {
  const { die, parts, outcomes } = site(t);
  await die("ec2_start_instance", { instance_id: await instance("stopped") });
  let settled = false;
  const reconciler = createReconciler(parts({ settled: () => settled }));
  assert.deepEqual(await reconciler.round(), NOTHING);
  assert.deepEqual(await outcomes(), []);
  settled = true;
  assert.equal((await reconciler.round()).confirmed, 1);
});

test("a store that takes no rows leaves the intent for later", async (t) => {
  const { die, parts, outcomes, trail } = site(t);
  await die("ec2_start_instance", { instance_id: await instance("stopped") });
  let down = true;
  const audit: ReconcileParts["audit"] = {
    commit: (event) => (down ? Promise.reject(new Error("down")) : trail.commit(event)),
    record: (event) => trail.record(event),
  };
  const reconciler = createReconciler(parts({ audit }));
  await assert.rejects(reconciler.round(), /down/);
  assert.deepEqual(await outcomes(), []);
  down = false;
  assert.equal((await reconciler.round()).confirmed, 1);
});
