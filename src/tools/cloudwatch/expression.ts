import { fit } from "../shared/fit.ts";

// Metric math is a language with side effects: LAMBDA() runs a function of the account, with arguments. What may stand
// in an expression is therefore a list of what is known to only read metrics.

/**
 * "Metric math syntax and functions", without what leaves CloudWatch: LAMBDA invokes a function, DB_PERF_INSIGHTS reads
 * another service under a permission that no tool here declares.
 */
const MATH = new Set(
  `ABS ANOMALY_DETECTION_BAND AVG CEIL DATAPOINT_COUNT DATE DAY DIFF DIFF_TIME EPOCH FILL FIRST FLOOR HOUR IF
   INSIGHT_RULE_METRIC LAST LOG LOG10 MAX METRICS METRIC_COUNT MIN MINUTE MONTH PERIOD RATE REMOVE_EMPTY RUNNING_SUM
   SEARCH SERVICE_QUOTA SLICE SORT STDDEV SUM TIME_SERIES YEAR AND OR`.split(/\s+/),
);

/** Of Metrics Insights: its functions, and the words a parenthesis may follow. */
const INSIGHTS = new Set(["AVG", "COUNT", "MAX", "MIN", "SUM", "SCHEMA", "WHERE", "AND", "OR", "NOT", "IN"]);

/** What CloudWatch takes. */
export const MAX_EXPRESSION = 2_048;

/**
 * Refused even where it seems to stand in a text, whose end CloudWatch may see elsewhere than we do; of a search for the
 * word with a parenthesis behind it, this is too much.
 */
const LEAVES_CLOUDWATCH = /\b(LAMBDA|DB_PERF_INSIGHTS)[\s\p{C}\p{Z}]*\(/iu;
/** Reaches the accounts linked to a monitoring account. */
const OTHER_ACCOUNTS = /aws[^\w,]{0,8}\.[^\w,]{0,8}account_?id/i;

/** A backslash before a quote either belongs to the text or ends it; nobody says which. */
const TEXTS = [/'[^']*'|"[^"]*"/g, /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"/g];
const OUTSIDE_TEXTS = /^[\w \t\r\n+\-*/^()[\]{},.:<>=!&|%'"]*$/;
/** In metric math as in SQL nothing needs them, and a comment may part a function from its parenthesis. */
const COMMENT = /\/\*|\*\/|\/\/|--/;
/** What stands before each opening parenthesis: a word, or what cannot be called. */
const CALLS = /((?<!\w)\w+|[)\]}.'"])\s*\(/g;

/** Why an expression is not sent to CloudWatch, in words; nothing where it may be. */
export function refusedExpression(expression: string): string | undefined {
  if (expression.length > MAX_EXPRESSION) return `it is longer than ${MAX_EXPRESSION} characters`;
  const leaves = LEAVES_CLOUDWATCH.exec(expression)?.[1];
  if (leaves !== undefined) return `${leaves.toUpperCase()}() is not allowed: it does more than read metrics`;
  if (OTHER_ACCOUNTS.test(expression)) return "AWS.AccountId is not allowed: metrics of other accounts are not read";
  for (const text of TEXTS) {
    const refused = refusedOutside(expression.replace(text, "''"));
    if (refused !== undefined) return refused;
  }
  return undefined;
}

/** @param bare the expression, its texts emptied */
function refusedOutside(bare: string): string | undefined {
  if (/['"]/.test(bare.replaceAll("''", ""))) return "a quotation mark has no other";
  if (!OUTSIDE_TEXTS.test(bare)) return "outside of quotes it holds characters that metric math has not";
  if (COMMENT.test(bare)) return "comments, // and -- are not allowed in it";
  const allowed = /^\s*SELECT\b/i.test(bare) ? INSIGHTS : MATH;
  for (const [, called = ""] of bare.matchAll(CALLS)) {
    if (!/^\w/.test(called)) return `${called}( is no call of a function`;
    if (!allowed.has(called.toUpperCase())) return `${fit(called, 40)}() is not among the functions allowed`;
  }
  return undefined;
}
