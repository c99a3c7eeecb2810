import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const ROOT = join(import.meta.dirname, "../..");
const START_TIMEOUT_MS = 20_000;

export interface ServerOptions {
  /** AWS, as the server sees it: a fault proxy. */
  endpoint?: string;
  args?: string[];
  env?: NodeJS.ProcessEnv;
  /** Default: a new temporary one. */
  home?: string;
  /** Run the bundle instead of the sources. */
  bundled?: boolean;
}

/** The environment of a server that knows of no AWS but the endpoint, and of no home but its own. */
export function serverEnv(home: string, options: ServerOptions): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    // Coverage of the server counts as coverage of the tests.
    ...(process.env.NODE_V8_COVERAGE && !options.bundled && { NODE_V8_COVERAGE: process.env.NODE_V8_COVERAGE }),
    HOME: home,
    XDG_STATE_HOME: join(home, "state"),
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: "testing",
    AWS_SECRET_ACCESS_KEY: "testing",
    ...(options.endpoint && { AWS_ENDPOINT_URL: options.endpoint }),
    ...options.env,
  };
}

export function mainFile(bundled = false): string {
  return join(ROOT, bundled ? "dist/main.js" : "src/main.ts");
}

/** What a command of the command line printed. */
export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end. */
export async function runCli(
  args: string[],
  options: ServerOptions & { home: string; input?: string },
): Promise<CliResult> {
  const env = serverEnv(options.home, options);
  const child = spawn(process.execPath, [mainFile(options.bundled), ...args], { env, stdio: ["pipe", "pipe", "pipe"] });
  const result: CliResult = { code: null, stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (result.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (result.stderr += text));
  child.stdin.end(options.input ?? "");
  const timer = setTimeout(() => child.kill("SIGKILL"), START_TIMEOUT_MS);
  [result.code] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  return result;
}

export interface HttpServerProcess {
  url: string;
  home: string;
  pid: number;
  stderr(): string;
  /** SIGTERM, then the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL, and wait until it is gone. */
  kill(): Promise<void>;
}

const homes: string[] = [];
process.once("exit", () => {
  for (const home of homes) rmSync(home, { recursive: true, force: true });
});

export function temporaryHome(): string {
  const home = mkdtempSync(join(tmpdir(), "mcp-aws-"));
  homes.push(home);
  return home;
}

/** Starts `mcp-aws-server http` on a free port and resolves once it listens. */
export async function startHttpServer(options: ServerOptions = {}): Promise<HttpServerProcess> {
  const home = options.home ?? temporaryHome();
  const child = spawn(process.execPath, [mainFile(options.bundled), "http", "--port", "0", ...(options.args ?? [])], {
    env: serverEnv(home, options),
    stdio: ["ignore", "ignore", "pipe"],
  });
  const killOnExit = () => child.kill("SIGKILL");
  process.once("exit", killOnExit);
  child.once("exit", () => process.off("exit", killOnExit));
  let stderr = "";
  const url = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`server did not start:\n${stderr}`)), START_TIMEOUT_MS);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      const listening = /^Serving MCP on (\S+)/m.exec(stderr);
      if (listening?.[1]) {
        clearTimeout(timer);
        resolve(listening[1]);
      }
    });
    child.once("exit", (code) => {
      clearTimeout(timer);
      reject(new Error(`server exited with ${code}:\n${stderr}`));
    });
  });
  return { url, home, pid: child.pid ?? 0, stderr: () => stderr, ...endings(child) };
}

function endings(child: ChildProcessByStdio<null, null, Readable> | ChildProcessByStdio<Writable, Readable, Readable>) {
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, "exit");
    }
    return child.exitCode;
  };
  return { stop: () => end("SIGTERM"), kill: async () => void (await end("SIGKILL")) };
}

/** How the person at the client answers a question; called with the question's text. */
export type Person = (message: string, form: Record<string, unknown>) => Elicited | Promise<Elicited>;
type Elicited = {
  action: "accept" | "decline" | "cancel";
  content?: Record<string, string | number | boolean | string[]>;
};

export interface ConnectOptions {
  era: "legacy" | "modern";
  /** Without one the client does not offer elicitation. */
  person?: Person;
  key?: string;
}

function newClient({ era, person }: ConnectOptions): Client {
  const client = new Client(
    { name: "test-client", version: "1.0.0" },
    {
      capabilities: person ? { elicitation: {} } : {},
      versionNegotiation: { mode: era === "legacy" ? "legacy" : { pin: "2026-07-28" } },
    },
  );
  if (person) {
    client.setRequestHandler("elicitation/create", async ({ params }) => {
      const form = "requestedSchema" in params ? (params.requestedSchema as Record<string, unknown>) : {};
      return person(params.message, form);
    });
  }
  return client;
}

/** The official client, over HTTP. */
export async function connectHttp(url: string, options: ConnectOptions): Promise<Client> {
  const client = newClient(options);
  const headers: Record<string, string> = options.key ? { authorization: `Bearer ${options.key}` } : {};
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  return client;
}

/** The official client, with a server of its own over stdio. */
export async function connectStdio(options: ConnectOptions & ServerOptions & { home: string }): Promise<Client> {
  const client = newClient(options);
  const env = Object.fromEntries(
    Object.entries(serverEnv(options.home, options)).filter(([, value]) => value !== undefined),
  );
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [mainFile(options.bundled), ...(options.args ?? [])],
    env: env as Record<string, string>,
    stderr: "ignore",
  });
  await client.connect(transport);
  return client;
}

/** The reply of a tool, as the program at the other end reads it. */
export interface ToolReply {
  // biome-ignore lint/suspicious/noExplicitAny: tests look into replies of every shape
  content: any;
  isError: boolean;
  text: string;
}

export async function call(client: Client, name: string, args: Record<string, unknown> = {}): Promise<ToolReply> {
  const result = await client.callTool({ name, arguments: args });
  const [first] = result.content;
  return {
    content: result.structuredContent,
    isError: result.isError === true,
    text: first?.type === "text" ? first.text : "",
  };
}
