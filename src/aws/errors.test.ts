import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorKind } from "../core/errors.ts";
import { ToolError } from "../core/errors.ts";
import { understandCredentialsError } from "./credentials.ts";
import { type AwsFailure, type CommandInfo, understandAwsError } from "./errors.ts";

const QUIET = new AbortController().signal;

function command(action = "ec2:DescribeInstances"): CommandInfo {
  const [service = "", operation = ""] = action.split(":");
  return { service, operation, region: "us-east-1", action };
}

/** As the SDK throws what AWS answered. */
function answered(name: string, httpStatusCode = 400, message = "words"): Error {
  return Object.assign(new Error(message), { name, $metadata: { httpStatusCode } });
}

function understand(thrown: unknown, action?: string): AwsFailure {
  return understandAwsError(thrown, command(action), QUIET);
}

/** What AWS's services answer: kind, health, whether it certainly did not act; then codes, some with status or action. */
const CODES: readonly [ErrorKind, AwsFailure["health"], boolean, string][] = [
  [
    "credentials_expired",
    "silent",
    true,
    "AuthFailure:401 ExpiredToken:403 ExpiredTokenException InvalidClientTokenId",
  ],
  ["credentials_expired", "silent", true, "UnrecognizedClientException IncompleteSignature InvalidAccessKeyId"],
  ["credentials_expired", "silent", true, "MissingAuthenticationTokenException:403 SignatureDoesNotMatch:403"],
  ["credentials_expired", "silent", true, "RequestExpired RequestInTheFuture RequestTimeTooSkewed:403"],
  ["credentials_expired", "silent", true, "InvalidSignatureException:403"],
  ["aws_access_denied", "healthy", true, "UnauthorizedOperation:403 Client.UnauthorizedOperation AccessDenied:403"],
  ["aws_access_denied", "healthy", true, "AccessDeniedException AuthorizationErrorException NotAuthorized"],
  ["aws_access_denied", "healthy", true, "OptInRequired:401 Blocked:403 PendingVerification"],
  ["throttled", "failing", true, "RequestLimitExceeded:503 Throttling ThrottlingException EC2ThrottledException"],
  ["throttled", "failing", true, "TooManyRequestsException:429 SlowDown:503 RequestThrottled Anything:429"],
  ["throttled", "failing", true, "LimitExceededException:400:ce:GetCostAndUsage"],
  ["throttled", "failing", true, "LimitExceededException:400:logs:StartQuery"],
  ["conflict", "healthy", true, "LimitExceededFault:400:cloudwatch:PutMetricAlarm InstanceLimitExceeded"],
  ["conflict", "healthy", true, "VcpuLimitExceeded InstanceQuotaExceeded StorageQuotaExceededFault"],
  ["conflict", "healthy", true, "InsufficientInstanceCapacity:500:ec2:StartInstances InsufficientHostCapacity:500"],
  ["conflict", "healthy", true, "InsufficientDBInstanceCapacityFault:400:rds:StartDBInstance"],
  [
    "conflict",
    "healthy",
    true,
    "IncorrectInstanceState IncorrectState InvalidDBInstanceState InvalidDBInstanceStateFault",
  ],
  ["conflict", "healthy", true, "DependencyViolation VolumeInUse ResourceInUseException DBInstanceAlreadyExists"],
  ["conflict", "healthy", true, "ConflictException:409 UpdateInProgressException ServiceNotActiveException"],
  ["conflict", "healthy", true, "OperationAbortedException OperationNotPermitted UnsupportedOperation"],
  ["conflict", "healthy", true, "UnsupportedHibernationConfiguration ConcurrentModificationException"],
  ["not_found", "healthy", true, "InvalidInstanceID.NotFound DBInstanceNotFound:404 DBInstanceNotFoundFault:404"],
  [
    "not_found",
    "healthy",
    true,
    "ClusterNotFoundException ResourceNotFoundException ResourceNotFound:404 NoSuchEntity:404",
  ],
  ["not_found", "healthy", true, "com.amazon.coral.service#ResourceNotFoundException"],
  ["not_found", "healthy", true, "DataUnavailableException:400:ce:GetCostAndUsage"],
  ["invalid_input", "healthy", true, "InvalidParameterValue InvalidParameterCombination MissingParameter"],
  [
    "invalid_input",
    "healthy",
    true,
    "InvalidInstanceID.Malformed InvalidNextToken ValidationError ValidationException",
  ],
  ["invalid_input", "healthy", true, "BillExpirationException MalformedQueryException NeverSeenBefore"],
  ["upstream", "failing", false, "InternalError:500 InternalFailure:500 ServiceUnavailable:503 Unavailable:503"],
  ["upstream", "failing", false, "InternalServiceFault:500 Unknown:502 SyntaxError:503 NeverSeenBefore:599"],
  ["upstream", "silent", true, "Unknown:403 Error:407 SyntaxError:404"],
  ["timeout", "failing", false, "RequestTimeout:400 RequestTimeoutException:408"],
];

test("every code means what its service means by it", () => {
  for (const [kind, health, refused, codes] of CODES) {
    for (const spec of codes.split(" ")) {
      const [name = "", status, ...action] = spec.split(":");
      const failure = understand(
        answered(name, Number(status ?? 400)),
        action.length > 0 ? action.join(":") : undefined,
      );
      assert.deepEqual([failure.error.kind, failure.health, failure.refused], [kind, health, refused], spec);
    }
  }
});

