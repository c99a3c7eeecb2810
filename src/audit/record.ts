import { createHmac, randomUUID } from "node:crypto";
import type { AuditEvent } from "../core/audit.ts";
import { instanceText, thisInstance } from "../core/instance.ts";
import type { Redact } from "./redact.ts";

/** Version of the body's format; the first field of every body. */
const VERSION = 1;

/** Longest JSON, in UTF-8 bytes, at which a field is kept whole. */
const LIMITS = { arguments: 16_384, response: 2_048, detail: 4_096, attempts: 65_536, error: 8_192 } as const;
const PARAMETERS_LIMIT = 2_048;
/** Names and ids are short; this stops a caller from filling the disk through an operation's name. */
const TEXT_LIMIT = 1_024;
const PREFIX_BYTES = 512;

/** Columns beside the body, for queries. `null` where the body has none or it is of the wrong type. */
export interface Projection {
  /** UTC, `2026-11-22T10:00:00.000Z`, whatever zone the event was written with. */
  timestamp: string | null;
  event: string | null;
  call_id: string | null;
  user: string | null;
  operation: string | null;
  resource_type: string | null;
  resource_id: string | null;
  region: string | null;
  account: string | null;
  result: string | null;
  duration_ms: number | null;
}

/** The names of the projection's columns, in the order in which they are stored. */
export const COLUMNS = [
  "timestamp",
  "event",
  "call_id",
  "user",
  "operation",
  "resource_type",
  "resource_id",
  "region",
  "account",
  "result",
  "duration_ms",
] as const satisfies readonly (keyof Projection)[];

export interface RecordOptions {
  redact: Redact;
  /** Keys the hash of what was cut off (the redaction key). */
  hashKey: Uint8Array;
}

/**
 * Turns an event into the bytes that are stored and chained: UTF-8 JSON, redacted, bounded, keys in a fixed order, with
 * the format's version and an id that no other row has. Never throws, whatever the event holds.
 */
export function encodeRecord(event: AuditEvent, options: RecordOptions): Buffer {
  const clean = asObject(
    options.redact({
      ...event,
      instance: instanceText(thisInstance()),
      arguments: boundArguments(event.arguments, options),
    }),
  );
  const limit = (value: unknown, bytes: number): unknown => truncate(value, bytes, options.hashKey);
  const attempts = Array.isArray(clean.attempts)
    ? clean.attempts.map((attempt) => {
        const fields = asObject(attempt);
        return { ...fields, parameters: limit(fields.parameters, PARAMETERS_LIMIT) };
      })
    : clean.attempts;
  const text = (name: keyof AuditEvent | "instance"): unknown => shorten(limit(clean[name], TEXT_LIMIT));
  const body = {
    v: VERSION,
    id: randomUUID(),
    timestamp: text("timestamp"),
    event: text("event"),
    call_id: text("call_id"),
    user: text("user"),
    roles: text("roles"),
    authenticated_via: text("authenticated_via"),
    agent: text("agent"),
    transport: text("transport"),
    instance: text("instance"),
    operation: text("operation"),
    effect: text("effect"),
    resource_type: text("resource_type"),
    resource_id: text("resource_id"),
    region: text("region"),
    account: text("account"),
    arguments: limit(clean.arguments, LIMITS.arguments),
    policies: limit(clean.policies, LIMITS.detail),
    confirm_mode: text("confirm_mode"),
    confirmed_via: text("confirmed_via"),
    asked_in: text("asked_in"),
    result: text("result"),
    duration_ms: text("duration_ms"),
    error: limit(clean.error, LIMITS.error),
    response: limit(clean.response, LIMITS.response),
    attempts: limit(attempts, LIMITS.attempts),
    trace_id: text("trace_id"),
    detail: limit(clean.detail, LIMITS.detail),
  };
  return Buffer.from(JSON.stringify(body), "utf8");
}

/** The body as an object, or `undefined` when the bytes are not a JSON object. */
export function parseBody(body: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8"));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? asObject(value) : undefined;
  } catch {
    return undefined;
  }
}

/** The id that makes a row storable only once, or `undefined` when the body has none. */
export function recordId(fields: Record<string, unknown> | undefined): string | undefined {
  const id = fields?.id;
  return typeof id === "string" ? storable(id) : undefined;
}

/** Computes the columns from a body; used when a row is written and again when it is verified. Never throws. */
export function project(fields: Record<string, unknown> | undefined): Projection {
  const text = (name: string): string | null => {
    const value = fields?.[name];
    return typeof value === "string" ? storable(value) : null;
  };
  const duration = fields?.duration_ms;
  return {
    timestamp: utc(text("timestamp")),
    event: text("event"),
    call_id: text("call_id"),
    user: text("user"),
    operation: text("operation"),
    resource_type: text("resource_type"),
    resource_id: text("resource_id"),
    region: text("region"),
    account: text("account"),
    result: text("result"),
    duration_ms: typeof duration === "number" ? duration : null,
  };
}

/** PostgreSQL's text holds no NUL, and no database a lone surrogate; the body keeps what was there. */
function storable(text: string): string {
  return text.replaceAll("\u0000", "\ufffd").toWellFormed();
}

function utc(timestamp: string | null): string | null {
  if (timestamp === null) return null;
  const time = new Date(timestamp);
  return Number.isNaN(time.getTime()) ? timestamp : time.toISOString();
}

/** A name stays a text when it is cut, so that its column can still be searched. */
function shorten(value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("prefix" in value)) return value;
  const { prefix, bytes, hmac_sha256 } = { bytes: 0, hmac_sha256: "", ...value };
  return `${prefix} [truncated: ${bytes} bytes, hmac_sha256 ${hmac_sha256}]`;
}

/**
 * Large arguments are cut before they are redacted: copying and searching 256 KB of them would hold up everybody else.
 * What is kept of them is redacted as text, somewhat beyond the cut, so that no secret is seen only in part.
 */
function boundArguments(given: unknown, { redact, hashKey }: RecordOptions): unknown {
  const json = plainJson(given);
  if (json === undefined || json.length <= LIMITS.arguments) return given;
  const prefix = String(redact(json.slice(0, 2 * PREFIX_BYTES))).slice(0, PREFIX_BYTES);
  const hmac = createHmac("sha256", hashKey).update(json, "utf8").digest("hex");
  return { truncated: true, hmac_sha256: hmac, bytes: Buffer.byteLength(json), prefix };
}

/** Undefined for what is not JSON (it has a cycle, or a bigint); the redactor knows what to do with that. */
function plainJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

function truncate(value: unknown, limit: number, hashKey: Uint8Array): unknown {
  if (value === undefined || typeof value === "number" || typeof value === "boolean") return value;
  // A short text is the common case and needs no measuring: JSON takes at most six bytes for one code unit.
  if (typeof value === "string" && value.length * 6 + 2 <= limit) return value;
  const json = Buffer.from(JSON.stringify(value), "utf8");
  if (json.byteLength <= limit) return value;
  // Cutting may split a character; its remains decode to U+FFFD, which is well-formed.
  const prefix = json.subarray(0, PREFIX_BYTES).toString("utf8");
  const hmac = createHmac("sha256", hashKey).update(json).digest("hex");
  return { truncated: true, hmac_sha256: hmac, bytes: json.byteLength, prefix };
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
