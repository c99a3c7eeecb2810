/** Random bytes never come near it; a password repeated, or a placeholder, does. */
const MIN_DIFFERENT = 16;
const MIN_BYTES = 32;

/**
 * The key that replicas share, from the text of a secret: base64 of 32 bytes or more, as `openssl rand -base64 32`
 * prints it (a line break at the end is none of it).
 * @throws Error that never quotes the text
 */
export function parseStateKey(secret: string): Uint8Array {
  const text = secret.trim();
  const bytes = Buffer.from(text, "base64");
  const problem =
    bytes.toString("base64") !== text
      ? "is not base64"
      : bytes.length < MIN_BYTES
        ? `holds ${bytes.length} bytes, and ${MIN_BYTES} are needed`
        : new Set(bytes).size < MIN_DIFFERENT
          ? "is not random"
          : undefined;
  if (problem === undefined) return bytes;
  throw new Error(`the text of the secret ${problem}: put the output of "openssl rand -base64 32" there`);
}
