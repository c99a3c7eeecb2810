import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import { DescribeParametersCommand, GetParameterCommand, PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { awsClientConfig } from "../../test/support/client.ts";
import { type ControlUnderTest, openControl } from "../../test/support/control.ts";
import type { ProxyRequest } from "../../test/support/fault-proxy.ts";
import { storedText } from "./control-secrets.ts";

let aws: ControlUnderTest;
let secrets: SecretsManagerClient;
let ssm: SSMClient;
before(async () => {
  aws = await openControl();
  secrets = new SecretsManagerClient(awsClientConfig(aws.proxy.url, "eu-west-1"));
  ssm = new SSMClient(awsClientConfig(aws.proxy.url, "eu-west-1"));
});
after(async () => {
  secrets.destroy();
  ssm.destroy();
  await aws.close();
});

/** One place a text can be in, seen from outside. */
interface Place {
  arn: string;
  now(): Promise<string | undefined>;
  /** Somebody else's change. */
  put(text: string): Promise<unknown>;
}

const fresh = () => `/mcp/${randomUUID()}`;

async function secret(SecretString: string): Promise<Place> {
  const SecretId = (await secrets.send(new CreateSecretCommand({ Name: fresh(), SecretString }))).ARN ?? "";
  return {
    arn: SecretId,
    now: async () => (await secrets.send(new GetSecretValueCommand({ SecretId }))).SecretString,
    put: (text) => secrets.send(new PutSecretValueCommand({ SecretId, SecretString: text })),
  };
}

async function parameter(Value: string, more: object = {}): Promise<Place & { name: string }> {
  const Name = fresh();
  await ssm.send(new PutParameterCommand({ Name, Value, Type: "SecureString", ...more }));
  return {
    name: Name,
    arn: `arn:aws:ssm:eu-west-1:${aws.proxy.accountId}:parameter${Name}`,
    now: async () => (await ssm.send(new GetParameterCommand({ Name, WithDecryption: true }))).Parameter?.Value,
    put: (text) => ssm.send(new PutParameterCommand({ Name, Value: text, Type: "SecureString", Overwrite: true })),
  };
}

const services = [
  { service: "secretsmanager", put: "PutSecretValue", limit: 65_536, make: secret },
  { service: "ssm", put: "PutParameter", limit: 8_192, make: parameter },
];

for (const { service, put, limit, make } of services) {
  describe(service, () => {
    /** Lets something happen around the next write of the server's. */
    const around = (body: (forward: () => Promise<string>) => Promise<string>) =>
      aws.proxy.rule({
        ...{ service, operation: put, times: 1 },
        fault: {
          kind: "respond",
          status: 200,
          contentType: "application/x-amz-json-1.1",
          body: (_request: ProxyRequest, forward: () => Promise<string>) => body(forward),
        },
      });

    test("what is written is there, and is read again", async () => {
      const place = await make("one");
      const text = storedText(aws.control, place.arn);
      assert.equal(await text.read(), "one");
      for (const next of ["two", "three", "größer 漢字", "three"]) {
        await text.write(next);
        assert.equal(await place.now(), next);
        assert.equal(await text.read(), next);
      }
      await storedText(aws.control, place.arn).write("not read before");
      assert.equal(await place.now(), "not read before");
    });

    test("what somebody else wrote since it was read is not written over", async () => {
      const place = await make("one");
      const text = storedText(aws.control, place.arn);
      await text.read();
      await place.put("theirs");
      await assert.rejects(
        text.write("ours"),
        (error: Error) =>
          error.message ===
          `${place.arn} cannot be written: somebody else has written since it was read; nothing was changed, repeat`,
      );
      assert.equal(await place.now(), "theirs");
      await text.read();
      await text.write("again");
      assert.equal(await place.now(), "again");
    });

    test("a change that comes between the last look and the writing is lost, and that is noticed", async () => {
      const place = await make("one");
      const text = storedText(aws.control, place.arn);
      await text.read();
      around(async (forward) => {
        await place.put("theirs");
        return forward();
      });
      await assert.rejects(text.write("ours"), (error: Error) =>
        error.message.startsWith(`${place.arn} cannot be written: somebody else wrote at the same time`),
      );
      assert.equal(await place.now(), "ours");
    });

    test("so is one that comes after, before the writer has looked", async () => {
      const place = await make("one");
      const text = storedText(aws.control, place.arn);
      await text.read();
      around(async (forward) => {
        const answer = await forward();
        await place.put("theirs");
        return answer;
      });
      await assert.rejects(text.write("ours"), /somebody else wrote at the same time/);
    });

    test("an answer that got lost is no somebody else", async () => {
      const place = await make("one");
      const text = storedText(aws.control, place.arn);
      await text.read();
      const rule = aws.proxy.rule({ service, operation: put, times: 2, fault: { kind: "refuse-after-forward" } });
      await text.write("ours");
      assert.equal(rule.hits, 2);
      assert.equal(await place.now(), "ours");
    });

    test("what does not fit is not sent", async () => {
      const place = await make("one");
      const text = storedText(aws.control, place.arn);
      await text.read();
      await assert.rejects(text.write("ü".repeat(limit / 2 + 1)), (error: Error) =>
        error.message.startsWith(`${place.arn} cannot be written: it holds ${limit} bytes, and this is ${limit + 2}`),
      );
      assert.equal(await place.now(), "one");
      await text.write("x".repeat(limit));
      assert.equal((await place.now())?.length, limit);
    });

    test("errors name the ARN and quote no text", async () => {
      const place = await make("CANARY");
      const text = storedText(aws.control, place.arn);
      for (const kind of ["denied", "throttle", "garbage"] as const) {
        const rule = aws.proxy.rule({ service, fault: { kind } });
        for (const work of [() => text.read(), () => text.write("CANARY")]) {
          await assert.rejects(work, (error: Error) => {
            assert.ok(error.message.startsWith(`${place.arn} cannot be `), error.message);
            assert.ok(!error.message.includes("CANARY"));
            return true;
          });
        }
        rule.remove();
      }
    });
  });
}

test("a parameter keeps its key, description and pattern, and may grow", async () => {
  const kept = { KeyId: "alias/keys-of-mcp", Description: "API keys", AllowedPattern: ".*" };
  const place = await parameter("one", kept);
  aws.proxy.clearRequests();
  await storedText(aws.control, place.arn).write("two");
  const [sent] = aws.proxy.requests.filter(({ operation }) => operation === "PutParameter");
  // Said each time: AWS would take the account's default key otherwise, which this moto does not.
  assert.equal(sent?.parameters.KeyId, kept.KeyId);
  const ParameterFilters = [{ Key: "Name", Option: "Equals", Values: [place.name] }];
  const { Parameters } = await ssm.send(new DescribeParametersCommand({ ParameterFilters }));
  const { KeyId, Description, AllowedPattern, Type, Tier } = Parameters?.[0] ?? {};
  assert.deepEqual({ KeyId, Description, AllowedPattern }, kept);
  assert.deepEqual([Type, Tier], ["SecureString", "Intelligent-Tiering"]);
});

test("a parameter that is described on a later page is found", async () => {
  const place = await parameter("one");
  aws.proxy.rule({
    ...{ service: "ssm", operation: "DescribeParameters", times: 2 },
    fault: {
      kind: "respond",
      status: 200,
      contentType: "application/x-amz-json-1.1",
      body: JSON.stringify({ Parameters: [], NextToken: "0" }),
    },
  });
  await storedText(aws.control, place.arn).write("two");
  assert.equal(await place.now(), "two");
});

test("a parameter whose key cannot be found out is not written", async () => {
  const place = await parameter("one");
  const rule = aws.proxy.rule({ service: "ssm", operation: "DescribeParameters", fault: { kind: "denied" } });
  await assert.rejects(storedText(aws.control, place.arn).write("two"), /ssm:DescribeParameters/);
  rule.remove();
  const body = JSON.stringify({ Parameters: [] });
  const hidden = aws.proxy.rule({
    ...{ service: "ssm", operation: "DescribeParameters" },
    fault: { kind: "respond", status: 200, contentType: "application/x-amz-json-1.1", body },
  });
  await assert.rejects(storedText(aws.control, place.arn).write("two"), /does not show the key it is encrypted with$/);
  hidden.remove();
  const endless = JSON.stringify({ Parameters: [], NextToken: "more" });
  const paged = aws.proxy.rule({
    ...{ service: "ssm", operation: "DescribeParameters" },
    fault: { kind: "respond", status: 200, contentType: "application/x-amz-json-1.1", body: endless },
  });
  await assert.rejects(storedText(aws.control, place.arn).write("two"), /does not show the key it is encrypted with$/);
  paged.remove();
  assert.equal(await place.now(), "one");
});

test("a parameter that everybody may read is none for secrets", async () => {
  const Name = fresh();
  await ssm.send(new PutParameterCommand({ Name, Value: "x", Type: "String" }));
  const text = storedText(aws.control, `arn:aws:ssm:eu-west-1:${aws.proxy.accountId}:parameter${Name}`);
  await assert.rejects(text.read(), /it is no SecureString$/);
  await assert.rejects(text.write("y"), /it is no SecureString$/);
});

test("an ARN of something else is refused at once", () => {
  for (const arn of [
    "",
    "x",
    "arn:aws:s3:::bucket",
    "arn:aws:ssm:eu-west-1:123456789012:document/x",
    "arn:aws:ssm:eu-west-1:1:parameter/x",
  ])
    assert.throws(() => storedText(aws.control, arn), /^Error: not the ARN of a secret/);
});
