import type { ErrorKind } from "../core/errors.ts";

// What AWS's answers, and its silence, mean to whoever called. Every sentence here is read by an agent.

/** What one finished command says about the health of the service. */
export type Health = "healthy" | "failing" | "silent";

/** What the sentences may speak of. */
export interface Case {
  action: string;
  /** `EC2 in us-east-1`. */
  where: string;
  code: string;
  status: number | undefined;
  /** AWS's own words, cleaned and masked, with a colon before them; or a full stop. */
  said: string;
}

export interface Meaning {
  kind: ErrorKind;
  health: Health;
  refused: boolean;
  message: (about: Case) => string;
  nextStep: string | ((about: Case) => string);
  retryAfterS?: number;
  retryable?: boolean;
}

/** A healthy service that says no to this request, in words worth passing on. */
const no = (kind: ErrorKind, nextStep: string): Meaning => ({
  kind,
  health: "healthy",
  refused: true,
  message: ({ code, action, said }) => `AWS answered ${code} to ${action}${said}`,
  nextStep,
});

const THROTTLED: Meaning = {
  kind: "throttled",
  health: "failing",
  refused: true,
  message: ({ where }) => `${where} is limiting the rate of requests.`,
  nextStep: "Wait, then retry once; narrow the request with filters if it keeps happening.",
  retryAfterS: 5,
};

const INVALID = no("invalid_input", "Correct the arguments; the message says which one AWS objects to.");

/**
 * What AWS's error codes mean, whatever their HTTP status; the first match counts. Codes are compared without `Exception`,
 * `Fault` or `Error` at their end: the services (and the SDK's classes for the same code) do not agree on these. Where
 * one code means different things, the service stands before it.
 */
export const MEANINGS: readonly [codes: RegExp, meaning: Meaning][] = [
  [
    /^(AuthFailure|ExpiredToken|IncompleteSignature|InvalidAccessKeyId|InvalidClientTokenId|InvalidToken|MissingAuthenticationToken|SignatureDoesNotMatch|TokenRefreshRequired|UnrecognizedClient)$/,
    {
      kind: "credentials_expired",
      health: "silent",
      refused: true,
      message: ({ where }) => `${where} did not accept the server's credentials.`,
      nextStep:
        "Ask the operator to renew the server's AWS credentials (`mcp-aws-server doctor` checks them); if other regions work, this region may not be enabled for the account.",
    },
  ],
  [
    /^(InvalidSignature|RequestExpired|RequestInTheFuture|RequestTimeTooSkewed)$/,
    {
      kind: "credentials_expired",
      health: "silent",
      refused: true,
      message: ({ where }) => `${where} rejected the signature or its time.`,
      nextStep: "Ask the operator to check the server's clock (`mcp-aws-server doctor`) and to renew its credentials.",
    },
  ],
  [
    /^(AccessDenied|Authorization(Error)?|Forbidden|NotAuthorized|Unauthorized|UnauthorizedOperation)$/,
    {
      kind: "aws_access_denied",
      health: "healthy",
      refused: true,
      // AWS's own text names the caller, the account and the resource, or encodes them: it is not passed on.
      message: ({ action }) => `AWS does not let this server perform ${action}.`,
      nextStep: ({ action }) =>
        `Ask the account's administrator to allow ${action} to the server's role; do not retry.`,
    },
  ],
  [
    /^(Blocked|OptInRequired|PendingVerification|SubscriptionRequired)$/,
    {
      kind: "aws_access_denied",
      health: "healthy",
      refused: true,
      message: ({ where, code }) => `The AWS account may not use ${where} (${code}).`,
      nextStep: "Ask the account's owner to enable the service or region, or to contact AWS Support; do not retry.",
    },
  ],
  [
    /^(BandwidthLimitExceeded|EC2Throttled|PriorRequestNotComplete|ProvisionedThroughputExceeded|RequestLimitExceeded|RequestThrottled|SlowDown|Throttled|Throttling|TooManyRequests|(ce|logs):LimitExceeded)$/,
    THROTTLED,
  ],
  [
    /^RequestTimeout$/,
    {
      kind: "timeout",
      health: "failing",
      refused: false,
      message: ({ where }) => `${where} gave up waiting for the request.`,
      nextStep: "Retry once; ask the operator to check the server's network if it happens again.",
      retryAfterS: 5,
    },
  ],
  [
    // EC2 answers these with HTTP 500, though it is well.
    /^Insufficient\w*Capacity$/,
    no(
      "conflict",
      "AWS has no capacity for this at the moment; retry later, or ask the user for another instance type or zone.",
    ),
  ],
  [
    /(LimitExceeded|QuotaExceeded|CountExceeded)$/,
    no("conflict", "A quota of the account is used up; ask the user to free something or to have the quota raised."),
  ],
  [
    /^(OperationNotPermitted|Unsupported\w*)$/,
    no(
      "conflict",
      "The resource does not support this or is protected against it; describe it and ask its owner before changing that.",
    ),
  ],
  [
    /^DataUnavailable$/,
    no("not_found", "AWS has no data for this period yet; ask for another one, or again in a day if it is recent."),
  ],
  [
    /NotFound|NoSuch|DoesNotExist/,
    no("not_found", "Check the identifier and the region; list the resources to see what exists."),
  ],
  [
    /^(Invalid|Incorrect)\w*State|Conflict|InUse$|AlreadyExists|DependencyViolation|ConcurrentModification|InProgress$|OperationAborted|NotActive$|NotReady$/,
    no("conflict", "Describe the resource to see its present state before trying again."),
  ],
];

