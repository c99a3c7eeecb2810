import { ToolError } from "../core/errors.ts";
import { cleanText } from "../core/text.ts";

/** What goes back to the client: an object, which `mcp/` sends both as structured content and as compact JSON text. */
export interface CallResult {
  content: Record<string, unknown>;
  /** The content as compact JSON. */
  text: string;
  isError: boolean;
}

const MAX_TEXT = 16_384;

/**
 * The one place where text from the account becomes part of a reply: every string, keys included, loses invisible
 * characters; secrets are replaced.
 */
export function succeed(output: object, redact: (value: unknown) => unknown): CallResult {
  const content = redact(cleanDeep(output)) as Record<string, unknown>;
  return { content, text: JSON.stringify(content), isError: false };
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
  const content = { error: redact(body) };
  return { content, text: JSON.stringify(content), isError: true };
}

/**
 * Some 25,000 tokens: more would push everything else out of a model's memory. The tools keep well below by themselves;
 * this is for what AWS was never seen to answer.
 */
const MAX_REPLY_BYTES = 100_000;

/** @throws ToolError `invalid_input` for an answer too large to be of use; not for a change, which has happened */
export function refuseIfTooLarge({ text }: CallResult): void {
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_REPLY_BYTES) return;
  throw new ToolError("invalid_input", `The answer has ${Math.round(bytes / 1000)} KB, which is more than is sent.`, {
    nextStep: "Ask for less: narrower filters, a lower limit or a shorter time range.",
  });
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
