import * as z from "zod";
import type { Refusal } from "../credentials.ts";

/** What a token must say, whoever signed it. */
export interface TokenRules {
  /** Compared character by character, as RFC 9207 has it. */
  issuer: string;
  /** The only audience a token may have. */
  audience: string;
  algorithms: readonly string[];
  /** Claim that names the user. */
  userClaim: string;
}

/** What a token says. Nobody has checked its signature. */
export interface TokenContent {
  user: string;
  scopes: readonly string[];
  claims: Readonly<Record<string, unknown>>;
  /** Unix time in milliseconds. */
  expiresAt: number;
  /** SHA-256 (base64url) of the certificate the token is bound to, where it is bound to one. */
  thumbprint: string | undefined;
}

/** A compact JWS: three parts, none of them empty. Everything else (JWE, JSON serialisation) is not looked at. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const MAX_TOKEN_LENGTH = 8_192;
/** How far the issuer's clock may be ahead of ours. */
const SKEW_MS = 30_000;

/**
 * How keys are named, and what is for others: a token that brings its own key or says where to get one, or that asks for
 * extensions, is refused, because no honest issuer needs that here.
 */
const Header = z.looseObject({
  alg: z.string(),
  kid: z.string().min(1).max(256).optional(),
  typ: z
    .string()
    .refine((typ) => ACCESS_TOKEN_TYPES.has(typ.toLowerCase()))
    .optional(),
  ...Object.fromEntries(["jku", "jwk", "x5u", "crit", "b64", "enc", "zip"].map((name) => [name, z.never().optional()])),
});
const ACCESS_TOKEN_TYPES: ReadonlySet<string> = new Set(["jwt", "at+jwt", "application/at+jwt"]);

const NumericDate = z.number().min(0);
const Claims = z.looseObject({
  iss: z.string(),
  aud: z.union([z.string(), z.tuple([z.string()])]),
  exp: NumericDate,
  nbf: NumericDate.optional(),
  iat: NumericDate.optional(),
  /** A token is bound to a certificate or to nobody; other bindings (DPoP) cannot be checked here. */
  cnf: z.strictObject({ "x5t#S256": z.string().min(1) }).optional(),
  /** Of Cognito, which signs `id` tokens with the same keys. */
  token_use: z.literal("access").optional(),
  // What other kinds of token have, and access tokens have not: ID tokens, logout tokens, security events.
  ...Object.fromEntries(["at_hash", "c_hash", "s_hash", "events"].map((name) => [name, z.never().optional()])),
});

/** Neither controls nor what cannot be seen nor broken Unicode, and no blank at an end. */
const USER = /^(?=.{1,128}$)[^\p{C}\p{Z}](?:(?:[^\p{C}\p{Zl}\p{Zp}])*[^\p{C}\p{Z}])?$/u;

/** Whether a text has the form of a token at all. */
export function isCompactToken(text: string): boolean {
  return text.length <= MAX_TOKEN_LENGTH && COMPACT.test(text);
}

/**
 * Reads a token and holds it against the rules, all but the signature: so that what could never be accepted costs
 * neither a signature nor a request to the issuer.
 */
export function readToken(token: string, rules: TokenRules, now: number = Date.now()): TokenContent | Refusal {
  const [header, claims] = token.split(".", 2).map(jsonOf);
  const { data: head } = Header.safeParse(header);
  if (!head || !rules.algorithms.includes(head.alg)) return "invalid_token";
  const { data: body } = Claims.safeParse(claims);
  if (!body || body.iss !== rules.issuer || [body.aud].flat()[0] !== rules.audience) return "invalid_token";
  const expiresAt = body.exp * 1000;
  if (expiresAt <= now) return "expired";
  const notBefore = Math.max(body.nbf ?? 0, body.iat ?? 0) * 1000;
  if (notBefore > now + SKEW_MS) return "invalid_token";
  const user = Object.hasOwn(body, rules.userClaim) ? body[rules.userClaim] : undefined;
  if (typeof user !== "string" || !USER.test(user)) return "invalid_token";
  return { user, scopes: scopesOf(body), claims: body, expiresAt, thumbprint: body.cnf?.["x5t#S256"] };
}

/** `scope` (RFC 9068), or `scp` as some issuers have it, a text or a list. Anything else grants nothing. */
function scopesOf({ scope, scp }: Readonly<Record<string, unknown>>): readonly string[] {
  const granted = scope ?? scp;
  if (typeof granted === "string") return granted.split(" ").filter(Boolean);
  return granted === scp && Array.isArray(granted) ? granted.filter((each) => typeof each === "string") : [];
}

function jsonOf(part: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(part, "base64url")));
  } catch {
    return undefined;
  }
}
