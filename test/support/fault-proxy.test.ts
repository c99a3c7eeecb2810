import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateVpcCommand, DescribeInstancesCommand, DescribeVpcsCommand, EC2Client } from "@aws-sdk/client-ec2";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { awsClientConfig, rawRequest } from "./client.ts";
import { eventually } from "./eventually.ts";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import { type Moto, startMoto } from "./moto.ts";

let moto: Moto;
let proxy: FaultProxy;
let ec2: EC2Client;
let sts: STSClient;

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  ec2 = clientFor(proxy);
  sts = new STSClient({ ...awsClientConfig(proxy.url, "us-east-1"), maxAttempts: 1 });
});

after(async () => {
  ec2.destroy();
  sts.destroy();
  await proxy.close();
  await moto.stop();
});

afterEach(() => {
  proxy.clearRules();
  proxy.clearRequests();
});

function clientFor(of: FaultProxy, region = "us-east-1"): EC2Client {
  return new EC2Client({ ...awsClientConfig(of.url, region), maxAttempts: 1 });
}

/** The error names of `count` DescribeInstances in turn; `ok` for an answer. */
async function outcomes(count: number, client: EC2Client = ec2): Promise<string[]> {
  const names: string[] = [];
  for (let call = 0; call < count; call += 1) {
    const name = client.send(new DescribeInstancesCommand({})).then(
      () => "ok",
      (error: Error) => error.name,
    );
    names.push(await name);
  }
  return names;
}

function error(code: string) {
  return { kind: "error", status: 400, code, message: code } as const;
}

describe("rules", () => {
  test("skip lets requests through first, times ends the rule, hits counts what it did", async () => {
    const rule = proxy.rule({ skip: 1, times: 2, fault: error("A") });
    assert.equal(rule.hits, 0);
    assert.deepEqual(await outcomes(4), ["ok", "A", "A", "ok"]);
    assert.equal(rule.hits, 2);
  });

  test("the first rule that matches and is not used up wins", async () => {
    const first = proxy.rule({ times: 1, fault: error("A") });
    const second = proxy.rule({ fault: error("B") });
    assert.deepEqual(await outcomes(3), ["A", "B", "B"]);
    assert.deepEqual([first.hits, second.hits], [1, 2]);
  });

  test("a skipped request goes to the next rule", async () => {
    proxy.rule({ skip: 1, fault: error("A") });
    proxy.rule({ fault: error("B") });
    assert.deepEqual(await outcomes(2), ["B", "A"]);
  });

  test("service, operation and region must all match", async () => {
    const elsewhere = [
      proxy.rule({ service: "sts", fault: error("A") }),
      proxy.rule({ operation: "StartInstances", fault: error("A") }),
      proxy.rule({ region: "eu-west-1", fault: error("A") }),
    ];
    assert.deepEqual(await outcomes(1), ["ok"]);
    assert.deepEqual(
      elsewhere.map(({ hits }) => hits),
      [0, 0, 0],
    );
    proxy.rule({ service: "ec2", operation: "DescribeInstances", region: "us-east-1", fault: error("B") });
    assert.deepEqual(await outcomes(1), ["B"]);
    const ireland = clientFor(proxy, "eu-west-1");
    assert.deepEqual(await outcomes(1, ireland), ["A"]);
    ireland.destroy();
  });

  test("remove takes back one rule, clearRules all of them", async () => {
    const first = proxy.rule({ fault: error("A") });
    proxy.rule({ fault: error("B") });
    first.remove();
    assert.deepEqual(await outcomes(1), ["B"]);
    proxy.clearRules();
    assert.deepEqual(await outcomes(1), ["ok"]);
  });
});

describe("accounts", () => {
  test("two proxies before one moto do not see each other", async () => {
    const other = await startFaultProxy({ target: moto.url });
    const stranger = clientFor(other);
    try {
      assert.match(other.accountId, /^\d{12}$/);
      assert.notEqual(other.accountId, proxy.accountId);
      await ec2.send(new CreateVpcCommand({ CidrBlock: "10.66.0.0/16" }));
      const cidrs = async (client: EC2Client) =>
        (await client.send(new DescribeVpcsCommand({}))).Vpcs?.map(({ CidrBlock }) => CidrBlock) ?? [];
      assert.ok((await cidrs(ec2)).includes("10.66.0.0/16"));
      assert.ok(!(await cidrs(stranger)).includes("10.66.0.0/16"));
    } finally {
      stranger.destroy();
      await other.close();
    }
  });

  test("the account can be chosen", async () => {
    const chosen = await startFaultProxy({ target: moto.url, accountId: "111122223333" });
    const client = new STSClient(awsClientConfig(chosen.url, "us-east-1"));
    try {
      assert.equal((await client.send(new GetCallerIdentityCommand({}))).Account, "111122223333");
    } finally {
      client.destroy();
      await chosen.close();
    }
  });
});

