import { ToolError } from "../core/errors.ts";
import { cleanText, maskIdentifiers } from "../core/text.ts";

/** What one finished command says about the health of the service. */
export type Health = "healthy" | "failing" | "silent";

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
  Code?: string;
  $metadata?: { httpStatusCode?: number; requestId?: string };
  $response?: { statusCode?: number };
  $fault?: "client" | "server";
}

const THROTTLED = new Set([
  "BandwidthLimitExceeded",
  "EC2ThrottledException",
  "PriorRequestNotComplete",
  "ProvisionedThroughputExceededException",
  "RequestLimitExceeded",
  "RequestThrottled",
  "RequestThrottledException",
  "SlowDown",
  "ThrottledException",
  "Throttling",
  "ThrottlingException",
  "TooManyRequestsException",
]);

const DENIED = new Set([
  "AccessDenied",
  "AccessDeniedException",
  "AuthorizationError",
  "NotAuthorized",
  "UnauthorizedOperation",
  "Client.UnauthorizedOperation",
  "OptInRequired",
]);

const BAD_CREDENTIALS = new Set([
  "AuthFailure",
  "CredentialsProviderError",
  "ExpiredToken",
  "ExpiredTokenException",
  "IncompleteSignature",
  "InvalidAccessKeyId",
  "InvalidClientTokenId",
  "MissingAuthenticationToken",
  "MissingAuthenticationTokenException",
  "SignatureDoesNotMatch",
  "TokenProviderError",
  "TokenRefreshRequired",
  "UnrecognizedClientException",
]);

const CLOCK = new Set(["InvalidSignatureException", "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"]);

