// SQL text may hold whatever its literals hold: names, addresses, passwords. What is shown of it is its shape.

/** What has to be known of an engine to tell a literal from a name. */
export type Dialect = "mysql" | "sqlserver" | "postgres" | "other";

export function dialectOf(engine: string): Dialect {
  if (/mysql|mariadb/.test(engine)) return "mysql";
  if (engine.startsWith("sqlserver")) return "sqlserver";
  return engine.includes("postgres") ? "postgres" : "other";
}

const LITERAL = "?";
/** Stands for everything from a place where it is not sure any more what is a literal. */
const REST = "?…";
/** Letters before a quote that belong to the literal: `E''`, `N''`, `x''`, `b''`, `U&''`. */
const PREFIX = /^(?:e|n|x|b|r|u)$/i;
const Q_QUOTE = /^n?q$/i;
const CLOSING: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}", "<": ">" };
const WORD = /[\p{L}_][\p{L}\p{M}\p{N}_$#]*/uy;
/** In MySQL `#` begins a comment wherever it stands. */
const MYSQL_WORD = /[\p{L}_][\p{L}\p{M}\p{N}_$]*/uy;
const NUMBER = /\.?\p{N}(?:[eE][+-]?\p{N}|[\p{L}\p{N}_.])*/uy;
const SPACE = /\s+/y;
const PARAMETER = /\$\d{1,5}(?![\w$])/y;
const DOLLAR_TAG = /\$(?:[\p{L}_][\p{L}\p{N}_]{0,63})?\$/uy;
const EXECUTABLE_COMMENT = /\/\*M?!\d*/y;
/** What shows that the word before it was a column, or that a password is not in the text. */
const NO_PASSWORD = /\s*(?:$|[,)]|from\b|=\s*(?:\?|\$\d{1,5}|[:@][a-z_]\w*)(?=[\s,;)]|$))/iy;
/** A string does not stand behind these, but a name does. */
const BEFORE_TABLE: ReadonlySet<string> = new Set(["from", "join", "into", "update", "table"]);
/** A quoted name that looks like one. */
const PLAIN_NAME = /^[\p{L}_][\p{L}\p{N}_$#.-]{0,62}$/u;

/**
 * The text with every string and number replaced by `?`, comments removed and white space folded. It looks at each
 * character a bounded number of times. Where engines disagree on what a literal is, and where one does not end, all the
 * rest is left out: too little can be shown, never too much.
 */
export function maskSql(sql: string, dialect: Dialect): string {
  return new Masker(sql, dialect)
    .mask()
    .replace(/ {2,}/g, " ")
    .replace(/\?(?:, ?\?)+/g, "?, …")
    .trim();
}

/** Goes through the text token by token; each method takes one and returns what is shown of it. */
class Masker {
  readonly #sql: string;
  readonly #dialect: Dialect;
  #at = 0;
  /** The last word, lower-case. */
  #word = "";
  /** What was last shown but for spaces, lower-case. */
  #last = "";
  /** Whether the statement has had a word yet. */
  #begun = false;
  #trims = false;

  constructor(sql: string, dialect: Dialect) {
    this.#sql = sql;
    this.#dialect = dialect;
  }

  mask(): string {
    const shown: string[] = [];
    while (this.#at < this.#sql.length) {
      const token = this.#token(this.#sql[this.#at] ?? "");
      shown.push(token);
      if (token.trim() !== "") this.#last = token.toLowerCase();
      if (token === ";") this.#begun = false;
    }
    return shown.join("");
  }

  #token(next: string): string {
    const mysql = this.#dialect === "mysql";
    if (this.#take(SPACE) !== undefined) return " ";
    if (next === "'") return this.#quoted("'", false);
    if (next === '"') return this.#doubleQuoted();
    if (next === "`") return this.#quoted("`", true);
    if (next === "[" && this.#dialect === "sqlserver") return this.#quoted("]", true);
    if (next === "-" && this.#startsLineComment()) return this.#lineComment();
    if (next === "#" && mysql) return this.#lineComment();
    if (next === "/" && this.#sql.startsWith("/*", this.#at)) return this.#blockComment();
    // The end of an executable comment, whose inside is code.
    if (next === "*" && mysql && this.#sql.startsWith("*/", this.#at)) return this.#skip(2, " ");
    if (next === "$") return this.#dollar();
    const word = this.#take(mysql ? MYSQL_WORD : WORD);
    if (word !== undefined) return this.#afterWord(word);
    if (this.#take(NUMBER) !== undefined) return LITERAL;
    return this.#skip(1, next);
  }

  #afterWord(word: string): string {
    const after = this.#sql[this.#at];
    if (after === "'" && this.#dialect === "other" && Q_QUOTE.test(word)) return this.#qQuoted();
    if (after === "'" && PREFIX.test(word)) return "";
    if (after === "&" && PREFIX.test(word) && /['"]/.test(this.#sql[this.#at + 1] ?? "")) return this.#skip(1, "");
    const before = this.#word;
    this.#word = word.toLowerCase();
    const first = !this.#begun;
    this.#begun = true;
    if (this.#word === "trim") this.#trims = true;
    // What follows is a password, which some engines take without quotes.
    if (before === "identified" && this.#word === "by") return `${word} ${this.#rest()}`;
    if (this.#word === "password" && !this.#isNext(NO_PASSWORD)) return `${word} ${this.#rest()}`;
    // `connect scott/tiger@db`, `connect to db user scott using tiger`
    if (first && /^conn(?:ect)?$/.test(this.#word)) return `${word} ${this.#rest()}`;
    return word;
  }

  /** In SQL Server the session decides whether it is a name or a string: only where no string can stand it is a name. */
  #doubleQuoted(): string {
    if (this.#dialect !== "sqlserver") return this.#quoted('"', this.#dialect !== "mysql");
    // `TRIM("x" FROM "y")` takes strings.
    const table = BEFORE_TABLE.has(this.#last) && !(this.#last === "from" && this.#trims);
    const from = this.#at;
    const shown = this.#quoted('"', true);
    const name = table || this.#sql[from - 1] === "." || this.#sql[this.#at] === ".";
    return name || shown === REST ? shown : LITERAL;
  }

  /** A string or a quoted name, from its opening quote; a doubled closing quote is part of it. */
  #quoted(quote: string, name: boolean): string {
    const from = this.#at + 1;
    let end = from;
    for (;;) {
      end = this.#sql.indexOf(quote, end);
      if (end < 0) return this.#rest();
      // Whether a backslash escapes depends on engine and settings: after an odd number of them nothing is sure.
      if (quote !== "]" && this.#backslashesBefore(end, from) % 2 === 1) return this.#rest();
      if (this.#sql[end + 1] !== quote) break;
      end += 2;
    }
    const whole = this.#sql.slice(this.#at, end + 1);
    this.#at = end + 1;
    return name && PLAIN_NAME.test(whole.slice(1, -1)) ? whole : LITERAL;
  }

  #backslashesBefore(at: number, from: number): number {
    let count = 0;
    while (at - count > from && this.#sql[at - count - 1] === "\\") count += 1;
    return count;
  }

  /** Oracle's `q'[it's]'`. */
  #qQuoted(): string {
    const opening = this.#sql[this.#at + 1] ?? "";
    const end = this.#sql.indexOf(`${CLOSING[opening] ?? opening}'`, this.#at + 2);
    return opening === "" || end < 0 ? this.#rest() : this.#skip(end + 2 - this.#at, LITERAL);
  }

  /** `$1` is a parameter; `$tag$ … $tag$` is a string of PostgreSQL. */
  #dollar(): string {
    const parameter = this.#take(PARAMETER);
    if (parameter !== undefined) return parameter;
    const tag = this.#take(DOLLAR_TAG);
    if (tag === undefined) return this.#skip(1, "$");
    const end = this.#sql.indexOf(tag, this.#at);
    return end < 0 ? this.#rest() : this.#skip(end + tag.length - this.#at, LITERAL);
  }

  #startsLineComment(): boolean {
    if (!this.#sql.startsWith("--", this.#at)) return false;
    // In MySQL `5--1` is arithmetic.
    const after = this.#sql[this.#at + 2];
    return this.#dialect !== "mysql" || after === undefined || /\s/.test(after);
  }

  #lineComment(): string {
    const end = this.#sql.indexOf("\n", this.#at);
    return this.#skip((end < 0 ? this.#sql.length : end) - this.#at, " ");
  }

  #blockComment(): string {
    if (this.#dialect === "mysql" && this.#take(EXECUTABLE_COMMENT) !== undefined) return " ";
    const nests = this.#dialect === "postgres" || this.#dialect === "sqlserver";
    const edge = /\/\*|\*\//g;
    edge.lastIndex = this.#at + 2;
    let depth = 1;
    while (depth > 0) {
      const found = edge.exec(this.#sql);
      if (!found) return this.#rest();
      if (found[0] === "*/") depth -= 1;
      else if (nests) depth += 1;
    }
    return this.#skip(edge.lastIndex - this.#at, " ");
  }

  #isNext(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    return pattern.test(this.#sql);
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#sql)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #skip(count: number, shown: string): string {
    this.#at += count;
    return shown;
  }

  #rest(): string {
    this.#at = this.#sql.length;
    return REST;
  }
}
