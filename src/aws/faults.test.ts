import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  type AwsUnderTest,
  BREAKER,
  breakerState,
  openAws,
  send,
  useEndpoint,
} from "../../test/support/aws-session.ts";
import { eventually } from "../../test/support/eventually.ts";
import type { Fault } from "../../test/support/faults.ts";
import { type ErrorKind, ToolError } from "../core/errors.ts";
import { AwsClients } from "./clients.ts";

// Everything that can go wrong on the wire, seen from a command: the error, the attempts, the breaker.

let aws: AwsUnderTest;

before(async () => {
  // A breaker that opens at the first failure shows which errors count as one.
  aws = await openAws({ breaker: { ...BREAKER, failureThreshold: 1 } });
});
after(() => aws.close());

interface Expected {
  kind: ErrorKind;
  /** Default: what the kind says. */
  retryable: boolean;
  /** On the wire, and recorded. */
  attempts: number;
  result: string;
  status?: number;
  /** Whether AWS's id of the request is knaws. */
  id: boolean;
  breaker: "open" | "closed";
}

const gone = { kind: "upstream", retryable: true, attempts: 3, breaker: "open" } as const;
const credentials = {
  kind: "credentials_expired",
  retryable: false,
  attempts: 1,
  breaker: "closed",
  id: true,
} as const;
const CLOCK: Fault = { kind: "error", status: 403, code: "RequestTimeTooSkewed", message: "15 minutes" };
const FULL: Fault = { kind: "error", status: 500, code: "InsufficientInstanceCapacity", message: "none left" };
const PAGE = "<html><body>Please log in</body></html>";
const page = (status: number): Fault => ({ kind: "respond", status, contentType: "text/html", body: PAGE });
const refusal = (code: string): Fault => ({ kind: "error", status: 400, code, message: "AWS says" });

const FAULTS: Record<string, [Fault, Expected]> = {
  throttle: [
    { kind: "throttle" },
    { ...gone, kind: "throttled", result: "RequestLimitExceeded", status: 503, id: true },
  ],
  internal: [{ kind: "internal" }, { ...gone, result: "InternalError", status: 500, id: true }],
  "HTML 503": [{ kind: "html503" }, { ...gone, result: "HTTP503", status: 503, id: false }],
  reset: [{ kind: "reset" }, { ...gone, result: "ECONNRESET", id: false }],
  "lost answer": [{ kind: "refuse-after-forward" }, { ...gone, result: "ECONNRESET", id: false }],
  truncate: [{ kind: "truncate" }, { ...gone, result: "ECONNRESET", status: 200, id: true }],
  garbage: [{ kind: "garbage" }, { ...gone, attempts: 1, result: "unreadable_answer", status: 200, id: false }],
  "page with 200": [page(200), { ...gone, attempts: 1, result: "unreadable_answer", status: 200, id: false }],
  "page with 403": [
    page(403),
    { ...gone, retryable: false, attempts: 1, result: "HTTP403", status: 403, id: false, breaker: "closed" },
  ],
  "expired token": [{ kind: "expired-token" }, { ...credentials, result: "RequestExpired", status: 400 }],
  "auth failure": [{ kind: "auth-failure" }, { ...credentials, result: "AuthFailure", status: 401 }],
  denied: [
    { kind: "denied" },
    { ...credentials, kind: "aws_access_denied", result: "UnauthorizedOperation", status: 403 },
  ],
  "clock skew": [CLOCK, { ...credentials, result: "RequestTimeTooSkewed", status: 403 }],
  "no capacity": [
    FULL,
    { ...credentials, kind: "conflict", attempts: 3, result: "InsufficientInstanceCapacity", status: 500 },
  ],
  "not found": [
    refusal("InvalidInstanceID.NotFound"),
    { ...credentials, kind: "not_found", result: "InvalidInstanceID.NotFound", status: 400 },
  ],
  "wrong state": [
    refusal("IncorrectInstanceState"),
    { ...credentials, kind: "conflict", result: "IncorrectInstanceState", status: 400 },
  ],
  "unknown code": [
    refusal("NeverSeenBefore"),
    { ...credentials, kind: "invalid_input", result: "NeverSeenBefore", status: 400 },
  ],
};

describe("a read through every fault", { concurrency: true }, () => {
  for (const [name, [fault, expected]] of Object.entries(FAULTS)) {
    test(name, async () => {
      const region = aws.region();
      aws.break(region, fault);
      const { error, session } = await send(aws.clients, region);
      assert.equal(error?.kind, expected.kind);
      assert.equal(error.retryable, expected.retryable);
      assert.equal(error.retryAfterS !== undefined, expected.retryable, "whoever may retry is told when");
      assert.doesNotMatch(error.message + error.nextStep, /arn:|\d{12}|[\w-]{80}|Please log in/);
      assert.equal(aws.sent(region).length, expected.attempts);
      assert.equal(breakerState(aws.clients, region), expected.breaker);
      assert.equal(session.writeState, "none");
      assert.deepEqual(
        session.attempts.map(({ attempt }) => attempt),
        Array.from({ length: expected.attempts }, (_, index) => index + 1),
      );
      for (const { attempt: _, started_at, duration_ms, request_id, parameters, ...rest } of session.attempts) {
        const status = expected.status === undefined ? {} : { http_status: expected.status };
        assert.deepEqual(rest, {
          service: "ec2",
          operation: "DescribeInstances",
          region,
          result: expected.result,
          ...status,
        });
        assert.equal(request_id !== undefined, expected.id);
        assert.ok(Date.parse(started_at) > 0 && duration_ms >= 0);
        assert.deepEqual(parameters, {});
      }
    });
  }
});

