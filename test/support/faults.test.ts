import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { CreateVpcCommand, DescribeInstancesCommand, DescribeVpcsCommand, EC2Client } from "@aws-sdk/client-ec2";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { awsClientConfig } from "./client.ts";
import { eventually } from "./eventually.ts";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import type { Fault } from "./faults.ts";
import { type Moto, startMoto } from "./moto.ts";

const SETTINGS = {
  maxAttempts: 1,
  requestHandler: { connectionTimeout: 1000, requestTimeout: 2000, throwOnRequestTimeout: true, socketTimeout: 2000 },
};

let moto: Moto;
let proxy: FaultProxy;
let ec2: EC2Client;
let sts: STSClient;

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  const config = { ...awsClientConfig(proxy.url, "us-east-1"), ...SETTINGS };
  ec2 = new EC2Client(config);
  sts = new STSClient(config);
  // moto loads a service on first use, which may take longer than the timeouts above allow.
  const patient = new EC2Client(awsClientConfig(proxy.url, "us-east-1"));
  await patient.send(new DescribeInstancesCommand({}));
  patient.destroy();
});

after(async () => {
  ec2.destroy();
  sts.destroy();
  await proxy.close();
  await moto.stop();
});

/** What the error mapper of a client sees. */
interface Seen {
  name: string;
  status: number | undefined;
  fault: string | undefined;
  code: string | undefined;
  message: string;
}

async function seenBy(call: Promise<unknown>): Promise<Seen> {
  const error = await call.then(
    (answer) => assert.fail(`expected a failure, got ${JSON.stringify(answer)}`),
    (reason: Error & { $metadata?: { httpStatusCode?: number }; $fault?: string; code?: string }) => reason,
  );
  const { name, message, code, $fault, $metadata } = error;
  return { name, status: $metadata?.httpStatusCode, fault: $fault, code, message };
}

async function ec2Sees(fault: Fault, abortSignal: AbortSignal = new AbortController().signal): Promise<Seen> {
  const rule = proxy.rule({ service: "ec2", operation: "DescribeInstances", fault });
  try {
    return await seenBy(ec2.send(new DescribeInstancesCommand({}), { abortSignal }));
  } finally {
    assert.equal(rule.hits, 1);
    rule.remove();
  }
}

async function stsSees(fault: Fault, abortSignal: AbortSignal = new AbortController().signal): Promise<Seen> {
  const rule = proxy.rule({ service: "sts", operation: "GetCallerIdentity", fault });
  try {
    return await seenBy(sts.send(new GetCallerIdentityCommand({}), { abortSignal }));
  } finally {
    assert.equal(rule.hits, 1);
    rule.remove();
  }
}

type Expected = [name: string, status: number | undefined, fault: string | undefined, code: string | undefined];

function assertSeen(seen: Seen, expected: Expected): void {
  assert.deepEqual([seen.name, seen.status, seen.fault, seen.code], expected, seen.message);
}

describe("what the SDK reports", () => {
  const cases: { fault: Fault; ec2: Expected; sts: Expected }[] = [
    {
      fault: { kind: "throttle" },
      ec2: ["RequestLimitExceeded", 503, "server", undefined],
      sts: ["Throttling", 400, "client", undefined],
    },
    {
      fault: { kind: "internal" },
      ec2: ["InternalError", 500, "server", undefined],
      sts: ["InternalFailure", 500, "server", undefined],
    },
    {
      fault: { kind: "expired-token" },
      ec2: ["RequestExpired", 400, "client", undefined],
      sts: ["ExpiredToken", 403, "client", undefined],
    },
    {
      fault: { kind: "denied" },
      ec2: ["UnauthorizedOperation", 403, "client", undefined],
      sts: ["AccessDenied", 403, "client", undefined],
    },
    {
      fault: { kind: "auth-failure" },
      ec2: ["AuthFailure", 401, "client", undefined],
      sts: ["InvalidClientTokenId", 403, "client", undefined],
    },
    {
      fault: { kind: "error", status: 403, code: "SignatureDoesNotMatch", message: "a <b> & c" },
      ec2: ["SignatureDoesNotMatch", 403, "client", undefined],
      sts: ["SignatureDoesNotMatch", 403, "client", undefined],
    },
    {
      fault: { kind: "html503" },
      ec2: ["Unknown", 503, "server", undefined],
      sts: ["Unknown", 503, "server", undefined],
    },
    {
      fault: { kind: "garbage" },
      ec2: ["Error", 200, undefined, undefined],
      sts: ["Error", 200, undefined, undefined],
    },
    {
      fault: { kind: "truncate" },
      ec2: ["Error", 200, undefined, "ECONNRESET"],
      sts: ["Error", 200, undefined, "ECONNRESET"],
    },
    {
      fault: { kind: "reset" },
      ec2: ["TimeoutError", undefined, undefined, "ECONNRESET"],
      sts: ["TimeoutError", undefined, undefined, "ECONNRESET"],
    },
    {
      fault: { kind: "refuse-after-forward" },
      ec2: ["TimeoutError", undefined, undefined, "ECONNRESET"],
      sts: ["TimeoutError", undefined, undefined, "ECONNRESET"],
    },
    {
      fault: { kind: "hang" },
      ec2: ["TimeoutError", undefined, undefined, "ETIMEDOUT"],
      sts: ["TimeoutError", undefined, undefined, "ETIMEDOUT"],
    },
  ];
  for (const { fault, ec2: fromEc2, sts: fromSts } of cases) {
    const title = fault.kind === "error" ? fault.code : fault.kind;
    test(title, async () => {
      const [seenEc2, seenSts] = await Promise.all([ec2Sees(fault), stsSees(fault)]);
      assertSeen(seenEc2, fromEc2);
      assertSeen(seenSts, fromSts);
    });
  }

  test("a message survives XML", async () => {
    const fault = { kind: "error", status: 400, code: "X", message: `a <b> & "c"` } as const;
    assert.equal((await ec2Sees(fault)).message, fault.message);
    assert.equal((await stsSees(fault)).message, fault.message);
  });

  test("denied carries caller, account and resource, and EC2's encoded blob", async () => {
    const rule = proxy.rule({ fault: { kind: "denied" } });
    const command = new DescribeInstancesCommand({ InstanceIds: ["i-0abc"] });
    const { message } = await seenBy(ec2.send(command));
    rule.remove();
    assert.match(message, new RegExp(`arn:aws:sts::${proxy.accountId}:assumed-role/`));
    assert.match(message, new RegExp(`on resource: arn:aws:ec2:us-east-1:${proxy.accountId}:instance/i-0abc`));
    assert.match(message, /perform: ec2:DescribeInstances/);
    assert.match(message, /Encoded authorization failure message: [\w-]{320}$/);
  });

  test("a whole page of HTML with status 200 is no error to the SDK, only an empty answer", async () => {
    const rule = proxy.rule({
      fault: { kind: "respond", status: 200, contentType: "text/html", body: "<html><body>Sign in</body></html>" },
    });
    const answer = await ec2.send(new DescribeInstancesCommand({}));
    rule.remove();
    assert.equal(answer.Reservations, undefined);
  });
});

