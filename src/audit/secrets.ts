/** Replaces one secret by its mark. */
type Mask = (secret: string) => string;

/**
 * One pass that tells whether a text can contain any secret at all: nearly none does, and every reply is looked at.
 * Each pattern below needs one of these.
 */
const HINT =
  /AKIA|ASIA|eyJ|-----BEGIN|:\/\/|gh[a-z]_|github_pat_|xox|xapp-|[rs]k_|sk-|whsec_|glpat-|npm_|pypi-|SG\.|dapi|hf_|GOCSPX-|ya29\.|AIza|mcpaws_|[?&]sig=|pass|pwd|secret|token|(?:api|access|account|private|auth|session)[_-]?key|connection[_-]?string|x-amz-|authorization|bearer|credential|cookie/i;

const MARK = "\\[redacted:[0-9a-f]{8}\\]";

/**
 * Tokens that are recognised by their own shape. Every pattern starts at a fixed text or at the edge of a run and
 * cannot fail after an unbounded stretch, so that the time taken is linear in the length of the text.
 */
const TOKENS =
  /(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}|[rs]k_(?:live|test)_\w{10,}|sk-(?:ant-|proj-)?[A-Za-z0-9]{20,}[\w-]*|whsec_\w{16,}|glpat-[\w-]{16,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{16,}|SG\.[\w-]{16,64}\.[\w-]{16,}|dapi[0-9a-f]{32}|hf_[A-Za-z0-9]{30,}|GOCSPX-[\w-]{16,}|ya29\.[\w-]{16,}|AIza[\w-]{35}|mcpaws_[A-Za-z0-9-]{1,64}_[\w-]{8,})|(?<![\w-])eyJ[\w-]{5,}\.eyJ[\w-]{2,}\.[\w-]*/g;

/** `scheme://user:password@`: the password. Covers web addresses and database connection strings alike. */
const URL_PASSWORD = new RegExp(`(://[^\\s/:@?#"'<>\\[\\]]{0,256}:)(?!${MARK}@)([^\\s/?#"'<>]{1,1024})(?=@)`, "g");

/** `Bearer …` outside a header; "basic" is too common a word. */
const BEARER = /\b(bearer)([ \t]{1,8}|%20|\+)(?!\[redacted:)([A-Za-z0-9._~+/=-]{6,})/gi;

const QUOTE = `\\\\{0,3}["']`;
const VALUE = `(?!(?:${QUOTE})?\\[redacted:)(?:"((?:[^"\\\\\\n]|\\\\.){1,4096})(?=")|'((?:[^'\\\\\\n]|\\\\.|''){1,4096})(?=')|\\\\{1,3}"([^"\\\\\\n]{1,4096})(?=\\\\{1,3}")|(?:\\\\{0,3}["'])?([^\\s"'\\\\,;&<>(){}\\[\\]]+))`;
const WORD_IN_TEXT =
  `(?:pass(?:word|wd|phrase)|(?<=[_;]|; )pwd|(?<=[?&])sig|secret(?:[_-]?access)?(?:[_-]?key)?|(?:api|private|access|account|auth|session)[_-]?key|` +
  "connection[_-]?string|credential|(?<=x-amz-)signature|(?<!(?:next|prev|previous|page|continuation|client|request|starting|start|marker|forward|backward|sequence|max|min|input|output|total)[ _-]?)token)s?";

/** `password=…`, `"secret": "…"`, `SecretAccessKey: …` inside a text. */
const ASSIGNMENT = new RegExp(`(?<![:/])(${WORD_IN_TEXT}(?:${QUOTE})?[ \\t]{0,8}(?:=>|[:=])[ \\t]{0,8})${VALUE}`, "gi");

/** `Authorization: …`, `Cookie: …` up to the end of the line. */
const HEADER = new RegExp(
  `\\b((?:proxy-)?authorization|(?:set-)?cookie|x-(?:api-key|amz-security-token))((?:${QUOTE})?[ \\t]{0,8}[:=][ \\t]{0,8})(?:(?:${QUOTE}))?(?!(?:\\w{1,20} )?\\[redacted:)([^"'\\\\\\r\\n]+)`,
  "gi",
);

/** `--password hunter2`, `--api-key hunter2`. */
const FLAG = new RegExp(
  `(--?(?:[a-z0-9]{1,20}-){0,4}(?:pass(?:word|wd|phrase)|secret(?:-access)?(?:-key)?|(?<!(?:next|page|client|starting|continuation|request)-)token|(?:api|private|access)-?key)[ \\t]{1,8})(?!-)${VALUE}`,
  "gi",
);

/** A mark can bring a second secret to light, seldom more; after this many rounds nothing is looked for. */
const MAX_ROUNDS = 4;

/** Replaces every secret recognised inside `text`. Linear in the length of the text; touches nothing else. */
export function maskText(text: string, mask: Mask): string {
  if (text.length < 8 || !HINT.test(text)) return text;
  let result = text;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const before = result;
    result = maskOnce(before, mask);
    if (result === before) break;
  }
  return result;
}

function maskOnce(text: string, mask: Mask): string {
  const value = (whole: string, lead: string, a?: string, b?: string, c?: string, d?: string): string => {
    const secret = a ?? b ?? c ?? (typeof d === "string" ? d : undefined);
    // Prose such as "token: true" or a lone dash is not worth a mark.
    if (secret === undefined || /^(?:true|false|null|none|undefined|\*+|-+|arn:aws.*)$/i.test(secret)) return whole;
    const rest = whole.slice(lead.length);
    const at = rest.indexOf(secret);
    return lead + rest.slice(0, at) + mask(secret) + rest.slice(at + secret.length);
  };
  return maskPem(text, mask)
    .replace(URL_PASSWORD, (_whole, lead: string, secret: string) => lead + mask(secret))
    .replace(TOKENS, (secret) => mask(secret))
    .replace(HEADER, (whole: string, _name: string, _separator: string, secret: string) => {
      return whole.slice(0, whole.length - secret.length) + maskHeader(secret, mask);
    })
    .replace(BEARER, (whole, scheme: string, space: string, secret: string) =>
      looksRandom(secret) ? scheme + space + mask(secret) : whole,
    )
    .replace(ASSIGNMENT, value)
    .replace(FLAG, value);
}

/** Keeps the scheme of a header value, which tells what went wrong without telling the secret. */
function maskHeader(value: string, mask: Mask): string {
  const scheme = /^(?:bearer|basic|digest|aws4-hmac-sha256|token) {1,8}(?=\S)/i.exec(value)?.[0] ?? "";
  const secret = value.slice(scheme.length);
  return secret.includes("[redacted:") && secret.length < 32 ? value : scheme + mask(secret);
}

/** "Bearer authentication" is prose; a credential has digits or is long. */
function looksRandom(word: string): boolean {
  return word.length >= 20 || /\d/.test(word);
}

/** Private keys in PEM, with or without their end line. */
function maskPem(text: string, mask: Mask): string {
  let from = text.indexOf("-----BEGIN ");
  if (from < 0) return text;
  let result = "";
  let kept = 0;
  while (from >= 0) {
    const label = text.slice(from + 11, from + 64);
    if (/^[A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----/.test(label)) {
      const end = text.indexOf("-----END ", from);
      const close = end < 0 ? -1 : text.indexOf("-----", end + 9);
      const stop = close < 0 ? text.length : close + 5;
      result += text.slice(kept, from) + mask(text.slice(from, stop));
      kept = stop;
      from = text.indexOf("-----BEGIN ", stop);
    } else from = text.indexOf("-----BEGIN ", from + 11);
  }
  return result + text.slice(kept);
}
