import type { IncomingMessage } from "node:http";
import { authenticateHttp, type WaysIn } from "./authenticate.ts";
import type { Authentication, Identified, Presented, Refusal } from "./credentials.ts";
import type { LoginLimit } from "./login-limit.ts";
import type { PeerOf } from "./peer.ts";

/** Somebody who is in, or the answer to whoever is not; nothing in it tells why. */
export type Admission =
  | ({ ok: true } & Identified)
  | { ok: false; status: 401 | 403 | 429 | 503; headers: Readonly<Record<string, string>> };

export interface EntranceParts {
  ways: WaysIn;
  peerOf: PeerOf;
  /** Value of `WWW-Authenticate` for a refusal: how to get in, where there is a way to say it. */
  challenge: (reason: Refusal) => string;
  limit: LoginLimit;
  /** Told of every request that did not get in. */
  onRefused: (reason: Refusal, source: string) => void;
}

/** Lets requests in, or says no. */
export function createEntrance({ ways, peerOf, challenge, limit, onRefused }: EntranceParts) {
  return function admit(request: IncomingMessage): Admission | Promise<Admission> {
    const { source, certificate } = peerOf(request);
    const authorization = headerOf(request, "authorization");
    const xApiKey = headerOf(request, "x-api-key");
    const shown: Presented = { authorization, xApiKey, certificate, source };
    const waitS = limit.waitS(shown);
    if (waitS > 0) {
      onRefused("too_many", source);
      return tooMany(waitS);
    }
    const answer = authenticateHttp(shown, ways);
    return answer instanceof Promise ? answer.then((who) => admission(who, shown)) : admission(answer, shown);
  };

  function admission(who: Authentication, shown: Presented): Admission {
    if (who.ok) {
      limit.succeeded(shown, who.principal);
      return who;
    }
    limit.failed(shown, who.reason);
    onRefused(who.reason, shown.source);
    return refusal(who.reason, challenge(who.reason));
  }
}

/** With every repetition: of some headers Node keeps the first and drops the others, which a proxy may have gone by. */
function headerOf({ headersDistinct }: IncomingMessage, name: string): string | undefined {
  return headersDistinct[name]?.join(", ");
}

function tooMany(waitS: number): Admission {
  return { ok: false, status: 429, headers: { "retry-after": String(waitS) } };
}

function refusal(reason: Refusal, challenge: string): Admission {
  switch (reason) {
    case "too_many":
      return tooMany(10);
    case "unavailable":
      return { ok: false, status: 503, headers: { "retry-after": "10" } };
    case "unmapped":
      return { ok: false, status: 403, headers: { "www-authenticate": challenge } };
    default:
      return { ok: false, status: 401, headers: { "www-authenticate": challenge } };
  }
}
