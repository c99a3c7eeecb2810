import type { IncomingMessage, ServerResponse } from "node:http";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  type JSONWebKeySet,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
} from "jose";

/** A key an issuer signs with. */
export interface SigningKey {
  kid: string;
  alg: string;
  privateKey: CryptoKey;
  publicKey: CryptoKey;
  /** As the issuer publishes it. */
  jwk: JWK;
}

export async function signingKey(kid: string, alg = "RS256"): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

/** How an issuer answers. */
export type IssuerMood =
  | { kind: "well" }
  /** Closes every connection without an answer. */
  | { kind: "down" }
  | { kind: "slow"; ms: number }
  | { kind: "status"; status: number }
  /** More than anybody should read, and never at its end. */
  | { kind: "huge" }
  | { kind: "redirect"; to: string }
  | { kind: "text"; text: string };

/** An issuer of access tokens: a real server with real keys, that can be made to misbehave. */
export interface Issuer {
  /** As `iss` has it. */
  url: string;
  origin: string;
  /** What is published; change it to rotate. */
  keys: SigningKey[];
  /** Published instead of the keys. */
  jwks: JSONWebKeySet | undefined;
  mood: IssuerMood;
  /** Changes to the metadata document. */
  metadata: Record<string, unknown>;
  /** Paths at which metadata is; others answer 404. */
  metadataPaths: string[];
  /** Paths of every request so far. */
  requests: string[];
  /** A token as it should be, but for what is given; undefined takes a claim or header out. */
  token(
    claims?: Record<string, unknown>,
    how?: { key?: SigningKey; header?: Record<string, unknown> },
  ): Promise<string>;
  /** Answers a request by hand, before anything else; false when it did not. */
  also: (request: IncomingMessage, response: ServerResponse) => Promise<boolean> | boolean;
  close(): Promise<void>;
}

export interface IssuerOptions {
  /** Path of the issuer's URL. */
  path?: string;
  audience: string;
  keys?: SigningKey[];
  /** Serves HTTPS, as localhost, with this key and certificate (PEM). */
  tls?: { key: string; cert: string };
}

export async function startIssuer({ path = "", audience, keys, tls }: IssuerOptions): Promise<Issuer> {
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    answer(request, response).catch(() => response.destroy());
  };
  const server = tls ? https.createServer(tls, listener) : http.createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const origin = tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`;
  const url = origin + path;
  const issuer: Issuer = {
    url,
    origin,
    keys: keys ?? [await signingKey("first")],
    jwks: undefined,
    mood: { kind: "well" },
    metadata: {},
    metadataPaths: [`/.well-known/oauth-authorization-server${path.replace(/\/$/, "")}`],
    requests: [],
    also: () => false,
    async token(claims = {}, { key = issuer.keys[0], header = {} } = {}) {
      if (!key) throw new Error("the issuer has no key");
      const now = Math.floor(Date.now() / 1000);
      const payload = { iss: url, aud: audience, sub: "alice", scope: "aws.read", iat: now, exp: now + 600, ...claims };
      const head = { alg: key.alg, kid: key.kid, typ: "at+jwt", ...header };
      return new SignJWT(defined(payload) as JWTPayload)
        .setProtectedHeader(defined(head) as JWTHeaderParameters)
        .sign(key.privateKey);
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "", origin);
    issuer.requests.push(pathname);
    const { mood } = issuer;
    if (mood.kind === "down") return void response.destroy();
    if (mood.kind === "slow") await sleep(mood.ms, undefined, { ref: false });
    if (mood.kind === "status") return void response.writeHead(mood.status).end("{}");
    if (mood.kind === "redirect") return void response.writeHead(302, { location: mood.to + request.url }).end();
    response.setHeader("content-type", "application/json");
    if (mood.kind === "text") return void response.end(mood.text);
    if (mood.kind === "huge") {
      response.write('{"keys":["');
      const more = setInterval(() => response.write("A".repeat(65_536)), 1);
      response.once("close", () => clearInterval(more));
      return;
    }
    if (await issuer.also(request, response)) return;
    if (pathname === "/jwks") response.end(JSON.stringify(issuer.jwks ?? { keys: issuer.keys.map(({ jwk }) => jwk) }));
    else if (issuer.metadataPaths.includes(pathname)) {
      const document = { issuer: url, jwks_uri: `${origin}/jwks`, ...issuer.metadata };
      response.end(JSON.stringify(document));
    } else response.writeHead(404).end("{}");
  }

  return issuer;
}

function defined(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
