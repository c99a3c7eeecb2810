import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { rawRequest } from "./client.ts";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import { type Moto, startMoto } from "./moto.ts";

// The JSON and REST protocols, on the wire: the SDK clients that speak them are not needed for this.

let moto: Moto;
let proxy: FaultProxy;

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
});

after(async () => {
  await proxy.close();
  await moto.stop();
});

const dialects = {
  "json-1.0": {
    service: "monitoring",
    body: "{}",
    headers: {
      "content-type": "application/x-amz-json-1.0",
      "x-amz-target": "GraniteServiceVersion20100801.ListMetrics",
    },
  },
  "json-1.1": {
    service: "ecs",
    body: "{}",
    headers: {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": "AmazonEC2ContainerServiceV20141113.ListClusters",
    },
  },
  "rest-json": { service: "lambda", method: "GET", path: "/2015-03-31/functions/" },
} as const;
const expected = {
  throttle: { json: [400, "ThrottlingException"], rest: [429, "TooManyRequestsException"] },
  internal: { json: [500, "InternalFailure"], rest: [500, "InternalFailure"] },
  "expired-token": { json: [400, "ExpiredTokenException"], rest: [403, "ExpiredTokenException"] },
  denied: { json: [400, "AccessDeniedException"], rest: [403, "AccessDeniedException"] },
  "auth-failure": { json: [400, "UnrecognizedClientException"], rest: [403, "UnrecognizedClientException"] },
} as const;

for (const kind of ["throttle", "internal", "expired-token", "denied", "auth-failure"] as const) {
  test(kind, async () => {
    const rule = proxy.rule({ fault: { kind } });
    for (const protocol of ["json-1.0", "json-1.1"] as const) {
      const response = await rawRequest(proxy.url, dialects[protocol]);
      const body = await json(response);
      const code = String(body.__type);
      assert.deepEqual([response.status, code.slice(code.indexOf("#") + 1)], expected[kind].json);
      assert.equal(code.includes("#"), protocol === "json-1.0");
      assert.equal(response.headers.get("content-type"), `application/x-amz-${protocol}`);
      assert.ok(response.headers.get("x-amzn-requestid"));
      assert.equal(typeof body.message, "string");
    }
    const response = await rawRequest(proxy.url, dialects["rest-json"]);
    const code = response.headers.get("x-amzn-errortype")?.split(":")[0];
    assert.deepEqual([response.status, code], expected[kind].rest);
    assert.equal(typeof (await json(response)).message, "string");
    rule.remove();
  });
}

test("CloudWatch's refusal names its IAM prefix, not its signing name", async () => {
  const rule = proxy.rule({ service: "monitoring", fault: { kind: "denied" } });
  const { message } = await json(await rawRequest(proxy.url, dialects["json-1.0"]));
  rule.remove();
  assert.match(String(message), /perform: cloudwatch:ListMetrics on resource: arn:aws:monitoring:/);
});

test("garbage and respond keep the content type of the dialect", async () => {
  for (const [protocol, type] of [
    ["json-1.0", "application/x-amz-json-1.0"],
    ["json-1.1", "application/x-amz-json-1.1"],
    ["rest-json", "application/json"],
  ] as const) {
    const rule = proxy.rule({ fault: { kind: "garbage" } });
    const response = await rawRequest(proxy.url, dialects[protocol]);
    rule.remove();
    assert.equal(response.headers.get("content-type"), type);
    await assert.rejects(response.json(), SyntaxError);
  }
});

test("without a rule each dialect is answered by moto", async () => {
  const [metrics, clusters, functions] = await Promise.all(
    Object.values(dialects).map(async (request) => json(await rawRequest(proxy.url, request))),
  );
  assert.deepEqual(metrics?.Metrics, []);
  assert.deepEqual(clusters?.clusterArns, []);
  assert.deepEqual(functions?.Functions, []);
});

async function json(response: Response): Promise<Record<string, unknown>> {
  const value: unknown = await response.json();
  assert.ok(typeof value === "object" && value !== null);
  return { ...value };
}
