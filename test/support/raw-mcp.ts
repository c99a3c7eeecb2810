/** One `tools/call` of the 2026-07-28 protocol over HTTP, sent as a client may send it that keeps to no rule. */
export interface RawCall {
  tool: string;
  args?: unknown;
  key?: string;
  /** Announces that the client can ask its user; default true. */
  canAsk?: boolean;
  requestState?: unknown;
  inputResponses?: unknown;
  meta?: Record<string, unknown>;
  signal?: AbortSignal;
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into replies of every shape
type Json = any;

export interface RawReply {
  status: number;
  /** The JSON-RPC result and error; one of them is undefined. */
  result: Json;
  error: Json;
  /** The tool's reply inside the result. */
  content: Json;
  /** The kind of the tool's error, if it is one. */
  kind: string | undefined;
  callId: string;
  /** The question, when the result is one. */
  question: { message: string; form: Json; requestState: string } | undefined;
}

let id = 0;

export async function rawCall(url: string, call: RawCall): Promise<RawReply> {
  id += 1;
  const response = await fetch(url, {
    method: "POST",
    headers: {
      ...(call.key && { authorization: `Bearer ${call.key}` }),
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": call.tool,
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id,
      method: "tools/call",
      params: {
        name: call.tool,
        arguments: call.args ?? {},
        requestState: call.requestState,
        inputResponses: call.inputResponses,
        _meta: {
          "io.modelcontextprotocol/protocolVersion": "2026-07-28",
          "io.modelcontextprotocol/clientInfo": { name: "raw-client", version: "0.1" },
          "io.modelcontextprotocol/clientCapabilities": call.canAsk === false ? {} : { elicitation: {} },
          ...call.meta,
        },
      },
    }),
    signal: call.signal ?? null,
  });
  return replyOf(response.status, messageIn(await response.text()));
}

/** The last message of an event stream, or the only one of a JSON body. */
function messageIn(text: string): Json {
  const events = [...text.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => data);
  return JSON.parse(events.at(-1) ?? text);
}

function replyOf(status: number, { result, error }: Json): RawReply {
  const params = result?.inputRequests?.confirm?.params;
  return {
    status,
    result,
    error,
    content: result?.structuredContent,
    kind: result?.structuredContent?.error?.kind,
    callId: result?._meta?.["mcp-aws-server/call_id"],
    question: params && {
      message: params.message,
      form: params.requestedSchema,
      requestState: result.requestState,
    },
  };
}
