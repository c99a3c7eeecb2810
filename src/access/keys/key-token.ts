import { createHash, randomBytes } from "node:crypto";

// The form of an API key: mcpaws_<id, 8 hex digits>_<256 random bits in base64url>.

const TOKEN = /^mcpaws_([0-9a-f]{8})_[A-Za-z0-9_-]{43}$/;
const RANDOM_BYTES = 32;

/** Whether a text has the form of one of our keys; says nothing about its being valid. */
export function isKeyToken(text: string): boolean {
  return TOKEN.test(text);
}

/** The id a token names, or undefined for a text of another form. */
export function keyIdOf(token: string): string | undefined {
  return TOKEN.exec(token)?.[1];
}

/** A new token with an id that none of `taken` has. */
export function newToken(taken: ReadonlySet<string>): { id: string; token: string } {
  for (;;) {
    const id = randomBytes(4).toString("hex");
    if (!taken.has(id)) return { id, token: `mcpaws_${id}_${randomBytes(RANDOM_BYTES).toString("base64url")}` };
  }
}

/**
 * What is kept of a token. Nobody finds a token with 256 random bits by trying, so it needs neither salt nor a slow hash.
 */
export function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
