import type { Presented } from "./credentials.ts";

/** The token in the headers, or why there is none. */
export type ShownToken = { token: string } | "missing" | "malformed";

/**
 * What the headers say. One blank stands between `Bearer` and the token, so that a token has few spellings; with both
 * headers, both must carry the same. A header that is there but empty, of another scheme, or repeated is `malformed`.
 */
export function tokenIn({ authorization, xApiKey }: Pick<Presented, "authorization" | "xApiKey">): ShownToken {
  const presented: (string | undefined)[] = [];
  if (authorization !== undefined) presented.push(/^bearer (\S+)$/i.exec(authorization)?.[1]);
  if (xApiKey !== undefined) presented.push(xApiKey);
  if (presented.length === 0) return "missing";
  const [token] = presented;
  return token === undefined || presented.some((other) => other !== token) ? "malformed" : { token };
}
