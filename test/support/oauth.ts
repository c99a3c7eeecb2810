import { writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { after } from "node:test";
import { type Issuer, type IssuerOptions, startIssuer } from "./issuer.ts";
import { readRows } from "./scene.ts";
import { type HttpServerProcess, type ServerOptions, startHttpServer, temporaryHome } from "./server.ts";
import { headersFor, type JsonRpc, send } from "./wire.ts";

/** Where clients of the tests' servers think they are. */
export const PUBLIC_URL = "https://mcp.example.com/mcp";

/** Who gets what, unless a test says otherwise. */
const PRINCIPALS = `
roles: [auditor]
oauth:
  - { scope: aws.read, roles: [viewer] }
  - { scope: aws.write, roles: [operator] }
  - { claim: groups, value: ops, roles: [operator] }
  - { scope: aws.audit, roles: [auditor] }
`;

export function principalsFile(home: string, text = PRINCIPALS): string {
  const file = join(home, "principals.yaml");
  writeFileSync(file, text);
  return file;
}

export interface OauthServerOptions extends ServerOptions {
  issuer: Pick<Issuer, "url">;
  publicUrl?: string;
  principals?: string;
}

/** A server that takes the issuer's tokens. */
export function startOauthServer(options: OauthServerOptions): Promise<HttpServerProcess> {
  const { issuer, publicUrl = PUBLIC_URL, principals, home = temporaryHome(), args = [], ...rest } = options;
  const oauth = ["--oauth-issuer", issuer.url, "--public-url", publicUrl];
  const file = principalsFile(home, principals);
  return startHttpServer({ ...rest, home, args: [...oauth, "--principals-file", file, ...args] });
}

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

let sources = 0;
/** Connections from an address of loopback that nobody has come from yet: refusals are limited by source. */
export function newSource(): Agent {
  sources += 1;
  const localAddress = `127.1.${Math.floor(sources / 200)}.${(sources % 200) + 1}`;
  // Node hands these options to the connection.
  return new Agent({ localAddress } as ConstructorParameters<typeof Agent>[0]);
}

/** From an address of its own each time. */
export function ask(url: string, message: JsonRpc, headers: Record<string, string> = {}) {
  const body = JSON.stringify(message);
  return send(url, { headers: { ...headersFor(message), ...headers }, body, agent: newSource() });
}

export const toolsIn = (reply: { json: JsonRpc }): string[] =>
  reply.json.result.tools.map(({ name }: { name: string }) => name);

/** What the rows of the trail say, oldest first. */
export async function recorded(home: string): Promise<Record<string, unknown>[]> {
  return (await readRows(home)).map(({ body }) => body ?? {});
}

/** Issuers and servers of one file of tests; they end with it. */
export function oauthStage() {
  const running: { stop(): Promise<unknown> }[] = [];
  const issuers: Issuer[] = [];
  after(async () => {
    await Promise.all(running.map((server) => server.stop()));
    await Promise.all(issuers.map((issuer) => issuer.close()));
  });
  return {
    async start(options: OauthServerOptions): Promise<HttpServerProcess> {
      const server = await startOauthServer(options);
      running.push(server);
      return server;
    },
    async newIssuer(options: Partial<IssuerOptions> = {}): Promise<Issuer> {
      const issuer = await startIssuer({ audience: PUBLIC_URL, ...options });
      issuers.push(issuer);
      return issuer;
    },
  };
}
