import { writeFileSync } from "node:fs";
import * as https from "node:https";
import { join } from "node:path";
import type { Authority, Issued } from "./pki.ts";
import { startHttpServer, temporaryHome } from "./server.ts";
import { headersFor, type JsonRpc, modernRequest, type WireReply } from "./wire.ts";

/** How a client makes its connection. */
export interface Caller {
  /** Whom it trusts. */
  ca: string;
  client?: Pick<Issued, "cert" | "key"> | undefined;
  agent?: https.Agent;
  headers?: Record<string, string | string[]>;
  tls?: https.RequestOptions;
}

/** What became of a request: a reply, or the code of the error that ended the connection. */
export type Outcome = (WireReply & { failed?: undefined; reused: boolean }) | { failed: string; status?: undefined };

/** Posts one message over TLS, on a connection of its own unless the caller has an agent. */
export async function postTls(url: string, message: JsonRpc, caller: Caller): Promise<Outcome> {
  const { ca, client, agent, headers, tls } = caller;
  const { hostname, port, pathname } = new URL(url);
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const options = { hostname, port, path: pathname, method: "POST", ca, ...tls, agent: agent ?? false };
  const own = client && { cert: client.cert, key: client.key };
  const request = https.request({ ...options, ...own, headers: { ...headersFor(message), ...headers } }, (response) => {
    let text = "";
    response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    response.on("error", (error: NodeJS.ErrnoException) => resolve({ failed: error.code ?? error.message }));
    response.on("end", () => {
      const data = [...text.matchAll(/^data: (.+)$/gm)].at(-1)?.[1] ?? text;
      const json = data === "" ? {} : (JSON.parse(data) as JsonRpc);
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        text,
        json,
        reused: request.reusedSocket,
      });
    });
  });
  request.on("error", (error: NodeJS.ErrnoException) => resolve({ failed: error.code ?? error.message }));
  request.end(JSON.stringify(message));
  return promise;
}

export const LIST = modernRequest("tools/list");

/** The names of the tools in a reply. */
export function toolsIn(outcome: Outcome): string[] {
  if (outcome.failed !== undefined) throw new Error(outcome.failed);
  return (outcome.json.result?.tools ?? []).map(({ name }: { name: string }) => name);
}

/** Files of a TLS server in a home of its own, and the flags that name them. */
export function tlsHome(server: Issued, clients: Authority | string, principals: string, crl?: string) {
  const home = temporaryHome();
  const file = (name: string) => join(home, name);
  const write = (name: string, text: string) => writeFileSync(file(name), text);
  write("server.pem", server.cert);
  write("server.key", server.key);
  write("clients.pem", typeof clients === "string" ? clients : clients.ca);
  write("principals.yaml", principals);
  if (crl !== undefined) write("clients.crl", crl);
  const args = [
    ...["--tls-cert-file", file("server.pem"), "--tls-key-file", file("server.key")],
    ...["--tls-client-ca-file", file("clients.pem"), "--principals-file", file("principals.yaml")],
    ...(crl === undefined ? [] : ["--tls-client-crl-file", file("clients.crl")]),
  ];
  const start = (more: string[] = []) => startHttpServer({ home, args: [...args, ...more] });
  return { home, file, write, args, start };
}