describe("slow answers", () => {
  test("a body that trickles for ever beats every idle timeout; only a deadline ends it", async () => {
    const timers = holdingTimers();
    // Longer than socketTimeout, which the bytes keep resetting, even after the whole answer is there.
    const seen = await ec2Sees({ kind: "trickle", everyMs: 50, chunkBytes: 200 }, AbortSignal.timeout(2500));
    assertSeen(seen, ["AbortError", undefined, undefined, undefined]);
    await eventually(() => proxy.requests.at(-1)?.abortedByClient === true);
    await eventually(() => holdingTimers() <= timers);
  });

  test("a trickle that completes delivers the whole answer", async () => {
    const rule = proxy.rule({ fault: { kind: "trickle", everyMs: 1, chunkBytes: 100, completes: true } });
    const { Account } = await sts.send(new GetCallerIdentityCommand({}));
    rule.remove();
    assert.equal(Account, proxy.accountId);
  });

  test("delay forwards late", async () => {
    const rule = proxy.rule({ fault: { kind: "delay", ms: 200 } });
    const start = performance.now();
    const { Account } = await sts.send(new GetCallerIdentityCommand({}));
    rule.remove();
    assert.equal(Account, proxy.accountId);
    // A timer may fire up to a millisecond early; there is no upper bound to assert.
    assert.ok(performance.now() - start >= 199);
  });

  test("a delayed request reaches AWS even when the client has given up", async () => {
    const rule = proxy.rule({ operation: "CreateVpc", fault: { kind: "delay", ms: 500 } });
    const abortSignal = AbortSignal.timeout(50);
    const seen = await seenBy(ec2.send(new CreateVpcCommand({ CidrBlock: "10.77.0.0/16" }), { abortSignal }));
    rule.remove();
    assert.equal(seen.name, "AbortError");
    await eventually(() => vpcExists("10.77.0.0/16"));
  });
});

describe("what reaches AWS", () => {
  test("refuse-after-forward: AWS acted although the answer is lost", async () => {
    const rule = proxy.rule({ operation: "CreateVpc", fault: { kind: "refuse-after-forward" } });
    await assert.rejects(ec2.send(new CreateVpcCommand({ CidrBlock: "10.78.0.0/16" })));
    rule.remove();
    assert.equal(await vpcExists("10.78.0.0/16"), true);
  });

  test("reset: AWS never acted", async () => {
    const rule = proxy.rule({ operation: "CreateVpc", fault: { kind: "reset" } });
    await assert.rejects(ec2.send(new CreateVpcCommand({ CidrBlock: "10.79.0.0/16" })));
    rule.remove();
    assert.equal(await vpcExists("10.79.0.0/16"), false);
  });

  test("respond: a fixed body, or a function that may ask AWS first", async () => {
    const fixed = proxy.rule({
      fault: {
        kind: "respond",
        status: 200,
        body: "<R><GetCallerIdentityResult><Account>1</Account></GetCallerIdentityResult></R>",
      },
    });
    assert.equal((await sts.send(new GetCallerIdentityCommand({}))).Account, "1");
    fixed.remove();
    const computed = proxy.rule({
      fault: {
        kind: "respond",
        status: 200,
        body: async (request, forward) => (await forward()).replace(proxy.accountId, request.operation),
      },
    });
    assert.equal((await sts.send(new GetCallerIdentityCommand({}))).Account, "GetCallerIdentity");
    computed.remove();
  });

  test("rewrite edits AWS's answer", async () => {
    const rule = proxy.rule({
      fault: { kind: "rewrite", rewrite: (body, request) => body.replaceAll(proxy.accountId, `${request.region}-ü`) },
    });
    assert.equal((await sts.send(new GetCallerIdentityCommand({}))).Account, "us-east-1-ü");
    rule.remove();
  });
});

async function vpcExists(cidr: string): Promise<boolean> {
  const { Vpcs = [] } = await ec2.send(new DescribeVpcsCommand({}));
  return Vpcs.some(({ CidrBlock }) => CidrBlock === cidr);
}

/** Timers that keep the process alive. */
function holdingTimers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
}
