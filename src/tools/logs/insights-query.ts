import { cleanText } from "../../core/text.ts";

// A query may only read the log groups it is started on, because policy judges those by name. Logs Insights QL can name
// others in its text: `SOURCE` (also inside the subqueries of `join`, `appendcols`, `filter … in (…)`), lookup tables,
// data sources. And `unmask` shows what the account's data protection hides.

/** Commands that only work on what the query already reads. What is not here is refused, also what is yet to come. */
const COMMANDS: ReadonlySet<string> = new Set([
  "addtotals",
  "anomaly",
  "dedup",
  "diff",
  "display",
  "fields",
  "filter",
  "filterindex",
  "limit",
  "parse",
  "pattern",
  "sort",
  "stats",
  "unnest",
]);

const ALLOWED = [...COMMANDS].join(", ");
const NO_SOURCE = "the query may not name log groups or data sources itself (SOURCE); put them into log_groups";
const NO_UNMASK = "unmask is not allowed: it would show what data protection hides";

/**
 * What is wrong with a query text, or undefined. It is read twice. Once as AWS reads it: split into commands, each of
 * which must be known. And once without understanding quotes and comments at all, for the words that must not get
 * through: a text that AWS splits in another way than we do is refused as well, at the price of refusing a few harmless
 * ones.
 */
export function queryProblem(query: string): string | undefined {
  const text = fold(query);
  if (/\bunmask/.test(text)) return NO_UNMASK;
  if (namesSource(text)) return NO_SOURCE;
  const hidden = /(?:^|[|(\n])\s*(append\w*|join|lookup|union|multisearch|subsearch)\b(?=\s*[\w(#])/.exec(text)?.[1];
  if (hidden) return `${hidden} is not allowed: it reads more than log_groups; allowed: ${ALLOWED}`;
  const commands = commandsOf(query);
  if (commands === undefined) return "a quote or regular expression is not closed";
  for (const command of commands) {
    const word = /^[A-Za-z]{1,20}(?![\w.@-])/.exec(command)?.[0];
    if (word === undefined) return `each command between | must be one of: ${ALLOWED}`;
    if (!COMMANDS.has(word.toLowerCase())) return `${word} is not allowed; allowed commands: ${ALLOWED}`;
  }
  return undefined;
}

/** Letters as a parser that ignores case may see them: `ſ` is an s to it, the Kelvin sign a k. */
function fold(query: string): string {
  return cleanText(query, Number.MAX_SAFE_INTEGER).normalize("NFKC").toUpperCase().toLowerCase();
}

/** What may stand between SOURCE and the name: blanks and comments. */
const SKIP = String.raw`(?:\s|#[^\n]*(?:\n|$)|/\*[^*]*\*/)*`;
/** `source` as a field is followed by an operator, a comma, a bracket, a pipe, or nothing. */
const OPERATOR = String.raw`(?:like|not|in|and|or|as|asc|desc|by|is|between|where|when|then|else|end)\b`;
const SOURCE = new RegExp(String.raw`(?<![\w.@\x60-])source(?![\w.-])${SKIP}(?=["'\x60/[\w@*\x24{-])(?!${OPERATOR})`);
/** Where a command begins, `source` can only be the command, whatever follows it. */
const SOURCE_FIRST = new RegExp(String.raw`(?:^|\|)${SKIP}source(?![\w.-])`);

function namesSource(text: string): boolean {
  return SOURCE.test(text) || SOURCE_FIRST.test(text) || /\b(loggroups|datasource)\s*\(/.test(text);
}

/** The commands of a query without comments, or undefined when a quote or regular expression is left open. */
function commandsOf(query: string): string[] | undefined {
  const commands: string[] = [];
  let command = "";
  for (let at = 0; at < query.length; at += 1) {
    const char = query.charAt(at);
    if (char === "#") {
      const end = query.indexOf("\n", at);
      at = end < 0 ? query.length : end;
      command += " ";
    } else if (char === "|") {
      commands.push(command.trim());
      command = "";
    } else if (char === '"' || char === "'" || char === "`" || (char === "/" && expectsPattern(command))) {
      const end = closing(query, at);
      if (end < 0) return undefined;
      // What stands in it does not matter here, only that something does.
      command += `${char}${char}`;
      at = end;
    } else command += char;
  }
  commands.push(command.trim());
  return commands;
}

/** Whether a slash begins a regular expression here; elsewhere it divides. */
function expectsPattern(before: string): boolean {
  return /(?:\blike|=~|^\s*parse\b.*)\s*$/is.test(before);
}

function closing(text: string, opening: number): number {
  const quote = text.charAt(opening);
  for (let at = opening + 1; at < text.length; at += 1) {
    if (text.charAt(at) === "\\" && quote !== "`") at += 1;
    else if (text.charAt(at) === quote) return at;
  }
  return -1;
}
