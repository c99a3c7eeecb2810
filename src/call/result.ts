import type { ToolError } from "../core/errors.ts";
import { cleanText } from "../core/text.ts";

/** What goes back to the client: an object, which `mcp/` sends both as structured content and as compact JSON text. */
export interface CallResult {
  content: Record<string, unknown>;
  isError: boolean;
}

const MAX_TEXT = 16_384;

/**
 * The one place where text from the account becomes part of a reply: every string, keys included, loses invisible
 * characters; secrets are replaced.
 */
export function succeed(output: object, redact: (value: unknown) => unknown): CallResult {
  return { content: redact(cleanDeep(output)) as Record<string, unknown>, isError: false };
}

export function fail(error: ToolError, redact: (value: unknown) => unknown): CallResult {
  const body = {
    kind: error.kind,
    message: cleanText(error.message),
    retryable: error.retryable,
    ...(error.retryAfterS !== undefined && { retry_after_s: error.retryAfterS }),
    next_step: cleanText(error.nextStep),
    ...(error.policies && { policies: error.policies }),
  };
  return { content: { error: redact(body) }, isError: true };
}

/** What the audit row keeps of a reply: counts and states, not the data. */
export function summarise(content: Record<string, unknown>): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(content)) {
    if (key === "summary" || key === "errors" || typeof value === "number" || typeof value === "boolean")
      kept[key] = value;
    else if (typeof value === "string" && key !== "next_cursor") kept[key] = cleanText(value, 200);
    else if (Array.isArray(value)) kept[`${key}_count`] = value.length;
  }
  return kept;
}

function cleanDeep(value: unknown): unknown {
  if (typeof value === "string") return cleanText(value, MAX_TEXT);
  if (Array.isArray(value)) return value.map(cleanDeep);
  if (value !== null && typeof value === "object") {
    // From entries: a tag called __proto__ must stay an ordinary key.
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [cleanText(key, 256), cleanDeep(member)]));
  }
  return value;
}