const deadline = () => new ToolError("timeout", "The call took longer than 1 s.", { nextStep: "Narrow the request." });
const cancel = () => new ToolError("cancelled", "The client cancelled the call.", { nextStep: "Nothing to do." });

describe("the call's signal interrupts, and its reason is the error", { concurrency: true }, () => {
  for (const reason of [deadline(), cancel()]) {
    for (const [what, fault, begun] of [
      ["a hanging request", { kind: "hang" }, undefined],
      ["an answer that trickles for ever", { kind: "trickle", everyMs: 20 }, 200],
      ["the wait between two attempts", { kind: "throttle" }, 503],
    ] as const) {
      test(`${reason.kind}: ${what}`, async () => {
        const region = aws.region();
        aws.break(region, fault);
        const controller = new AbortController();
        const sending = send(aws.clients, region, { signal: controller.signal });
        await eventually(() => aws.sent(region).length === 1 && aws.sent(region)[0]?.status === begun);
        controller.abort(reason);
        const { error, session } = await sending;
        assert.equal(error, reason);
        assert.ok(aws.sent(region).length < 3, "no further attempts");
        assert.notEqual(session.attempts[0]?.result, "pending");
        // A service that lets a deadline run out is failing; a person who changes their mind says nothing about it.
        assert.equal(breakerState(aws.clients, region), reason.kind === "timeout" ? "open" : "closed");
        if (fault.kind !== "throttle") await eventually(() => aws.sent(region)[0]?.abortedByClient === true);
      });
    }
  }
});

test("a signal that has fired sends nothing, and a write is known not to have happened", async () => {
  const region = aws.region();
  const { error, session } = await send(aws.clients, region, { write: true, signal: AbortSignal.abort(cancel()) });
  assert.equal(error?.kind, "cancelled");
  await send(aws.clients, region); // by then, whatever the first had in mind has happened
  assert.deepEqual([aws.sent(region).length, session.attempts.length, session.writeState], [1, 0, "none"]);
  assert.equal(breakerState(aws.clients, region), "closed");
});

for (const [name, fault, result] of [
  ["a request that is not answered", { kind: "hang" }, "ETIMEDOUT"],
  ["an answer that stalls in its middle", { kind: "trickle", everyMs: 60_000 }, "TimeoutError"],
] as const) {
  test(`${name} is a timeout, tried three times`, async () => {
    const region = aws.region();
    // For the second, long enough for moto to answer at all: the silence is in the middle of the answer.
    const requestMs = fault.kind === "hang" ? 100 : 10_000;
    const clients = aws.clientsWith({ timeouts: { requestMs, idleMs: requestMs === 100 ? 10_000 : 500 } });
    aws.break(region, fault);
    const { error, session } = await send(clients, region);
    assert.equal(error?.kind, "timeout", error?.detail);
    assert.ok(error.retryable && error.retryAfterS);
    assert.deepEqual(
      session.attempts.map((attempt) => attempt.result),
      [result, result, result],
    );
    assert.equal(breakerState(clients, region), "open");
  });
}

/** Clients that look for AWS somewhere else. */
async function elsewhere<T>(endpoint: string, work: (clients: AwsClients) => Promise<T>): Promise<T> {
  useEndpoint(endpoint);
  const clients = new AwsClients({ region: "us-east-1", version: "0", breaker: { ...BREAKER, failureThreshold: 1 } });
  try {
    return await work(clients);
  } finally {
    clients.destroy();
    useEndpoint(aws.proxy.url);
  }
}

for (const [name, endpoint, code] of [
  ["a closed port", "http://127.0.0.1:1", "ECONNREFUSED"],
  ["a name that does not exist", "http://aws.invalid", "ENOTFOUND"],
] as const) {
  test(`${name}: nothing was sent, so a write is tried again and is known not to have happened`, async () => {
    await elsewhere(endpoint, async (clients) => {
      const { error, session } = await send(clients, "us-east-1", { write: true });
      assert.equal(error?.kind, "upstream");
      assert.match(error.message, /cannot be reached/);
      assert.equal(error.retryable, true);
      assert.ok([code, "EAI_AGAIN"].includes(error.detail ?? ""), error.detail);
      assert.deepEqual([session.attempts.length, session.writeState], [3, "none"]);
      assert.equal(breakerState(clients, "us-east-1"), "open");
    });
  });
}
