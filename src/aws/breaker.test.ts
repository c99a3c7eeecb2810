import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Admission, type BreakerState, CircuitBreaker, type Permit } from "./breaker.ts";

const THRESHOLD = 5;
const RESET = 60_000;
const TRIALS = 3;
const HUNG = 30_000;

class Clock {
  ms = 1000;
  readonly now = (): number => this.ms;
}

function breakerWith(clock: Clock, onTransition?: (from: BreakerState, to: BreakerState) => void): CircuitBreaker {
  return new CircuitBreaker({
    failureThreshold: THRESHOLD,
    resetTimeoutMs: RESET,
    halfOpenMaxCalls: TRIALS,
    trialTimeoutMs: HUNG,
    now: clock.now,
    ...(onTransition && { onTransition }),
  });
}

function admitted(admission: Admission): Permit {
  assert.ok(admission.admitted, "the call should have been admitted");
  return admission.permit;
}

function refused(admission: Admission): number {
  assert.ok(!admission.admitted, "the call should have been refused");
  return admission.retryAfterMs;
}

function failTimes(breaker: CircuitBreaker, times: number): void {
  for (let i = 0; i < times; i++) admitted(breaker.acquire()).failure();
}

/** A breaker that has opened and whose reset timeout has just passed. */
function readyForTrials(): { clock: Clock; breaker: CircuitBreaker } {
  const clock = new Clock();
  const breaker = breakerWith(clock);
  failTimes(breaker, THRESHOLD);
  clock.ms += RESET;
  return { clock, breaker };
}

test("opens at the fifth consecutive failure and refuses at once", () => {
  const breaker = breakerWith(new Clock());
  failTimes(breaker, THRESHOLD - 1);
  assert.deepEqual(breaker.snapshot(), { state: "closed", consecutiveFailures: 4 });
  failTimes(breaker, 1);
  assert.equal(breaker.state, "open");
  assert.equal(refused(breaker.acquire()), RESET);
});

test("a success starts the count again; a cancelled call does not", () => {
  const breaker = breakerWith(new Clock());
  failTimes(breaker, THRESHOLD - 1);
  admitted(breaker.acquire()).success();
  failTimes(breaker, THRESHOLD - 1);
  assert.equal(breaker.state, "closed");
  admitted(breaker.acquire()).release();
  failTimes(breaker, 1);
  assert.equal(breaker.state, "open");
});

test("three trials at once, the fourth is refused; three successes close", () => {
  const { breaker } = readyForTrials();
  const trials = [breaker.acquire(), breaker.acquire(), breaker.acquire()].map(admitted);
  assert.equal(breaker.state, "half_open");
  assert.equal(refused(breaker.acquire()), HUNG, "the wait is until the oldest trial counts as hung");
  for (const trial of trials) trial.success();
  assert.deepEqual(breaker.snapshot(), { state: "closed", consecutiveFailures: 0 });
});

test("the wait never exceeds the reset timeout, however long a trial may take", () => {
  const clock = new Clock();
  const breaker = new CircuitBreaker({
    failureThreshold: 1,
    resetTimeoutMs: 100,
    halfOpenMaxCalls: 1,
    trialTimeoutMs: 10_000,
    now: clock.now,
  });
  failTimes(breaker, 1);
  clock.ms += 100;
  admitted(breaker.acquire());
  assert.equal(refused(breaker.acquire()), 100);
});

test("a trial failure reopens and starts the whole wait again", () => {
  const { clock, breaker } = readyForTrials();
  const [first, second] = [admitted(breaker.acquire()), admitted(breaker.acquire())];
  clock.ms += 10;
  first.failure();
  assert.equal(refused(breaker.acquire()), RESET);
  assert.equal(second.live(), false);
  second.failure();
  clock.ms += RESET - 1;
  assert.equal(refused(breaker.acquire()), 1);
  clock.ms += 1;
  admitted(breaker.acquire());
});

test("a hung trial gives its slot back, stops retrying, and is not listened to", () => {
  const { clock, breaker } = readyForTrials();
  const hung = [breaker.acquire(), breaker.acquire(), breaker.acquire()].map(admitted);
  clock.ms += HUNG - 1;
  assert.equal(refused(breaker.acquire()), 1);
  clock.ms += 1;
  assert.equal(breaker.snapshot().state, "half_open");
  assert.ok(hung.every((permit) => !permit.live()));
  const fresh = [breaker.acquire(), breaker.acquire(), breaker.acquire()].map(admitted);
  refused(breaker.acquire());
  for (const permit of hung) permit.failure();
  assert.equal(breaker.state, "half_open");
  for (const permit of fresh) permit.success();
  assert.equal(breaker.state, "closed");
});

