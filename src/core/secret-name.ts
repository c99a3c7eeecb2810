/** Words that, at the end of a name, say that the value is secret. */
const SECRET_WORD =
  "pass(?:word|wd|phrase|code)s?|secrets?|tokens?|api_?keys?|(?:private|secret|session|signing|access|account|auth)_?keys?|" +
  "authorization|connection_?strings?|conn_?str|dsn|credentials?|cookie|bearer";
/** These are told apart even in names without separators, such as `DBPASSWORD`. */
const RUN_TOGETHER =
  "password|passwd|passphrase|(?:auth|access|session|security|refresh|bearer|csrf)token|apikey|privatekey|secretkey|secretaccesskey|connectionstring";
const PAIRED = "(?:^|_)(?:db|user|root|admin|mysql|postgres|pg|redis|smtp|mail|ssh|http|proxy)_?(?:pass|pwd)";
const SECRET_NAME = new RegExp(
  `(?:(?:^|_)(?:${SECRET_WORD})|${RUN_TOGETHER}|${PAIRED})(?:_(?:value|string|text|plain|plaintext|data|base64|b64|pem|hash|\\d{1,3}))?$`,
);
/** Tokens that place or identify a request, and admit to nothing. */
const HARMLESS_TOKEN =
  /(?:^|_)(?:next|previous|prev|page|paging|pagination|continuation|start|starting|marker|cursor|forward|backward|client|request|idempotency|creation|sequence|max|min|input|output|total|prompt|completion)_?tokens?$/;
const nameCache = new Map<string, boolean>();

/**
 * Whether a field, variable or flag of this name holds a secret: `password`, `DB_PASSWORD`, `secretAccessKey`,
 * `--auth-token`, but not `next_token`, `client_token`, `secret_arn` or `password_last_used`.
 */
export function isSecretName(name: string): boolean {
  if (name.length > 128) return decide(name.slice(-128));
  const known = nameCache.get(name);
  if (known !== undefined) return known;
  const verdict = decide(name);
  // Names come mostly from our own schemas; the bound is for those that do not.
  if (nameCache.size >= 2_000) nameCache.clear();
  nameCache.set(name, verdict);
  return verdict;
}

function decide(name: string): boolean {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/[^A-Za-z0-9]+/g, "_")
    .replace(/_$/, "")
    .toLowerCase();
  return SECRET_NAME.test(words) && !HARMLESS_TOKEN.test(words);
}
