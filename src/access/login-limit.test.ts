import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Presented, Refusal } from "./credentials.ts";
import { LoginLimit } from "./login-limit.ts";

const shown = (source: string, key: string | undefined, more: Partial<Presented> = {}): Presented => ({
  authorization: key && `Bearer ${key}`,
  xApiKey: undefined,
  certificate: undefined,
  source,
  ...more,
});

function setUp() {
  const clock = { now: 0 };
  return { clock, limit: new LoginLimit({ now: () => clock.now }) };
}

/** Fails until refused; returns how often that went. */
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
  limit.succeeded(shown("192.0.2.1", "good"));
  assert.equal(limit.waitS(shown("192.0.2.1", "another")), 2, "success gives nothing back");
  clock.now += 2_000;
  assert.equal(exhaust(limit, "192.0.2.1"), 1);
  clock.now += 3_600_000;
  assert.equal(exhaust(limit, "192.0.2.1"), 30);
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
  const good = shown("192.0.2.1", "good");
  limit.succeeded(good);
  exhaust(limit, "192.0.2.1");
  assert.equal(limit.waitS(good), 0);
  assert.ok(limit.waitS({ ...good, authorization: undefined, xApiKey: "good" }) > 0, "shown in another way");
  assert.ok(limit.waitS({ ...good, xApiKey: "guess" }) > 0, "with another beside it");
  assert.ok(limit.waitS({ ...good, certificate: "refused" }) > 0, "with a certificate");
  clock.now += 599_000;
  exhaust(limit, "192.0.2.1");
  assert.equal(limit.waitS(good), 0);
  clock.now += 1_000;
  exhaust(limit, "192.0.2.1");
  assert.ok(limit.waitS(good) > 0, "too long ago");
});

test("a credential that no longer gets in is forgotten", () => {
  const { limit } = setUp();
  const revoked = shown("192.0.2.1", "revoked");
  limit.succeeded(revoked);
  exhaust(limit, "192.0.2.1");
  limit.failed(revoked, "unknown");
  assert.ok(limit.waitS(revoked) > 0);
});

test("a thousand are remembered, those used last", () => {
  const { limit } = setUp();
  const kept = shown("192.0.2.1", "kept");
  limit.succeeded(kept);
  for (let i = 0; i < 1_000; i += 1) {
    limit.succeeded(shown("192.0.2.2", `key-${i}`));
    if (i === 500) limit.succeeded(kept);
  }
  exhaust(limit, "192.0.2.1");
  assert.equal(limit.waitS(kept), 0);
  assert.ok(limit.waitS(shown("192.0.2.1", "key-0")) > 0);
  assert.equal(limit.waitS(shown("192.0.2.1", "key-999")), 0);
});

test("an IPv6 network is one source, however many addresses it has; IPv4 addresses are one each", () => {
  const { limit } = setUp();
  for (let i = 0; i < 30; i += 1) limit.failed(shown(`2001:db8:1:2::${(i + 1).toString(16)}`, "guess"), "unknown");
  assert.ok(limit.waitS(shown("2001:db8:1:2:ffff::1", "guess")) > 0);
  assert.equal(limit.waitS(shown("2001:db8:1:3::1", "guess")), 0);
  exhaust(limit, "192.0.2.1");
  assert.equal(limit.waitS(shown("192.0.2.2", "guess")), 0);
});

test("whatever happens, a source gets at most 30 wrong ones looked at and one for each two seconds", () => {
  const step = fc.record({ afterMs: fc.nat(4_000), source: fc.nat(2), ok: fc.boolean(), key: fc.nat(5) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const { clock, limit } = setUp();
      const looked = [0, 0, 0];
      for (const { afterMs, source, ok, key } of steps) {
        clock.now += afterMs;
        const attempt = shown(`192.0.2.${source}`, `${ok ? "good" : "bad"}-${key}`);
        if (limit.waitS(attempt) > 0) continue;
        if (ok) limit.succeeded(attempt);
        else {
          limit.failed(attempt, "unknown");
          looked[source] = (looked[source] ?? 0) + 1;
        }
      }
      for (const count of looked) assert.ok(count <= 30 + clock.now / 2_000);
    }),
  );
});
