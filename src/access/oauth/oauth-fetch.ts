import * as z from "zod";

/** Where an issuer's keys are to be had. */
export interface KeyPlace {
  issuer: string;
  /** Undefined: where the issuer's own metadata says. */
  jwksUrl: string | undefined;
}

/** One look for keys, discovery included, takes no longer. */
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 262_144;

const Metadata = z.looseObject({ issuer: z.string(), jwks_uri: z.string() });
const KeySet = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })) });
export type KeySet = z.output<typeof KeySet>;

/**
 * Asks the issuer for its keys.
 * @throws Error that names the place and what was wrong with the answer, and quotes nothing of it
 */
export async function fetchKeySet({ issuer, jwksUrl }: KeyPlace): Promise<KeySet> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const url = jwksUrl ?? (await discover(issuer, signal));
  const { data } = KeySet.safeParse(await fetchJson(url, signal));
  if (!data) throw new Error(`${place(url)}: not a JSON Web Key Set`);
  return data;
}

/** The `jwks_uri` of the first metadata document that is really this issuer's. */
async function discover(issuer: string, signal: AbortSignal): Promise<string> {
  const problems: string[] = [];
  for (const url of metadataUrls(issuer)) {
    try {
      const { data } = Metadata.safeParse(await fetchJson(url, signal));
      if (!data) problems.push(`${place(url)}: no issuer metadata with a jwks_uri`);
      else if (data.issuer !== issuer) problems.push(`${place(url)}: metadata of another issuer`);
      else if (!isSafe(data.jwks_uri)) problems.push(`${place(url)}: its jwks_uri is not https`);
      else return data.jwks_uri;
    } catch (error) {
      problems.push((error as Error).message);
    }
    if (signal.aborted) break;
  }
  throw new Error(problems.join("; "));
}

/** In the order of the MCP specification: RFC 8414, then OpenID Connect with the path behind, then before. */
export function metadataUrls(issuer: string): string[] {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, "");
  return [
    ...new Set([
      `${origin}/.well-known/oauth-authorization-server${path}`,
      `${origin}/.well-known/openid-configuration${path}`,
      `${origin}${path}/.well-known/openid-configuration`,
    ]),
  ];
}

async function fetchJson(url: string, signal: AbortSignal): Promise<unknown> {
  let text: string;
  try {
    // A redirect could lead anywhere, into this network too.
    const response = await fetch(url, { redirect: "manual", signal, headers: { accept: "application/json" } });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`answered ${response.status}`);
    }
    text = await bounded(response);
  } catch (error) {
    throw new Error(`${place(url)}: ${reason(error)}`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${place(url)}: not JSON`);
  }
}

async function bounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new Error(`answer is larger than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function reason(error: unknown): string {
  const { name, message, cause } = error as Error & { cause?: { code?: string } };
  if (name === "TimeoutError") return `no answer within ${TIMEOUT_MS / 1000} s`;
  return cause?.code ?? message;
}

/** Without a query, which may hold what is not for logs. */
function place(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

function isSafe(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname } = new URL(url);
  return protocol === "https:" || (protocol === "http:" && /^(localhost|\[::1\]|127(\.\d{1,3}){3})$/.test(hostname));
}