/** The request did not reach AWS: no connection, so nothing can have happened. */
const NEVER_SENT = new Set(["ECONNREFUSED", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND"]);

const TLS_PROBLEM = /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO_VERIFY/;

/**
 * Maps whatever the SDK threw to the one error a call may end with. Looks at the error's name *and* at the HTTP status,
 * because a load balancer's HTML page, a truncated body or a reset connection has no AWS error code.
 */
export function understandAwsError(thrown: unknown, command: CommandInfo, signal?: AbortSignal): AwsFailure {
  if (signal?.aborted && isAbort(thrown)) return aborted(signal, command);
  const error = (thrown ?? {}) as SdkError;
  const status = error.$metadata?.httpStatusCode ?? error.$response?.statusCode;
  const code = error.code && !error.$metadata?.httpStatusCode ? error.code : (error.name ?? "Unknown");
  const service = command.service.toUpperCase();
  const where = `${service} in ${command.region}`;

  if (BAD_CREDENTIALS.has(code) || BAD_CREDENTIALS.has(error.name ?? "")) return badCredentials(error, code);
  if (CLOCK.has(code)) {
    return {
      code,
      health: "silent",
      refused: true,
      error: new ToolError("credentials_expired", `${where} rejected the request's signature time.`, {
        nextStep: "Ask the operator to check the server's clock (mcp-aws-server doctor) and to renew its credentials.",
        detail: code,
      }),
    };
  }
  if (DENIED.has(code)) {
    return {
      code,
      health: "healthy",
      refused: true,
      error: new ToolError("aws_access_denied", `AWS does not let this server perform ${command.action}.`, {
        nextStep: `Ask the account's administrator to allow ${command.action} to the server's role; do not retry.`,
        detail: code,
      }),
    };
  }
  if (THROTTLED.has(code) || status === 429) {
    return {
      code,
      health: "failing",
      refused: true,
      error: new ToolError("throttled", `${where} is limiting the rate of requests.`, {
        retryAfterS: 5,
        nextStep: "Wait, then retry once; narrow the request with filters if it keeps happening.",
        detail: code,
      }),
    };
  }
  if (status !== undefined && status >= 400 && status < 500) return clientError(error, code, command);
  if (status !== undefined && status >= 500) {
    return {
      code: code === "Error" || code === "Unknown" || code === "SyntaxError" ? `HTTP${status}` : code,
      health: "failing",
      refused: false,
      error: new ToolError("upstream", `${where} failed to answer (HTTP ${status}).`, {
        retryAfterS: 10,
        nextStep: "Retry in a while; the AWS Health Dashboard shows whether the service is degraded.",
        detail: code,
      }),
    };
  }
  return transportError(error, code, where);
}

function isAbort(thrown: unknown): boolean {
  const name = (thrown as SdkError | undefined)?.name;
  const code = (thrown as SdkError | undefined)?.code;
  // Destroying the socket under a body being read surfaces as a reset; the signal says whose doing it was.
  return name === "AbortError" || code === "ECONNRESET" || code === "ABORT_ERR" || name === "TimeoutError";
}

function aborted(signal: AbortSignal, command: CommandInfo): AwsFailure {
  const reason = signal.reason;
  const error =
    reason instanceof ToolError
      ? reason
      : new ToolError("cancelled", `The call was cancelled during ${command.action}.`, {
          nextStep: "Nothing to do; call again if the answer is still wanted.",
        });
  // A deadline that ran out while AWS was silent says the service is not answering; a cancellation says nothing.
  return { code: "aborted", health: error.kind === "timeout" ? "failing" : "silent", refused: false, error };
}

function badCredentials(error: SdkError, code: string): AwsFailure {
  const sso = /sso/i.test(error.message ?? "");
  const none = code === "CredentialsProviderError" && !sso;
  return {
    code,
    health: "silent",
    refused: true,
    error: new ToolError(
      "credentials_expired",
      none ? "The server found no usable AWS credentials." : "AWS did not accept the server's credentials.",
      {
        nextStep: sso
          ? "Ask the operator to run `aws sso login` for the server's profile; the server picks it up without a restart."
          : "Ask the operator to renew the server's AWS credentials (`mcp-aws-server doctor` shows which are used).",
        detail: code,
      },
    ),
  };
}

function clientError(error: SdkError, code: string, command: CommandInfo): AwsFailure {
  const said = maskIdentifiers(cleanText(error.message ?? "", 300));
  const text = `AWS answered ${code} to ${command.action}${said ? `: ${said}` : "."}`;
  const make = (kind: "not_found" | "conflict" | "invalid_input", nextStep: string): AwsFailure => ({
    code,
    health: "healthy",
    refused: true,
    error: new ToolError(kind, text, { nextStep, detail: code }),
  });
  if (/NotFound|NoSuch|DoesNotExist|ResourceNotFound|\.Malformed$/.test(code)) {
    return make("not_found", "Check the identifier and the region; list the resources to see what exists.");
  }
  if (
    /IncorrectInstanceState|IncorrectState|InvalidState|Conflict|InUse|AlreadyExists|DependencyViolation/.test(code)
  ) {
    return make("conflict", "Describe the resource to see its present state before trying again.");
  }
  if (/LimitExceeded|InsufficientInstanceCapacity|InsufficientCapacity|QuotaExceeded/.test(code)) {
    return make("conflict", "AWS has no capacity or quota for this; a person has to change the quota or the request.");
  }
  if (
    code === "UnsupportedOperation" ||
    code === "OperationNotPermitted" ||
    code === "UnsupportedHibernationConfiguration"
  ) {
    return make("conflict", "This resource does not support the operation; describe it to see why.");
  }
  return make("invalid_input", "Correct the arguments; the message says which one AWS objects to.");
}

function transportError(error: SdkError, code: string, where: string): AwsFailure {
  const connecting = /connection|connect/i.test(error.message ?? "") && error.name === "TimeoutError";
  if (TLS_PROBLEM.test(code)) {
    return {
      code,
      health: "failing",
      refused: true,
      error: new ToolError("upstream", `The TLS certificate of ${where} could not be verified.`, {
        retryable: false,
        nextStep: "Ask the operator to check the endpoint, the proxy in between and NODE_EXTRA_CA_CERTS.",
        detail: code,
      }),
    };
  }
  if (NEVER_SENT.has(code) || (connecting && code !== "ECONNRESET")) {
    return {
      code,
      health: "failing",
      refused: true,
      error: new ToolError("upstream", `${where} cannot be reached.`, {
        retryAfterS: 10,
        nextStep: "Retry in a while; ask the operator to check the server's network if it lasts.",
        detail: code,
      }),
    };
  }
  if (error.name === "TimeoutError" && code !== "ECONNRESET" && code !== "EPIPE") {
    return {
      code: "timeout",
      health: "failing",
      refused: false,
      error: new ToolError("timeout", `${where} did not answer in time.`, {
        retryAfterS: 10,
        nextStep: "Retry once; narrow the request if it is a large one.",
        detail: code,
      }),
    };
  }
  return {
    code: code === "Error" || code === "SyntaxError" ? "unreadable_answer" : code,
    health: "failing",
    refused: false,
    error: new ToolError("upstream", `The answer of ${where} was cut off or could not be read.`, {
      retryAfterS: 5,
      nextStep: "Retry once.",
      detail: code,
    }),
  };
}
