import fc from "fast-check";
import { initialize, type JsonRpc, legacyRequest, modernRequest } from "./wire.ts";

// Messages as a broken or hostile client would send them.

const VALID: readonly JsonRpc[] = [
  modernRequest("tools/list"),
  modernRequest("server/discover"),
  modernRequest("tools/call", { name: "ec2_list_instances", arguments: { limit: 3, states: ["running"] } }),
  modernRequest("tools/call", { name: "ec2_stop_instance", arguments: { instance_id: "i-0123456789abcdef0" } }),
  modernRequest("tools/call", { name: "ec2_list_instances", requestState: "v1.e30.AAAA", inputResponses: {} }),
  modernRequest("subscriptions/listen", { notifications: { toolsListChanged: true } }),
  initialize(),
  legacyRequest("ping"),
  legacyRequest("tools/list"),
  legacyRequest("tools/call", { name: "ec2_list_instances", arguments: { tags: { env: ["prod"] } } }),
  { jsonrpc: "2.0", method: "notifications/initialized" },
  { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1, reason: "why not" } },
  { jsonrpc: "2.0", id: 1, result: { action: "accept", content: {} } },
  { jsonrpc: "2.0", id: 1, error: { code: 1, message: "no" } },
];

const nasty = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.constantFrom<unknown>(
    "\u0000",
    "\ud800",
    "a\udfffb",
    "\u202e\u200b",
    "__proto__",
    "x".repeat(20_000),
    Number.MAX_SAFE_INTEGER + 2,
    -Number.MAX_VALUE,
    5e-324,
    -0,
    "",
    [],
    {},
    null,
  ),
  fc
    .constantFrom("constructor", "toString", "hasOwnProperty")
    .map((key) => ({ [key]: { prototype: { polluted: 1 } } })),
  fc.constant(JSON.parse('{"__proto__":{"polluted":true}}') as unknown),
  fc.integer({ min: 1, max: 70 }).map(nest),
  fc
    .integer({ min: 1, max: 3_000 })
    .map((width) => Object.fromEntries(Array.from({ length: width }, (_, i) => [`k${i}`, i]))),
  fc.integer({ min: 1, max: 3_000 }).map((width) => Array(width).fill(0)),
);

function nest(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i += 1) value = i % 2 ? { a: value } : [value];
  return value;
}

/** A valid message with one to three of its members replaced, removed or added. */
const mutated = fc
  .tuple(
    fc.constantFrom(...VALID),
    fc.array(fc.tuple(fc.nat(), fc.constantFrom("replace", "remove", "add"), nasty, fc.string()), {
      minLength: 1,
      maxLength: 3,
    }),
  )
  .map(([message, changes]) => {
    const copy = structuredClone(message) as Record<string, unknown>;
    for (const [pick, how, shared, name] of changes) {
      // A copy: a later change inside it must not reach other messages, or make it contain itself.
      const value = structuredClone(shared);
      const places = membersOf(copy);
      const place = places[pick % places.length];
      if (!place) continue;
      if (how === "replace") place.owner[place.key] = value;
      else if (how === "remove") delete place.owner[place.key];
      else Object.defineProperty(place.owner, name, { value, enumerable: true, configurable: true, writable: true });
    }
    return copy;
  });

function membersOf(owner: Record<string, unknown>): { owner: Record<string, unknown>; key: string }[] {
  return Object.entries(owner).flatMap(([key, value]) => [
    { owner, key },
    ...(value !== null && typeof value === "object" ? membersOf(value as Record<string, unknown>) : []),
  ]);
}

/** Valid text, with a few characters cut out and others put in their place. */
const cut = fc
  .tuple(
    fc.constantFrom(...VALID),
    fc.nat(),
    fc.nat(12),
    fc.oneof(fc.string(), fc.constantFrom('"', "{", "\u0000", "1e999")),
  )
  .map(([message, at, length, put]) => {
    const text = JSON.stringify(message);
    const start = at % text.length;
    return text.slice(0, start) + put + text.slice(start + length);
  });