test("a cancelled trial frees its slot and is no success", () => {
  const { breaker } = readyForTrials();
  for (let i = 0; i < 10; i++) admitted(breaker.acquire()).release();
  assert.deepEqual(breaker.snapshot(), { state: "half_open", trialsInFlight: 0, trialSuccesses: 0 });
});

test("late answers to calls admitted before the breaker opened change nothing", () => {
  const clock = new Clock();
  const breaker = breakerWith(clock);
  const late = Array.from({ length: 8 }, () => admitted(breaker.acquire()));
  assert.ok(late.every((permit) => permit.live()));
  failTimes(breaker, THRESHOLD);
  assert.ok(
    late.every((permit) => !permit.live()),
    "retries under way must stop",
  );
  clock.ms += RESET;
  const trial = admitted(breaker.acquire());
  late[0]?.failure();
  assert.equal(breaker.state, "half_open", "a late failure does not reopen");
  for (const permit of late.slice(1, 5)) permit.success();
  assert.deepEqual(breaker.snapshot(), { state: "half_open", trialsInFlight: 1, trialSuccesses: 0 });
  trial.success();
  for (let i = 0; i < TRIALS - 1; i++) admitted(breaker.acquire()).success();
  assert.equal(breaker.state, "closed");
  for (const permit of late.slice(5)) permit.failure();
  assert.deepEqual(breaker.snapshot(), { state: "closed", consecutiveFailures: 0 }, "nor once it has closed again");
});

test("a trial that answers after the others closed the breaker is an ordinary call", () => {
  const { breaker } = readyForTrials();
  const slow = admitted(breaker.acquire());
  for (let i = 0; i < TRIALS; i++) admitted(breaker.acquire()).success();
  slow.failure();
  assert.deepEqual(breaker.snapshot(), { state: "closed", consecutiveFailures: 1 });
});

test("a permit reports once", () => {
  const breaker = breakerWith(new Clock());
  const permit = admitted(breaker.acquire());
  for (let i = 0; i < 2 * THRESHOLD; i++) permit.failure();
  assert.deepEqual(breaker.snapshot(), { state: "closed", consecutiveFailures: 1 });
  assert.equal(permit.live(), false);
});

test("the listener may use the breaker", () => {
  const clock = new Clock();
  const changes: string[] = [];
  const breaker = breakerWith(clock, (from, to) => {
    changes.push(`${from} → ${to}`);
    if (to === "half_open") for (let i = 0; i < TRIALS; i++) admitted(breaker.acquire());
    if (to === "open") refused(breaker.acquire());
  });
  failTimes(breaker, THRESHOLD);
  clock.ms += RESET;
  refused(breaker.acquire()); // its own listener took every slot
  assert.deepEqual(changes, ["closed → open", "open → half_open"]);
});

test("a listener that fails a trial at once leaves the breaker open for the caller", () => {
  const clock = new Clock();
  const changes: string[] = [];
  const breaker = breakerWith(clock, (from, to) => {
    changes.push(`${from} → ${to}`);
    if (to === "half_open") admitted(breaker.acquire()).failure();
  });
  failTimes(breaker, THRESHOLD);
  clock.ms += RESET;
  assert.equal(refused(breaker.acquire()), RESET);
  assert.deepEqual(changes, ["closed → open", "open → half_open", "half_open → open"]);
});

test("the wait is above 0 even when the clock moves between two looks at it", () => {
  fc.assert(
    fc.property(fc.double({ min: 0.5, max: 20, noNaN: true }), (step) => {
      let ms = 0;
      const breaker = new CircuitBreaker({
        failureThreshold: 1,
        resetTimeoutMs: 100,
        halfOpenMaxCalls: 1,
        trialTimeoutMs: 100,
        now: () => {
          ms += step;
          return ms;
        },
      });
      admitted(breaker.acquire()).failure();
      // Nothing but the looking moves this clock, so some refusal comes right before each of the two deadlines.
      for (let trials = 0; trials < 2; ) {
        const answer = breaker.acquire();
        if (answer.admitted) trials += 1;
        else assert.ok(answer.retryAfterMs > 0 && answer.retryAfterMs <= 100);
      }
    }),
    { numRuns: 100 },
  );
});

test("the clock is the monotonic one unless another is given", () => {
  const breaker = new CircuitBreaker({ failureThreshold: 1, resetTimeoutMs: RESET, halfOpenMaxCalls: 1 });
  failTimes(breaker, 1);
  const snapshot = breaker.snapshot();
  assert.ok(snapshot.state === "open" && snapshot.retryAfterMs > 0 && snapshot.retryAfterMs <= RESET);
});
