import assert from "node:assert/strict";
import { test } from "node:test";
import { recogniseRequest } from "./aws-request.ts";

function signed(service: string, region = "eu-west-1") {
  return {
    authorization: `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/${region}/${service}/aws4_request, SignedHeaders=host, Signature=0`,
  };
}

const FORM = { "content-type": "application/x-www-form-urlencoded" };

test("EC2: service and region from the signature, action and fields from the form", () => {
  const body = "Action=StartInstances&Version=2016-11-15&InstanceId.1=i-1&Tag=a%20b";
  assert.deepEqual(recogniseRequest("POST", "/", { ...signed("ec2"), ...FORM }, body), {
    service: "ec2",
    region: "eu-west-1",
    accessKeyId: "AKIDEXAMPLE",
    operation: "StartInstances",
    protocol: "ec2",
    parameters: { "InstanceId.1": "i-1", Tag: "a b" },
  });
});

test("other form services speak the query protocol", () => {
  const request = recogniseRequest("POST", "/", { ...signed("sts"), ...FORM }, "Action=GetCallerIdentity");
  assert.equal(request.protocol, "query");
  assert.equal(request.operation, "GetCallerIdentity");
});

test("X-Amz-Target names the operation, the content type the JSON version", () => {
  for (const version of ["1.0", "1.1"] as const) {
    const headers = {
      ...signed("ecs"),
      "content-type": `application/x-amz-json-${version}`,
      "x-amz-target": "AmazonEC2ContainerServiceV20141113.ListClusters",
    };
    const request = recogniseRequest("POST", "/", headers, '{"maxResults":3}');
    assert.equal(request.operation, "ListClusters");
    assert.equal(request.protocol, `json-${version}`);
    assert.deepEqual(request.parameters, { maxResults: 3 });
  }
});

test("a JSON body that is no object yields no parameters", () => {
  const headers = { ...signed("ecs"), "x-amz-target": "X.Y" };
  for (const body of ["", "{", "null", "7"]) {
    assert.deepEqual(recogniseRequest("POST", "/", headers, body).parameters, {}, body);
  }
});

test("REST requests are named by method and path, without the query string", () => {
  const request = recogniseRequest("GET", "/2015-03-31/functions/?MaxItems=1", signed("lambda"), "");
  assert.equal(request.operation, "GET /2015-03-31/functions/");
  assert.equal(request.protocol, "rest-json");
  const formWithoutAction = recogniseRequest("POST", "/token", { ...signed("x"), ...FORM }, "a=b");
  assert.equal(formWithoutAction.protocol, "rest-json");
});

test("an unsigned request is from an unknown service", () => {
  const { service, region, accessKeyId } = recogniseRequest("GET", "/", {}, "");
  assert.deepEqual({ service, region, accessKeyId }, { service: "unknown", region: "unknown", accessKeyId: undefined });
});
