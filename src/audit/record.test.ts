import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { AuditEvent } from "../core/audit.ts";
import { instanceText, thisInstance } from "../core/instance.ts";
import { encodeRecord, parseBody, project, recordId } from "./record.ts";
import { createRedactor } from "./redact.ts";
import { sampleEvent } from "./test-support.ts";

const hashKey = new Uint8Array(32).fill(3);
const options = { redact: createRedactor(hashKey), hashKey };

function fields(event: Partial<AuditEvent>): Record<string, unknown> {
  const parsed = parseBody(encodeRecord(sampleEvent("c1", event), options));
  assert.ok(parsed);
  return parsed;
}

test("a body is JSON with the version first, an id of its own, and keys in a fixed order", () => {
  const event = sampleEvent("c1");
  const shuffled = Object.fromEntries(Object.entries(event).reverse()) as unknown as AuditEvent;
  const a = fields(event);
  const b = fields(shuffled);
  assert.deepEqual(Object.keys(a), Object.keys(b));
  assert.deepEqual(Object.keys(a).slice(0, 4), ["v", "id", "timestamp", "event"]);
  assert.equal(a.v, 1);
  assert.match(String(a.id), /^[0-9a-f-]{36}$/);
  assert.notEqual(a.id, b.id);
  const { v: _v, id: _id, instance, ...rest } = a;
  assert.deepEqual(rest, event);
  assert.equal(instance, instanceText(thisInstance()));
  assert.equal(Object.keys(a)[Object.keys(a).indexOf("transport") + 1], "instance");
});

test("secrets do not reach the body", () => {
  const body = encodeRecord(
    sampleEvent("c1", {
      arguments: { password: "hunter2" },
      error: { kind: "upstream", message: "postgres://u:hunter2@h/d" },
      attempts: [
        {
          service: "rds",
          operation: "X",
          region: "r",
          attempt: 1,
          started_at: "t",
          duration_ms: 1,
          result: "ok",
          parameters: { MasterUserPassword: "hunter2" },
        },
      ],
    }),
    options,
  ).toString("utf8");
  assert.ok(!body.includes("hunter2"));
  assert.equal(body.match(/\[redacted:[0-9a-f]{8}\]/g)?.length, 3);
});

test("what is too long becomes a keyed hash and a prefix", () => {
  const long = "x".repeat(20_000);
  const { arguments: cut, response } = fields({ arguments: { long }, response: { long: "y".repeat(3_000) } });
  assert.deepEqual(Object.keys(cut as object), ["truncated", "hmac_sha256", "bytes", "prefix"]);
  assert.equal((cut as Record<string, unknown>).bytes, 20_011);
  assert.equal((cut as Record<string, unknown>).truncated, true);
  assert.equal((response as Record<string, unknown>).truncated, true);
  assert.deepEqual(fields({ arguments: { long } }).arguments, cut);
  assert.notDeepEqual(fields({ arguments: { long: `${long}z` } }).arguments, cut);
  const kept = { long: "x".repeat(16_384 - 11) };
  assert.deepEqual(fields({ arguments: kept }).arguments, kept);
});

test("no field can make a row grow without bound, and a cut name can still be searched", () => {
  const long = "é".repeat(100_000);
  const attempt = {
    service: "s",
    operation: "o",
    region: "r",
    attempt: 1,
    started_at: "t",
    duration_ms: 1,
    result: "ok",
  };
  const body = encodeRecord(
    sampleEvent(long, {
      user: long,
      agent: long,
      operation: long,
      resource_id: long,
      policies: Array.from({ length: 10_000 }, () => "p"),
      error: { kind: "internal", message: long, detail: long },
      detail: { long },
      attempts: Array.from({ length: 500 }, (_, i) => ({ ...attempt, parameters: { long: i === 0 ? long : "x" } })),
    }),
    options,
  );
  assert.ok(body.byteLength < 16_384, String(body.byteLength));
  assert.match(project(parseBody(body)).operation ?? "", /^"é+.*truncated: 200002 bytes/);
});

test("an attempt's parameters are cut apart from its other fields", () => {
  const attempt = {
    service: "s",
    operation: "o",
    region: "r",
    attempt: 1,
    started_at: "t",
    duration_ms: 1,
    result: "ok",
  };
  const { attempts } = fields({ attempts: [{ ...attempt, parameters: { x: "y".repeat(5_000) } }] });
  const [first] = attempts as Record<string, unknown>[];
  assert.equal(first?.operation, "o");
  assert.match(JSON.stringify(first?.parameters), /^{"truncated":true,/);
});

test("NUL, lone surrogates and values JSON does not know are recorded", () => {
  const { arguments: args, user } = fields({
    user: "a\u0000b\udfff",
    arguments: { big: 1n, date: new Date(0), lone: "\ud800", gone: undefined },
  });
  assert.equal(user, "a\u0000b\ufffd");
  assert.deepEqual(args, { big: "1", date: "1970-01-01T00:00:00.000Z", lone: "\ufffd" });
});

test("encoding never throws and always gives a body that parses and projects", () => {
  const anything = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
  });
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...Object.keys(sampleEvent("c"))), anything), anything, (some, args) => {
      const event = { ...sampleEvent("c"), ...some, arguments: args, attempts: args } as unknown as AuditEvent;
      const parsed = parseBody(encodeRecord(event, options));
      assert.ok(recordId(parsed));
      for (const value of Object.values(project(parsed))) {
        assert.ok(value === null || typeof value === "string" || typeof value === "number");
      }
    }),
    { numRuns: 500 },
  );
});

test("the projection is in UTC and takes only what has the right type", () => {
  assert.equal(project({ timestamp: "2026-11-22T12:00:00+02:00" }).timestamp, "2026-11-22T10:00:00.000Z");
  assert.equal(project({ timestamp: "yesterday" }).timestamp, "yesterday");
  assert.deepEqual(
    new Set(Object.values(project({ user: 1, duration_ms: "x", timestamp: {}, result: null }))),
    new Set([null]),
  );
  assert.equal(project(sampleEvent("c9") as unknown as Record<string, unknown>).duration_ms, 12.5);
});

test("bytes that are no JSON object have no fields", () => {
  for (const text of ["", "{", "[]", "null", "1"]) assert.equal(parseBody(Buffer.from(text)), undefined);
  assert.equal(recordId(undefined), undefined);
  assert.equal(recordId({ id: 1 }), undefined);
});

test("columns can be stored by every database, whatever the body holds", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "é", "\u0000", "\ud800", "\udc00", "\ufffd", "😀") });
  fc.assert(
    fc.property(text, text, (user, timestamp) => {
      const projected = project({ user, timestamp });
      for (const value of [projected.user, projected.timestamp, recordId({ id: user })]) {
        assert.ok(value?.isWellFormed() && !value.includes("\u0000"));
      }
      assert.equal(projected.user, user.replaceAll("\u0000", "\ufffd").toWellFormed());
    }),
  );
});
