import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BreakerState, CircuitBreaker, type Permit } from "./breaker.ts";

const THRESHOLD = 5;
const RESET = 60_000;
const TRIALS = 3;
const HUNG = 30_000;

type Report = "success" | "failure" | "release";

interface Call {
  period: Period;
  at: number;
  reported: boolean;
}

/** The stretch between two changes of state, with what was heard in it. */
interface Period {
  number: number;
  state: BreakerState;
  since: number;
  heard: Report[];
}

/**
 * The specification told as a history instead of a machine: it keeps every call and every period, and answers each
 * question by looking back over them.
 */
class Model {
  now = 1000;
  readonly calls: Call[] = [];
  readonly history: Period[] = [];
  period: Period = this.begin("closed");

  begin(state: BreakerState): Period {
    this.period = { number: this.history.length, state, since: this.now, heard: [] };
    this.history.push(this.period);
    return this.period;
  }

  isLive(call: Call): boolean {
    const openedSince = this.history.slice(call.period.number + 1).some((period) => period.state === "open");
    const hung = call.period.state === "half_open" && this.now - call.at >= HUNG;
    return !call.reported && !openedSince && !hung;
  }

  trialsInFlight(): Call[] {
    return this.calls.filter((call) => call.period === this.period && this.isLive(call));
  }

  /** The milliseconds to wait, or undefined when the call is admitted. */
  acquire(): number | undefined {
    if (this.period.state === "open") {
      const over = this.period.since + RESET;
      if (this.now < over) return over - this.now;
      this.begin("half_open");
    }
    const trials = this.trialsInFlight();
    if (this.period.state === "half_open" && trials.length >= TRIALS) {
      return Math.min(...trials.map((trial) => trial.at + HUNG - this.now));
    }
    this.calls.push({ period: this.period, at: this.now, reported: false });
    return undefined;
  }

  report(call: Call, report: Report): void {
    const counts = this.isLive(call);
    call.reported = true;
    if (!counts || report === "release") return;
    const { state, heard } = this.period;
    heard.push(report);
    const last = heard.slice(-THRESHOLD);
    if (state === "closed" && last.length === THRESHOLD && !last.includes("success")) this.begin("open");
    if (state === "half_open" && report === "failure") this.begin("open");
    if (state === "half_open" && heard.filter((each) => each === "success").length === TRIALS) this.begin("closed");
  }
}

interface Real {
  clock: { ms: number };
  breaker: CircuitBreaker;
  permits: Permit[];
  /** Every change the listener was told of. */
  told: string[];
}

/** What must hold after every step. */
function agree(model: Model, real: Real): void {
  assert.equal(real.breaker.state, model.period.state);
  const changes = model.history.slice(1).map((period, i) => `${model.history[i]?.state} → ${period.state}`);
  assert.deepEqual(real.told, changes, "every change is told once, in order");
  assert.deepEqual(
    real.permits.map((permit) => permit.live()),
    model.calls.map((call) => model.isLive(call)),
  );
  const snapshot = real.breaker.snapshot();
  if (snapshot.state === "half_open") {
    assert.equal(snapshot.trialsInFlight, model.trialsInFlight().length);
    assert.ok(snapshot.trialsInFlight <= TRIALS && snapshot.trialSuccesses < TRIALS);
  } else if (snapshot.state === "open") {
    assert.equal(snapshot.retryAfterMs, Math.max(0, model.period.since + RESET - model.now));
  } else {
    assert.ok(snapshot.consecutiveFailures < THRESHOLD);
  }
}

function step(name: string, run: (model: Model, real: Real) => void): fc.Command<Model, Real> {
  return {
    check: () => true,
    toString: () => name,
    run(model, real) {
      run(model, real);
      agree(model, real);
    },
  };
}

const acquire = step("acquire", (model, real) => {
  const wait = model.acquire();
  const answer = real.breaker.acquire();
  assert.equal(answer.admitted, wait === undefined, "admitted or refused at once, never queued");
  if (answer.admitted) real.permits.push(answer.permit);
  else assert.ok(answer.retryAfterMs === wait && wait > 0 && wait <= RESET);
});

/** Reports on a call, counted back from the newest; also on calls that have reported before. */
const report = (kind: Report, back: number): fc.Command<Model, Real> =>
  step(`${kind} of newest-${back}`, (model, real) => {
    const call = model.calls.at(-1 - back);
    if (call) model.report(call, kind);
    real.permits.at(-1 - back)?.[kind]();
  });

const wait = (ms: number): fc.Command<Model, Real> =>
  step(`wait ${ms}`, (model, real) => {
    model.now += ms;
    real.clock.ms += ms;
  });

const steps = fc.commands(
  [
    fc.constant(acquire),
    fc.constant(acquire),
    fc.constantFrom<Report>("failure", "failure", "success").map((kind) => report(kind, 0)),
    fc
      .tuple(fc.constantFrom<Report>("success", "failure", "release"), fc.nat({ max: 12 }))
      .map((how) => report(...how)),
    fc.constantFrom(1, HUNG - 1, HUNG, RESET - HUNG, RESET - 1, RESET).map(wait),
    fc.nat({ max: 2 * RESET }).map(wait),
  ],
  { maxCommands: 100, size: "max" },
);

function fresh(seen: Set<string>): { model: Model; real: Real } {
  const clock = { ms: 1000 };
  const told: string[] = [];
  const breaker = new CircuitBreaker({
    failureThreshold: THRESHOLD,
    resetTimeoutMs: RESET,
    halfOpenMaxCalls: TRIALS,
    trialTimeoutMs: HUNG,
    now: () => clock.ms,
    onTransition(from, to) {
      assert.equal(breaker.state, to, "the change is complete when it is told");
      told.push(`${from} → ${to}`);
      seen.add(`${from} → ${to}`);
    },
  });
  return { model: new Model(), real: { clock, breaker, permits: [], told } };
}

test("any history of calls, answers and waiting agrees with the model", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(fc.boolean(), steps, (opened, history) => {
      fc.modelRun(() => {
        const setup = fresh(seen);
        // Half of the histories begin with an open breaker and two calls whose answers will come late.
        if (opened) {
          for (let i = 0; i < THRESHOLD + 2; i++) acquire.run(setup.model, setup.real);
          for (let i = 0; i < THRESHOLD; i++) report("failure", i).run(setup.model, setup.real);
        }
        return setup;
      }, history);
    }),
    { numRuns: 1000 },
  );
  assert.deepEqual(
    [...seen].sort(),
    ["closed → open", "half_open → closed", "half_open → open", "open → half_open"],
    "the histories take every way there is, and no other",
  );
});
