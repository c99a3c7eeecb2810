/** Every way a call can end other than with an answer. The kind is the contract with the agent; the text is for reading. */
export type ErrorKind =
  | "invalid_input"
  | "not_found"
  | "conflict"
  | "denied"
  | "confirmation_required"
  | "declined"
  | "unauthenticated"
  | "aws_access_denied"
  | "credentials_expired"
  | "throttled"
  | "overloaded"
  | "circuit_open"
  | "timeout"
  | "cancelled"
  | "upstream"
  | "unknown_outcome"
  | "audit_unavailable"
  | "internal";

/** Kinds where the same call, unchanged, may succeed later without anybody doing anything. */
const RETRYABLE: ReadonlySet<ErrorKind> = new Set([
  "throttled",
  "overloaded",
  "circuit_open",
  "timeout",
  "upstream",
  "audit_unavailable",
]);

export interface ToolErrorOptions {
  /** What the agent or its user should do next, as one imperative sentence. */
  nextStep: string;
  /** Seconds after which a retry makes sense. */
  retryAfterS?: number;
  /** Overrides the kind's default. */
  retryable?: boolean;
  /** Short machine-readable detail for the audit row and the log; never shown to the agent. */
  detail?: string;
  /** Ids of the policies that decided, for `denied`. Shown to the agent: "which policy said no". */
  policies?: readonly string[];
}

/**
 * The one error a call may end with. Its message is written by us and safe to show: text that came from AWS or from an
 * argument enters it only after cleaning.
 */
export class ToolError extends Error {
  override readonly name = "ToolError";
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  readonly nextStep: string;
  readonly retryAfterS: number | undefined;
  readonly detail: string | undefined;
  readonly policies: readonly string[] | undefined;

  constructor(kind: ErrorKind, message: string, options: ToolErrorOptions) {
    super(message);
    this.kind = kind;
    this.retryable = options.retryable ?? RETRYABLE.has(kind);
    this.nextStep = options.nextStep;
    this.retryAfterS = options.retryAfterS;
    this.detail = options.detail;
    this.policies = options.policies;
  }
}
