import { randomBytes, randomUUID } from "node:crypto";
import type { OutgoingHttpHeaders } from "node:http";
import type { AwsRequest, Protocol } from "./aws-request.ts";

/** An error as AWS means it, before a protocol spells it. */
export interface AwsError {
  status: number;
  code: string;
  message: string;
}

/** One whole HTTP answer. */
export interface Answer {
  status: number;
  headers: OutgoingHttpHeaders;
  body: Buffer;
}

export type CommonErrorKind = "throttle" | "internal" | "expired-token" | "denied" | "auth-failure";

/** What `service` answers in one of the situations every AWS service knows; each family has its own code and status. */
export function commonError(kind: CommonErrorKind, request: AwsRequest, accountId: string): AwsError {
  switch (kind) {
    case "throttle":
      return throttle(request.protocol);
    case "internal":
      return internal(request.protocol);
    case "expired-token":
      return expiredToken(request.protocol);
    case "denied":
      return denied(request, accountId);
    case "auth-failure":
      return authFailure(request.protocol);
  }
}

function throttle(protocol: Protocol): AwsError {
  switch (protocol) {
    case "ec2":
      return { status: 503, code: "RequestLimitExceeded", message: "Request limit exceeded." };
    case "query":
      return { status: 400, code: "Throttling", message: "Rate exceeded" };
    case "rest-xml":
      return { status: 503, code: "SlowDown", message: "Please reduce your request rate." };
    case "rest-json":
      return { status: 429, code: "TooManyRequestsException", message: "Rate exceeded" };
    default:
      return { status: 400, code: "ThrottlingException", message: "Rate exceeded" };
  }
}

function internal(protocol: Protocol): AwsError {
  if (protocol === "ec2") return { status: 500, code: "InternalError", message: "An internal error has occurred" };
  const message = "The request processing has failed because of an unknown error, exception or failure.";
  return { status: 500, code: "InternalFailure", message };
}

function expiredToken(protocol: Protocol): AwsError {
  const message = "The security token included in the request is expired";
  switch (protocol) {
    case "ec2":
      return { status: 400, code: "RequestExpired", message: "Request has expired." };
    case "query":
    case "rest-xml":
      return { status: protocol === "query" ? 403 : 400, code: "ExpiredToken", message };
    case "rest-json":
      return { status: 403, code: "ExpiredTokenException", message };
    default:
      return { status: 400, code: "ExpiredTokenException", message };
  }
}

function authFailure(protocol: Protocol): AwsError {
  const message = "The security token included in the request is invalid.";
  switch (protocol) {
    case "ec2":
      return {
        status: 401,
        code: "AuthFailure",
        message: "AWS was not able to validate the provided access credentials",
      };
    case "query":
      return { status: 403, code: "InvalidClientTokenId", message };
    case "rest-xml":
      return { status: 403, code: "InvalidAccessKeyId", message };
    case "rest-json":
      return { status: 403, code: "UnrecognizedClientException", message };
    default:
      return { status: 400, code: "UnrecognizedClientException", message };
  }
}

/** Services whose IAM prefix is not their signing name. */
const IAM_PREFIX: Readonly<Record<string, string>> = { monitoring: "cloudwatch" };

/** AWS names the caller, the account and the resource in a refusal, which is why it must never be passed on unread. */
function denied(request: AwsRequest, accountId: string): AwsError {
  const { service, region, operation, protocol, parameters } = request;
  const user = `arn:aws:sts::${accountId}:assumed-role/app-server/session-1`;
  const action = `${IAM_PREFIX[service] ?? service}:${operation}`;
  const instance = parameters["InstanceId.1"];
  const resource = `arn:aws:${service}:${region}:${accountId}:${instance === undefined ? "*" : `instance/${instance}`}`;
  const refusal =
    `User: ${user} is not authorized to perform: ${action} on resource: ${resource} ` +
    `because no identity-based policy allows the ${action} action`;
  if (protocol === "ec2") {
    const encoded = randomBytes(240).toString("base64url");
    const message = `You are not authorized to perform this operation. ${refusal}. Encoded authorization failure message: ${encoded}`;
    return { status: 403, code: "UnauthorizedOperation", message };
  }
  if (protocol === "query" || protocol === "rest-xml") return { status: 403, code: "AccessDenied", message: refusal };
  return { status: protocol === "rest-json" ? 403 : 400, code: "AccessDeniedException", message: refusal };
}

/** Spells `error` the way services of this protocol do. */
export function errorAnswer(protocol: Protocol, error: AwsError): Answer {
  const { status, code, message } = error;
  const requestId = randomUUID();
  const headers = { "x-amzn-requestid": requestId };
  const xml = (body: string) => ({
    status,
    headers: { ...headers, "content-type": "text/xml;charset=UTF-8" },
    body: Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${body}`),
  });
  const json = (contentType: string, value: object, more: OutgoingHttpHeaders = {}) => ({
    status,
    headers: { ...headers, ...more, "content-type": contentType },
    body: Buffer.from(JSON.stringify(value)),
  });
  const detail = `<Code>${escapeXml(code)}</Code><Message>${escapeXml(message)}</Message>`;
  switch (protocol) {
    case "ec2":
      return xml(`<Response><Errors><Error>${detail}</Error></Errors><RequestID>${requestId}</RequestID></Response>`);
    case "query": {
      const type = status < 500 ? "Sender" : "Receiver";
      return xml(
        `<ErrorResponse><Error><Type>${type}</Type>${detail}</Error><RequestId>${requestId}</RequestId></ErrorResponse>`,
      );
    }
    case "rest-xml":
      return xml(`<Error>${detail}<RequestId>${requestId}</RequestId></Error>`);
    case "json-1.0":
      // 1.0 services qualify the name with a namespace, which clients must cut off.
      return json("application/x-amz-json-1.0", { __type: `com.amazon.coral.service#${code}`, message });
    case "json-1.1":
      return json("application/x-amz-json-1.1", { __type: code, message });
    case "rest-json":
      return json("application/json", { message }, { "x-amzn-errortype": `${code}:` });
  }
}

const XML_ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

function escapeXml(text: string): string {
  return text.replace(/[&<>]/g, (character) => XML_ENTITIES[character] ?? character);
}

/** The content type of a successful answer of this protocol. */
export function contentTypeOf(protocol: Protocol): string {
  switch (protocol) {
    case "ec2":
    case "query":
    case "rest-xml":
      return "text/xml;charset=UTF-8";
    case "rest-json":
      return "application/json";
    default:
      return `application/x-amz-${protocol}`;
  }
}
