import { writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import type { Issuer } from "./issuer.ts";
import { type HttpServerProcess, type ServerOptions, startHttpServer, temporaryHome } from "./server.ts";

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