/** A whole answer whose code says nothing; from the status alone. */
export const BY_STATUS: readonly [from: number, to: number, meaning: Meaning][] = [
  [429, 429, THROTTLED],
  [400, 499, INVALID],
  [
    500,
    599,
    {
      kind: "upstream",
      health: "failing",
      refused: false,
      message: ({ where, status }) => `${where} failed to answer (HTTP ${status}).`,
      nextStep: "Retry in a while; the AWS Health Dashboard shows whether the service is degraded.",
      retryAfterS: 10,
    },
  ],
];

/** A refusal without an AWS error code in it, e.g. a company proxy's page. */
export const NOT_AWS: Meaning = {
  kind: "upstream",
  health: "silent",
  refused: true,
  message: ({ where, status }) => `Something between the server and ${where} refused the request (HTTP ${status}).`,
  nextStep: "Ask the operator to check the endpoint and the proxies in between; do not retry.",
  retryable: false,
};

export const BAD_CERTIFICATE: Meaning = {
  kind: "upstream",
  health: "failing",
  refused: true,
  message: ({ where }) => `The TLS certificate of ${where} could not be verified.`,
  nextStep: "Ask the operator to check the endpoint, the proxy in between and NODE_EXTRA_CA_CERTS.",
  retryable: false,
};

export const UNREACHABLE: Meaning = {
  kind: "upstream",
  health: "failing",
  refused: true,
  message: ({ where }) => `${where} cannot be reached.`,
  nextStep: "Check the region's name and retry in a while; ask the operator to check the server's network if it lasts.",
  retryAfterS: 10,
};

export const SLOW: Meaning = {
  kind: "timeout",
  health: "failing",
  refused: false,
  message: ({ where }) => `${where} did not answer in time.`,
  nextStep: "Retry once; narrow the request if it is a large one.",
  retryAfterS: 10,
};

export const UNREADABLE: Meaning = {
  kind: "upstream",
  health: "failing",
  refused: false,
  message: ({ where }) => `The answer of ${where} was cut off or could not be read.`,
  nextStep: "Retry once; ask the operator to check the network and the proxies in between if it happens again.",
  retryAfterS: 5,
};
