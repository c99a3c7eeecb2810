import type { IncomingHttpHeaders } from "node:http";

/** How a service spells requests, answers and errors. `ec2` is the query protocol with EC2's own error document. */
export type Protocol = "ec2" | "query" | "json-1.0" | "json-1.1" | "rest-json" | "rest-xml";

/** What can be read off a request to AWS without knowing the service. */
export interface AwsRequest {
  /** Signing name, e.g. `ec2`, `sts`, `monitoring`; `unknown` when the request is not signed. */
  service: string;
  /** Region of the signature; `unknown` when the request is not signed. */
  region: string;
  /** `DescribeInstances`; for REST services `METHOD /path`. */
  operation: string;
  protocol: Protocol;
  /** Query protocols: the flat form fields without Action and Version. JSON protocols: the body. REST: empty. */
  parameters: Record<string, unknown>;
  accessKeyId: string | undefined;
}

/** Recognises service, region, operation and parameters of one request. `path` is the raw request target. */
export function recogniseRequest(method: string, path: string, headers: IncomingHttpHeaders, body: string): AwsRequest {
  const [, accessKeyId, region = "unknown", service = "unknown"] =
    /Credential=([^/]+)\/\d{8}\/([^/]+)\/([^/]+)\/aws4_request/.exec(headers.authorization ?? "") ?? [];
  return { service, region, accessKeyId, ...recogniseOperation(method, path, headers, body, service) };
}

function recogniseOperation(
  method: string,
  path: string,
  headers: IncomingHttpHeaders,
  body: string,
  service: string,
): Pick<AwsRequest, "operation" | "protocol" | "parameters"> {
  const contentType = headers["content-type"] ?? "";
  const target = headers["x-amz-target"];
  if (typeof target === "string") {
    const operation = target.slice(target.lastIndexOf(".") + 1);
    const protocol = contentType.includes("json-1.0") ? "json-1.0" : "json-1.1";
    return { operation, protocol, parameters: parseJsonObject(body) };
  }
  if (contentType.startsWith("application/x-www-form-urlencoded")) {
    const { Action: operation, Version: _version, ...parameters } = Object.fromEntries(new URLSearchParams(body));
    if (operation !== undefined) return { operation, protocol: service === "ec2" ? "ec2" : "query", parameters };
  }
  if (service === "s3") return { operation: s3Operation(method, path), protocol: "rest-xml", parameters: {} };
  return { operation: `${method} ${path.split("?", 1)[0]}`, protocol: "rest-json", parameters: {} };
}

/** The S3 operations the server uses; others as method and path. Buckets are in the path: the endpoint is an address. */
function s3Operation(method: string, path: string): string {
  const { pathname, searchParams } = new URL(path, "http://s3");
  const object = /^\/[^/]+\/./.test(pathname);
  if (searchParams.has("object-lock")) return `${method === "PUT" ? "Put" : "Get"}ObjectLockConfiguration`;
  if (searchParams.has("versions")) return "ListObjectVersions";
  if (object && method === "PUT") return "PutObject";
  if (object && method === "GET") return "GetObject";
  return `${method} ${pathname}`;
}

function parseJsonObject(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