describe("wire log", () => {
  test("says who asked for what, and how it was answered", async () => {
    proxy.rule({ skip: 1, fault: { kind: "throttle" } });
    await ec2.send(new DescribeInstancesCommand({ InstanceIds: [], MaxResults: 7 }));
    await outcomes(1);
    const [first, second] = proxy.requests;
    assert.ok(first !== undefined && second !== undefined);
    const { service, operation, region, protocol, parameters, accessKeyId, status, fault, abortedByClient } = first;
    assert.deepEqual(
      { service, operation, region, protocol, parameters, accessKeyId, status, fault, abortedByClient },
      {
        service: "ec2",
        operation: "DescribeInstances",
        region: "us-east-1",
        protocol: "ec2",
        parameters: { MaxResults: "7" },
        accessKeyId: "testing",
        status: 200,
        fault: undefined,
        abortedByClient: false,
      },
    );
    assert.match(first.userAgent ?? "", /^aws-sdk-js\//);
    assert.equal(first.headers["x-moto-account-id"], undefined, "the log holds what the client sent");
    assert.match(first.time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.deepEqual([second.status, second.fault], [503, "throttle"]);
    proxy.clearRequests();
    assert.equal(proxy.requests.length, 0);
  });

  test("tells a client that left from a connection the proxy cut", async () => {
    proxy.rule({ times: 1, fault: { kind: "reset" } });
    proxy.rule({ times: 1, fault: { kind: "truncate" } });
    proxy.rule({ fault: { kind: "hang" } });
    await outcomes(2);
    const abortSignal = AbortSignal.timeout(50);
    await assert.rejects(ec2.send(new DescribeInstancesCommand({}), { abortSignal }));
    await eventually(() => proxy.requests[2]?.abortedByClient === true);
    assert.deepEqual(
      proxy.requests.map(({ status, abortedByClient }) => [status, abortedByClient]),
      [
        [undefined, false],
        [200, false],
        [undefined, true],
      ],
    );
  });

  test("survives a client that leaves in the middle of its request", async () => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("Action="));
      },
    });
    const signal = AbortSignal.timeout(50);
    await assert.rejects(fetch(proxy.url, { method: "POST", body, duplex: "half", signal }));
    assert.deepEqual(await outcomes(1), ["ok"]);
    assert.deepEqual(
      proxy.requests.map(({ operation }) => operation),
      ["DescribeInstances"],
    );
  });
});

test("a moto that cannot be reached is a 502 that names the proxy", async () => {
  const gone = await startFaultProxy({ target: "http://127.0.0.1:1" });
  const response = await rawRequest(gone.url, { service: "ec2", body: "Action=DescribeInstances" });
  assert.equal(response.status, 502);
  assert.match(await response.text(), /^fault proxy: .*ECONNREFUSED/);
  await gone.close();
});

describe("close", () => {
  test("ends hanging and trickling connections at once, and can be repeated", { timeout: 20_000 }, async () => {
    const closing = await startFaultProxy({ target: moto.url });
    closing.rule({ times: 1, fault: { kind: "hang" } });
    closing.rule({ times: 1, fault: { kind: "trickle", everyMs: 5 } });
    const client = clientFor(closing);
    const calls = [1, 2].map(() =>
      assert.rejects(client.send(new DescribeInstancesCommand({})), { code: "ECONNRESET" }),
    );
    await eventually(() => closing.requests.some(({ status }) => status === 200) && closing.requests.length === 2);
    await closing.close();
    await Promise.all(calls);
    await assert.rejects(fetch(closing.url));
    await closing.close();
    client.destroy();
    await sleep(50);
    assert.ok(
      closing.requests.every(({ abortedByClient }) => !abortedByClient),
      "it was not the client that left",
    );
  });

  test("lets go of a moto that does not answer", async () => {
    const silent = await startFaultProxy({ target: moto.url });
    silent.rule({ fault: { kind: "hang" } });
    const closing = await startFaultProxy({ target: silent.url });
    const call = assert.rejects(rawRequest(closing.url, { service: "ec2" }));
    await eventually(() => silent.requests.length === 1);
    await closing.close();
    await call;
    await eventually(() => silent.requests[0]?.abortedByClient === true);
    await silent.close();
  });

  test("what was delayed is never forwarded", async () => {
    const { accountId } = proxy;
    const closing = await startFaultProxy({ target: moto.url, accountId });
    closing.rule({ fault: { kind: "delay", ms: 200 } });
    const client = clientFor(closing);
    const call = assert.rejects(client.send(new CreateVpcCommand({ CidrBlock: "10.65.0.0/16" })));
    await eventually(() => closing.requests.length === 1);
    await closing.close();
    await call;
    client.destroy();
    await sleep(500);
    const { Vpcs = [] } = await ec2.send(new DescribeVpcsCommand({}));
    assert.ok(!Vpcs.some(({ CidrBlock }) => CidrBlock === "10.65.0.0/16"));
  });
});
