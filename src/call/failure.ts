import { ToolError } from "../core/errors.ts";
import { cleanText } from "../core/text.ts";
import type { AwsSession } from "./parts.ts";

/**
 * The error a call ends with. Once a change may have reached AWS it is `unknown_outcome`, whatever went wrong after:
 * anything else would invite a second write.
 */
export function failureOf(thrown: unknown, callId: string, writeState: AwsSession["writeState"]): ToolError {
  const error = thrown instanceof ToolError ? thrown : unexpected(thrown, callId);
  if (writeState === "none") return error;
  const known = writeState === "done" ? "AWS accepted the change" : "The change was sent to AWS";
  return new ToolError("unknown_outcome", `${known}, but its outcome is unknown: ${error.message}`, {
    nextStep: "Describe the resource before doing anything else; do not repeat the call unseen.",
    detail: `${error.kind}:${error.detail ?? ""}`,
  });
}

/** A defect of ours: the agent learns that it is one, the audit row what, the log where. */
function unexpected(thrown: unknown, callId: string): ToolError {
  return new ToolError("internal", "The server failed to handle the call.", {
    nextStep: `Tell the server's operator the call id ${callId}.`,
    detail: cleanText(thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown), 300),
  });
}

/** The answer could not be written down, and a read that leaves no trace is not given. */
export function unrecorded(): ToolError {
  return new ToolError("audit_unavailable", "The answer could not be recorded and is withheld.", {
    retryAfterS: 30,
    nextStep: "Retry in a while; tell the server's operator that the audit store is down.",
  });
}