/** Valid text, with a member written twice: which of them counts must not depend on who reads it. */
const twice = fc
  .tuple(
    fc.constantFrom(...VALID),
    fc.constantFrom("jsonrpc", "id", "method", "params", "name", "arguments", "_meta", "__proto__"),
    fc.oneof(fc.json({ maxDepth: 2 }), fc.constantFrom('"tools/call"', '"ec2_stop_instance"', "null", "{}")),
    fc.boolean(),
  )
  .map(([message, key, value, first]) => {
    const text = JSON.stringify(message);
    const member = `${JSON.stringify(key)}:${value}`;
    return first ? `{${member},${text.slice(1)}` : `${text.slice(0, -1)},${member}}`;
  });

const brackets = fc
  .tuple(fc.constantFrom("[", '{"a":', '[{"b":'), fc.integer({ min: 60, max: 20_000 }))
  .map(([open, depth]) => open.repeat(depth));

/** A body for a request, or a line for standard input. */
export const mangled: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 6, arbitrary: mutated.map((message) => Buffer.from(JSON.stringify(message))) },
  { weight: 3, arbitrary: cut.map((text) => Buffer.from(text)) },
  { weight: 1, arbitrary: twice.map((text) => Buffer.from(text)) },
  { weight: 2, arbitrary: fc.json({ maxDepth: 6 }).map((text) => Buffer.from(text)) },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: brackets.map((text) => Buffer.from(text)) },
);

/** Bytes a header may hold, by RFC 9110 and Node, and names of what is elsewhere. */
const headerValue = fc.oneof(
  fc.string({
    unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => (code === 0x7f ? "x" : String.fromCharCode(code))),
    maxLength: 60,
  }),
  fc.constantFrom(
    "",
    " ",
    ",",
    ";",
    "*/*;q=1e999",
    "=?utf-8?B?AAAA?=",
    "=?base64?AA==?=",
    "__proto__",
    "constructor",
    "../../etc/passwd",
    "2026-07-28",
    "1999-01-01",
  ),
  fc.integer({ min: 1, max: 9_000 }).map((length) => "x".repeat(length)),
);

/** Headers that fit no message, to put in the place of good ones. */
export const mangledHeaders: fc.Arbitrary<Record<string, string>> = fc.dictionary(
  fc.constantFrom(
    "mcp-session-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "authorization",
    "x-api-key",
    "accept",
    "content-type",
    "last-event-id",
    "traceparent",
  ),
  fc.oneof(
    headerValue,
    headerValue.map((value) => `Bearer ${value}`.slice(0, 9_000)),
    fc.constantFrom("tools/call", "tools/list", "ec2_stop_instance", "ec2_list_instances"),
  ),
  { minKeys: 1, maxKeys: 1 },
);

/** Large as allowed, each heavy for something: parsers, validators, redaction, hashing. */
export function heavy(max: number): Buffer[] {
  const fill = (make: (room: number) => unknown): Buffer => {
    const body = (value: unknown) =>
      JSON.stringify(modernRequest("tools/call", { name: "ec2_list_instances", arguments: value as object }));
    let room = max;
    let text = body(make(room));
    while (text.length > max) {
      room = Math.floor(room * 0.8);
      text = body(make(room));
    }
    return Buffer.from(text);
  };
  const keys = (count: number, value: unknown) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`key_${i}`, value]));
  return [
    fill((room) => keys(room / 12, 1)),
    fill((room) => ({ tags: keys(room / 16, "v") })),
    fill((room) => ({ instance_ids: Array(Math.floor(room / 3)).fill(0) })),
    fill((room) => ({ name_contains: "a".repeat(room) })),
    fill((room) => ({ name_contains: "\\".repeat(room / 2) })),
    fill((room) => ({ name_contains: "\u0000".repeat(room / 8) })),
    fill((room) => ({ name_contains: "AKIA".repeat(room / 4) })),
    fill((room) => ({ name_contains: "password=".repeat(room / 9) })),
    fill((room) => ({ name_contains: "eyJ.".repeat(room / 4) })),
    fill((room) => ({ name_contains: "://a:b@".repeat(room / 7) })),
    fill((room) => ({ name_contains: "--token a ".repeat(room / 10) })),
    fill((room) => ({ name_contains: "password=a ".repeat(room / 11) })),
    fill((room) => ({ tags: keys(room / 16, 0) })),
    fill((room) => ({ name_contains: `${"a@".repeat(room / 2)}` })),
    fill((room) => ({ name_contains: " ".repeat(room) })),
    fill((room) => ({ name_contains: "-----BEGIN ".repeat(room / 11) })),
    fill((room) => ({ x: Array.from({ length: room / 130 }, () => nest(30)) })),
  ];
}
