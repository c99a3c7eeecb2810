import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Presented, Refusal } from "./credentials.ts";
import { LoginLimit } from "./login-limit.ts";

const shown = (source: string, token: string | undefined, more: Partial<Presented> = {}): Presented => ({
  authorization: token && `Bearer ${token}`,
  xApiKey: undefined,
  certificate: undefined,
  source,
  ...more,
});
/** A key of the right form. */
const keyOf = (name: string) => `mcpaws_00000000_${name.padEnd(43, "A")}`;
const certificate = { subject: "CN=ci", names: [], thumbprint: "T".repeat(43), validTo: 0, current: () => true };
const caller = (id: string) => ({ id, roles: ["viewer"], via: "api_key" }) as const;

function setUp() {
  const clock = { now: 0 };
  return { clock, limit: new LoginLimit({ now: () => clock.now }) };
}

/** Takes the looks that a source over its limit has; returns how many there were. */
function exhaustLooks(limit: LoginLimit, source: string): number {
  for (let i = 0; i < 200; i += 1) if (limit.waitS(shown(source, keyOf(`look-${i}`))) > 0) return i;
  return Number.POSITIVE_INFINITY;
}

/** Fails until refused; returns how often that went. Its guesses are of no form that is ever looked at beyond that. */
function exhaust(limit: LoginLimit, source: string, reason: Refusal = "unknown"): number {
  for (let i = 0; i < 200; i += 1) {
    const guess = shown(source, `guess-${i}`);
    if (limit.waitS(guess) > 0) return i;
    limit.failed(guess, reason);
  }
  return Number.POSITIVE_INFINITY;
}

test("thirty failures, then one every two seconds, whoever gets in meanwhile", () => {
  const { clock, limit } = setUp();
  assert.equal(exhaust(limit, "192.0.2.1"), 30);
  assert.equal(limit.waitS(shown("192.0.2.1", "another")), 2);
  limit.succeeded(shown("192.0.2.1", keyOf("good")), caller("good"));
  assert.equal(limit.waitS(shown("192.0.2.1", "another")), 2, "success gives nothing back");
  clock.now += 2_000;
  assert.equal(exhaust(limit, "192.0.2.1"), 1);
  clock.now += 3_600_000;
  assert.equal(exhaust(limit, "192.0.2.1"), 30);
});

test("over its limit a source gets five a second looked at, of those that have the form of something good", () => {
  const { clock, limit } = setUp();
  exhaust(limit, "192.0.2.1");
  for (const other of [
    shown("192.0.2.1", "another"),
    shown("192.0.2.1", `${keyOf("x")}A`),
    shown("192.0.2.1", undefined, { certificate: "refused" }),
    shown("192.0.2.1", undefined, { xApiKey: "another" }),
  ])
    assert.ok(limit.waitS(other) > 0, "without the form of anything good");
  assert.equal(exhaustLooks(limit, "192.0.2.1"), 5);
  assert.equal(limit.waitS(shown("192.0.2.1", keyOf("renewed"))), 1, "in a second at the latest");
  exhaust(limit, "192.0.2.2");
  assert.equal(exhaustLooks(limit, "192.0.2.2"), 5, "each source its own");
  for (const renewed of [
    shown("192.0.2.1", keyOf("renewed")),
    shown("192.0.2.1", "aaa.bbb.ccc"),
    shown("192.0.2.1", undefined, { xApiKey: keyOf("renewed") }),
    shown("192.0.2.1", undefined, { certificate }),
  ]) {
    clock.now += 200;
    assert.equal(limit.waitS(renewed), 0);
    assert.equal(limit.waitS(renewed), 1, "looked at");
  }
});

test("what costs: every wrong credential, not one that was never shown or never looked at", () => {
  for (const reason of ["malformed", "unknown", "expired", "invalid_token", "unmapped", "certificate"] as const)
    assert.equal(exhaust(setUp().limit, "192.0.2.1", reason), 30, reason);
  for (const reason of ["missing", "unavailable", "too_many"] as const)
    assert.equal(exhaust(setUp().limit, "192.0.2.1", reason), Number.POSITIVE_INFINITY, reason);
});

test("without a credential there is nothing to try: told how to get in as ever", () => {
  const { limit } = setUp();
  exhaust(limit, "192.0.2.1");
  assert.equal(limit.waitS(shown("192.0.2.1", undefined)), 0);
});

test("a credential that got in is still looked at, that very one and for ten minutes", () => {
  const { clock, limit } = setUp();
  const good = shown("192.0.2.1", keyOf("good"));
  limit.succeeded(good, caller("good"));
  exhaust(limit, "192.0.2.1");
  exhaustLooks(limit, "192.0.2.1");
  for (let i = 0; i < 100; i += 1) assert.equal(limit.waitS(good), 0);
  assert.equal(limit.waitS({ ...good, authorization: undefined, xApiKey: keyOf("good") }), 0, "in the other header");
  assert.ok(limit.waitS({ ...good, authorization: `Bearer  ${keyOf("good")}` }) > 0, "spelled in another way");
  assert.ok(limit.waitS({ ...good, xApiKey: keyOf("guess") }) > 0, "with another beside it");
  assert.ok(limit.waitS({ ...good, certificate: "refused" }) > 0, "with a bad certificate");
  assert.ok(limit.waitS({ ...good, certificate }) > 0, "with a certificate");
  clock.now += 599_000;
  exhaust(limit, "192.0.2.1");
  exhaustLooks(limit, "192.0.2.1");
  assert.equal(limit.waitS(good), 0);
  clock.now += 1_000;
  exhaust(limit, "192.0.2.1");
  exhaustLooks(limit, "192.0.2.1");
  assert.ok(limit.waitS(good) > 0, "too long ago");
});

