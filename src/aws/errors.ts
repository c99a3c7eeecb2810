import { ToolError } from "../core/errors.ts";
import { cleanText, maskIdentifiers } from "../core/text.ts";
import {
  BAD_CERTIFICATE,
  BY_STATUS,
  type Case,
  type Health,
  MEANINGS,
  type Meaning,
  NOT_AWS,
  SLOW,
  UNREACHABLE,
  UNREADABLE,
} from "./meanings.ts";

/** An error of an AWS command, understood. */
export interface AwsFailure {
  error: ToolError;
  health: Health;
  /** Short token for the audit row and metrics: the AWS error code, or the transport's. */
  code: string;
  /** Whether AWS certainly did not act: it answered no, or the request never left. */
  refused: boolean;
}

/** The command an error belongs to. */
export interface CommandInfo {
  service: string;
  operation: string;
  region: string;
  /** IAM action, `ec2:StartInstances`. */
  action: string;
}

interface SdkError {
  name?: string;
  message?: string;
  code?: string;
  /** Of an AggregateError: one for each address that was tried. */
  errors?: unknown;
  $metadata?: { httpStatusCode?: number };
}

/** The connection was never made, so nothing can have happened. */
const NEVER_SENT = new Set(["ECONNREFUSED", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND"]);
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/;
/** What the SDK calls an error whose body it could not make sense of. */
const NO_CODE = new Set(["", "Error", "Unknown", "UnknownError", "SyntaxError"]);

/**
 * Maps whatever the SDK threw for a request to the one error a call may end with. Looks at the error's name *and* at the
 * HTTP status, because a load balancer's HTML page, a truncated body or a reset connection has no AWS error code.
 */
export function understandAwsError(thrown: unknown, command: CommandInfo, signal: AbortSignal): AwsFailure {
  if (signal.aborted && isAbort(thrown)) return aborted(signal, command);
  const error = (thrown ?? {}) as SdkError;
  const status = error.$metadata?.httpStatusCode;
  const answered = status !== undefined && status >= 300;
  const given = (answered ? error.name : (error.code ?? error.name)) ?? "";
  const code = !NO_CODE.has(given) ? given : answered ? `HTTP${status}` : "unreadable_answer";
  const said = maskIdentifiers(cleanText(error.message ?? "", 300));
  const about: Case = {
    code,
    status,
    action: command.action,
    where: `${command.service.toUpperCase()} in ${command.region}`,
    said: said ? `: ${said}` : ".",
  };
  const meaning = answered
    ? meaningOfAnswer(command.service, given, status)
    : meaningOfSilence(error, command.service, given);
  return failure(meaning, about);
}

function meaningOfAnswer(service: string, code: string, status: number): Meaning {
  const known = meaningOfCode(service, code);
  if (known) return known;
  if (NO_CODE.has(code) && status !== 429 && status < 500) return NOT_AWS;
  return BY_STATUS.find(([from, to]) => status >= from && status <= to)?.[2] ?? UNREADABLE;
}

function meaningOfCode(service: string, code: string): Meaning | undefined {
  const plain = code.replace(/^.*#|^(Client|Server)\./, "").replace(/(Exception|Fault|Error)$/, "");
  return MEANINGS.find(([codes]) => codes.test(`${service}:${plain}`) || codes.test(plain))?.[1];
}

/** No answer, or one that broke off or made no sense. */
function meaningOfSilence(error: SdkError, service: string, code: string): Meaning {
  if (CERTIFICATE.test(code)) return BAD_CERTIFICATE;
  const noAddressAnswered = Array.isArray(error.errors);
  const gaveUpConnecting = error.name === "TimeoutError" && /establish a connection/.test(error.message ?? "");
  if (NEVER_SENT.has(code) || noAddressAnswered || gaveUpConnecting) return UNREACHABLE;
  if (error.name === "TimeoutError" && code !== "ECONNRESET" && code !== "EPIPE") return SLOW;
  return meaningOfCode(service, code) ?? UNREADABLE;
}

function failure(meaning: Meaning, about: Case): AwsFailure {
  const { kind, health, refused, message, nextStep, retryAfterS, retryable } = meaning;
  const options = {
    nextStep: typeof nextStep === "string" ? nextStep : nextStep(about),
    detail: about.code,
    ...(retryAfterS !== undefined && { retryAfterS }),
    ...(retryable !== undefined && { retryable }),
  };
  return { code: about.code, health, refused, error: new ToolError(kind, message(about), options) };
}

function isAbort(thrown: unknown): boolean {
  const { name, code } = (thrown ?? {}) as SdkError;
  // Destroying the socket under a body being read surfaces as a reset; the signal says whose doing it was.
  return name === "AbortError" || name === "TimeoutError" || code === "ECONNRESET";
}

function aborted(signal: AbortSignal, command: CommandInfo): AwsFailure {
  const error = reasonOf(signal, command);
  // A deadline that ran out while AWS was silent says the service is not answering; a cancellation says nothing.
  return { code: "aborted", health: error.kind === "timeout" ? "failing" : "silent", refused: false, error };
}

/** The error a call ends with when its signal has fired: the signal's own reason, where it is one of ours. */
export function reasonOf(signal: AbortSignal, { action }: CommandInfo): ToolError {
  if (signal.reason instanceof ToolError) return signal.reason;
  if (signal.reason instanceof DOMException && signal.reason.name === "TimeoutError") {
    return new ToolError("timeout", `AWS did not answer ${action} in time.`, { nextStep: "Retry in a while." });
  }
  return new ToolError("cancelled", `The call was cancelled during ${action}.`, {
    nextStep: "Nothing to do; call again if the answer is still wanted.",
  });
}
