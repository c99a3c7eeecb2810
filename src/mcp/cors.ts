/** Names of request headers that a client of the protocol sends, beside those that a page may always send. */
const REQUEST_HEADERS = [
  "authorization",
  "content-type",
  "last-event-id",
  "mcp-method",
  "mcp-name",
  "mcp-protocol-version",
  "mcp-session-id",
  "traceparent",
  "x-api-key",
];

/** What lets the page of an allowed origin read the answers; never with cookies, which nothing here uses. */
export function corsHeaders(origin: string): Record<string, string> {
  return {
    "access-control-allow-origin": origin,
    "access-control-expose-headers": "mcp-session-id, retry-after, www-authenticate",
    vary: "Origin",
  };
}

/** What a page of an allowed origin may send, in answer to the browser's question, which carries no credential. */
export function preflightHeaders(methods: readonly string[]): Record<string, string> {
  return {
    "access-control-allow-methods": methods.join(", "),
    "access-control-allow-headers": REQUEST_HEADERS.join(", "),
    "access-control-max-age": "600",
  };
}