test("a credential that no longer gets in is forgotten", () => {
  const { limit } = setUp();
  const revoked = shown("192.0.2.1", keyOf("revoked"));
  limit.succeeded(revoked, caller("revoked"));
  exhaust(limit, "192.0.2.1");
  exhaustLooks(limit, "192.0.2.1");
  assert.equal(limit.waitS(revoked), 0);
  limit.failed(revoked, "unknown");
  assert.ok(limit.waitS(revoked) > 0);
});

/** Whether it is looked at although its source may look at nothing. */
function isKnown(limit: LoginLimit, name: string): boolean {
  exhaust(limit, "192.0.2.1");
  exhaustLooks(limit, "192.0.2.1");
  return limit.waitS(shown("192.0.2.1", keyOf(name))) === 0;
}

test("four credentials of a caller are remembered, those used last; however many one has, nobody else is forgotten", () => {
  const { limit } = setUp();
  limit.succeeded(shown("192.0.2.1", keyOf("kept")), caller("kept"));
  for (let i = 0; i < 5_000; i += 1)
    limit.succeeded(shown("192.0.2.2", keyOf(`key-${i}`)), { ...caller("other"), roles: [`role-${i}`] });
  assert.ok(isKnown(limit, "kept"));
  for (const i of [4_996, 4_997, 4_998, 4_999]) assert.ok(isKnown(limit, `key-${i}`));
  assert.ok(!isKnown(limit, "key-4995"));
  limit.succeeded(shown("192.0.2.2", keyOf("key-4996")), caller("other"));
  limit.succeeded(shown("192.0.2.2", keyOf("key-5000")), caller("other"));
  assert.ok(isKnown(limit, "key-4996") && !isKnown(limit, "key-4997"));
});

test("a thousand callers are remembered, those that came last; one called alike in another way in is another", () => {
  const { limit } = setUp();
  limit.succeeded(shown("192.0.2.1", keyOf("kept")), caller("kept"));
  for (let i = 0; i < 1_000; i += 1) {
    limit.succeeded(shown("192.0.2.2", keyOf(`key-${i}`)), caller(`caller-${i}`));
    if (i === 500) limit.succeeded(shown("192.0.2.1", keyOf("kept")), caller("kept"));
  }
  assert.ok(isKnown(limit, "kept") && isKnown(limit, "key-999") && isKnown(limit, "key-1"));
  assert.ok(!isKnown(limit, "key-0"));
  limit.succeeded(shown("192.0.2.2", keyOf("token")), { ...caller("caller-500"), via: "oauth" });
  assert.ok(isKnown(limit, "key-500") && isKnown(limit, "token"));
  assert.ok(!isKnown(limit, "key-1"), "one more caller");
});

test("an IPv6 network is one source, however many addresses it has; IPv4 addresses are one each", () => {
  const { limit } = setUp();
  for (let i = 0; i < 30; i += 1) limit.failed(shown(`2001:db8:1:2::${(i + 1).toString(16)}`, "guess"), "unknown");
  assert.ok(limit.waitS(shown("2001:db8:1:2:ffff::1", "guess")) > 0);
  assert.equal(limit.waitS(shown("2001:db8:1:3::1", "guess")), 0);
  exhaust(limit, "192.0.2.1");
  assert.equal(limit.waitS(shown("192.0.2.2", "guess")), 0);
});

test("a refused handshake is a failed login; one without a certificate is not", () => {
  const { limit } = setUp();
  for (let i = 0; i < 100; i += 1) limit.failedHandshake("192.0.2.1", "missing");
  assert.equal(limit.waitS(shown("192.0.2.1", "guess")), 0);
  for (let i = 0; i < 30; i += 1) limit.failedHandshake("192.0.2.1", "certificate");
  assert.ok(limit.waitS(shown("192.0.2.1", "guess")) > 0);
});

test("whatever happens, a source gets at most 30 wrong ones looked at, one for each two seconds, and five a second of the right form", () => {
  const step = fc.record({
    afterMs: fc.nat(4_000),
    source: fc.nat(2),
    ok: fc.boolean(),
    key: fc.nat(5),
    formed: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const { clock, limit } = setUp();
      const looked = [0, 0, 0];
      const misshapen = [0, 0, 0];
      for (const { afterMs, source, ok, key, formed } of steps) {
        clock.now += afterMs;
        const name = `${ok ? "good" : "bad"}-${key}`;
        const attempt = shown(`192.0.2.${source}`, ok || formed ? keyOf(name) : name);
        if (limit.waitS(attempt) > 0) continue;
        if (ok) limit.succeeded(attempt, caller(name));
        else {
          limit.failed(attempt, "unknown");
          looked[source] = (looked[source] ?? 0) + 1;
          if (!formed) misshapen[source] = (misshapen[source] ?? 0) + 1;
        }
      }
      for (const count of misshapen) assert.ok(count <= 30 + clock.now / 2_000);
      for (const count of looked) assert.ok(count <= 35 + clock.now / 2_000 + clock.now / 200);
    }),
  );
});