test("the code is kept for the trail as AWS gave it; an answer without one is named by its status", () => {
  assert.equal(understand(answered("InvalidDBInstanceStateFault")).code, "InvalidDBInstanceStateFault");
  assert.equal(understand(answered("DryRunOperation", 412)).error.detail, "DryRunOperation");
  assert.equal(understand(answered("Unknown", 502)).code, "HTTP502");
  assert.equal(understand(answered("", 503)).code, "HTTP503");
});

const SILENCES: readonly [string, object, ErrorKind, refused: boolean, retryable: boolean][] = [
  ["refused", { code: "ECONNREFUSED", name: "TimeoutError" }, "upstream", true, true],
  ["no such name", { code: "ENOTFOUND" }, "upstream", true, true],
  ["no route", { code: "ENETUNREACH" }, "upstream", true, true],
  ["no address", { code: "ETIMEDOUT", name: "TimeoutError", errors: [new Error("::1")] }, "upstream", true, true],
  ["not connected", { name: "TimeoutError", message: "did not establish a connection" }, "upstream", true, true],
  ["expired", { code: "CERT_HAS_EXPIRED" }, "upstream", true, false],
  ["self-signed", { code: "DEPTH_ZERO_SELF_SIGNED_CERT" }, "upstream", true, false],
  ["wrong name", { code: "ERR_TLS_CERT_ALTNAME_INVALID" }, "upstream", true, false],
  ["unknown issuer", { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" }, "upstream", true, false],
  ["request timeout", { code: "ETIMEDOUT", name: "TimeoutError" }, "timeout", false, true],
  ["idle timeout", { name: "TimeoutError", message: "the request socket timed out" }, "timeout", false, true],
  ["reset", { code: "ECONNRESET", name: "TimeoutError" }, "upstream", false, true],
  ["broken pipe", { code: "EPIPE", name: "TimeoutError" }, "upstream", false, true],
  ["protocol", { code: "EPROTO" }, "upstream", false, true],
  ["cut off", { $metadata: { httpStatusCode: 200 } }, "upstream", false, true],
];

test("silence is told apart: never sent, too slow, cut off", () => {
  for (const [name, fields, kind, refused, retryable] of SILENCES) {
    const { error, health, ...failure } = understand(Object.assign(new Error("text"), fields));
    assert.deepEqual(
      [error.kind, failure.refused, error.retryable, health],
      [kind, refused, retryable, "failing"],
      name,
    );
  }
  assert.equal(understand(undefined).error.kind, "upstream", "anything can be thrown");
});

test("what identifies the account is not in a message, and a refusal's own words are not at all", () => {
  const encoded = "x".repeat(200);
  const secret = `User: arn:aws:iam::123456789012:user/bob may not; account 123456789012; ${encoded}`;
  for (const name of [
    "AccessDenied",
    "UnauthorizedOperation",
    "OptInRequired",
    "AuthFailure",
    "InvalidParameterValue",
  ]) {
    const { message, nextStep } = understand(answered(name, 403, secret)).error;
    assert.doesNotMatch(message + nextStep, /arn:|123456789012|bob|xxxx/, name);
  }
  assert.match(
    understand(answered("InvalidParameterValue", 400, "size \u202Emust be 5")).error.message,
    /: size must be 5$/,
  );
});

test("every error says what to do, in a sentence", () => {
  const errors = [
    ...CODES.flatMap(([, , , codes]) => codes.split(" ").map((spec) => answered(spec.split(":")[0] ?? ""))),
    ...SILENCES.map(([, fields]) => Object.assign(new Error("text"), fields)),
  ];
  for (const thrown of errors) {
    const { error } = understand(thrown);
    assert.match(
      error.nextStep,
      /^(Ask|AWS|Call|Check|Correct|Describe|Nothing|Retry|The resource|A quota|Wait)\b.{20,}\.$/,
    );
    assert.doesNotMatch(error.message + error.nextStep, /undefined|NaN/);
    if (error.retryable) assert.ok(error.retryAfterS, `${error.kind} says when to retry`);
  }
});

test("when the signal fired, its reason is the error; a deadline counts against the service, a cancellation does not", () => {
  const abort = (reason?: unknown, thrown: unknown = Object.assign(new Error(), { name: "AbortError" })) => {
    const controller = new AbortController();
    controller.abort(reason);
    const { error, health } = understandAwsError(thrown, command(), controller.signal);
    return [error.kind, health];
  };
  assert.deepEqual(abort(new ToolError("timeout", "30 s", { nextStep: "" })), ["timeout", "failing"]);
  assert.deepEqual(abort(new ToolError("cancelled", "gone", { nextStep: "" })), ["cancelled", "silent"]);
  assert.deepEqual(abort(), ["cancelled", "silent"]);
  assert.deepEqual(abort(new DOMException("late", "TimeoutError")), ["timeout", "failing"], "AbortSignal.timeout");
  assert.deepEqual(abort(undefined, answered("AccessDenied", 403)), ["aws_access_denied", "healthy"], "AWS was faster");
});

test("what goes wrong before the first request is the credentials, or a defect", () => {
  const kind = (fields: object) => understandCredentialsError(Object.assign(new Error("text"), fields))?.error.kind;
  assert.equal(kind({ name: "CredentialsProviderError" }), "credentials_expired");
  assert.equal(kind({ name: "TokenProviderError", message: "Token is expired" }), "credentials_expired");
  assert.equal(kind({ name: "AccessDenied", $metadata: { httpStatusCode: 403 } }), "credentials_expired", "AssumeRole");
  assert.equal(kind({ code: "ENOTFOUND" }), "upstream");
  assert.equal(kind({ name: "TypeError", code: "ERR_INVALID_ARG_TYPE" }), undefined);
  assert.equal(kind({ name: "EndpointError" }), undefined);
});
