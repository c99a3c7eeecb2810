import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Dialect, dialectOf, maskSql } from "./mask-sql.ts";

const DIALECTS: readonly Dialect[] = ["mysql", "sqlserver", "postgres", "other"];

describe("maskSql", () => {
  const everywhere: [what: string, sql: string, shown: string][] = [
    ["a string", "SELECT * FROM t WHERE a = 'secret'", "SELECT * FROM t WHERE a = ?"],
    ["a doubled quote", "SELECT 'it''s secret', b", "SELECT ?, b"],
    ["an empty string", "SELECT '' || a", "SELECT ? || a"],
    ["only doubled quotes", "SELECT '''''' , a", "SELECT ? , a"],
    ["an unterminated string", "SELECT a, 'secret", "SELECT a, ?…"],
    ["an escaped quote: nothing after it is sure", "SELECT 'a\\' , secret', b", "SELECT ?…"],
    ["two backslashes escape nothing but themselves", "SELECT 'a\\\\', b", "SELECT ?, b"],
    ["three of them do", "SELECT 'a\\\\\\' secret', b", "SELECT ?…"],
    ["numbers", "SELECT 1, 2.5, .5, 1e10, 1.5E-3, -7 FROM t LIMIT 10", "SELECT ?, …, -? FROM t LIMIT ?"],
    ["hexadecimal", "SELECT a FROM t WHERE b = 0xDEADBEEF OR c = x'4D'", "SELECT a FROM t WHERE b = ? OR c = ?"],
    ["prefixes", "SELECT E'x', N'x' || B'01'", "SELECT ?, … || ?"],
    ["digits in names", "SELECT col1 FROM table_2", "SELECT col1 FROM table_2"],
    ["a line comment", "SELECT a -- secret 'quote\nFROM t", "SELECT a FROM t"],
    ["a comment to the end", "SELECT a -- secret", "SELECT a"],
    ["a block comment", "SELECT /* secret ' */ a", "SELECT a"],
    ["an unterminated comment", "SELECT a /* secret", "SELECT a ?…"],
    ["lists", "WHERE a IN (1, 2,3,'x')", "WHERE a IN (?, …)"],
    [
      "parameters",
      "WHERE a = $1 AND b = ? AND c = :name AND d = @p",
      "WHERE a = $1 AND b = ? AND c = :name AND d = @p",
    ],
    ["a dollar-quoted string", "SELECT $$it's secret$$, a", "SELECT ?, a"],
    ["one with a tag", "SELECT $fn$ a $$ secret ' $$ $fn$, a", "SELECT ?, a"],
    ["an unterminated one", "SELECT $fn$ secret $$", "SELECT ?…"],
    ["an unquoted password", "ALTER USER app IDENTIFIED BY hunter2 REPLACE old", "ALTER USER app IDENTIFIED BY ?…"],
    ["a password behind a comment", "identified /* x */ BY hunter2", "identified BY ?…"],
    ["a password without quotes", "CREATE USER a PASSWORD hunter2", "CREATE USER a PASSWORD ?…"],
    ["one behind an equals sign", "CREATE LOGIN a WITH PASSWORD = hunter2, x", "CREATE LOGIN a WITH PASSWORD ?…"],
    ["one behind a comment", "ALTER ROLE a password/*,*/hunter2", "ALTER ROLE a password ?…"],
    ["one that begins as a parameter", "SET PASSWORD = $1hunter2", "SET PASSWORD ?…"],
    ["a password as a parameter", "UPDATE t SET password = $1, a = 2", "UPDATE t SET password = $1, a = ?"],
    ["as a named one", "UPDATE t SET password=:pw WHERE a = 2", "UPDATE t SET password=:pw WHERE a = ?"],
    ["a column of that name", "SELECT id, password, a, (password) FROM t", "SELECT id, password, a, (password) FROM t"],
    ["as the last one", "SELECT password FROM t ORDER BY password", "SELECT password FROM t ORDER BY password"],
    ["names that only begin so", "SELECT password_hash, connect FROM t", "SELECT password_hash, connect FROM t"],
    ["a user and password to connect with", "connect scott/tiger@db", "connect ?…"],
    ["the same in short", "CONN scott/tiger", "CONN ?…"],
    ["behind a comment", "/* x */ CONNECT to db user joe using secretpw", "CONNECT ?…"],
    ["in a later statement", "SELECT a; connect to db user joe using secretpw", "SELECT a; connect ?…"],
    ["connect elsewhere", "SELECT a FROM t CONNECT BY PRIOR b = c", "SELECT a FROM t CONNECT BY PRIOR b = c"],
    ["white space", "SELECT\n\t a\r\n  FROM   t", "SELECT a FROM t"],
    ["nothing", "", ""],
  ];
  for (const [what, sql, shown] of everywhere) {
    test(`${what}, in every dialect`, () => {
      for (const dialect of DIALECTS) assert.equal(maskSql(sql, dialect), shown, dialect);
    });
  }

  const particular: [what: string, dialect: Dialect, sql: string, shown: string][] = [
    ["double quotes are strings", "mysql", 'SELECT "secret", a', "SELECT ?, a"],
    ["double quotes are names", "postgres", 'SELECT "users"."id" FROM "users"', 'SELECT "users"."id" FROM "users"'],
    ["but not just anything between them", "postgres", 'SELECT "a@example.com", "it\'s"', "SELECT ?, …"],
    ["a doubled double quote", "other", 'SELECT "a""b", c', "SELECT ?, c"],
    ["backticks are names", "mysql", "SELECT `a` FROM `my table`", "SELECT `a` FROM ?"],
    ["an apostrophe in a name hides nothing", "mysql", "SELECT `it's`, 'secret'", "SELECT ?, …"],
    ["brackets are names", "sqlserver", "SELECT [dbo].[users]", "SELECT [dbo].[users]"],
    ["an apostrophe in brackets", "sqlserver", "SELECT [O'Brien], 'secret', a", "SELECT ?, …, a"],
    ["a doubled bracket", "sqlserver", "SELECT [a]]'b], 'secret', a", "SELECT ?, …, a"],
    ["brackets are code elsewhere", "postgres", "SELECT ARRAY['secret', a[1]]", "SELECT ARRAY[?, a[?]]"],
    ["double quotes may be strings", "sqlserver", 'SELECT a FROM t WHERE b = "hunter2"', "SELECT a FROM t WHERE b = ?"],
    ["wherever one may stand", "sqlserver", 'EXEC p "hunter2", "x" + a', "EXEC p ?, … + a"],
    ["not in a list of tables either", "sqlserver", 'SELECT a FROM "t", "hunter2"', 'SELECT a FROM "t", ?'],
    ["names beside a dot", "sqlserver", 'SELECT "u"."id", u."a" FROM dbo."u"', 'SELECT "u"."id", u."a" FROM dbo."u"'],
    [
      "names of tables",
      "sqlserver",
      'INSERT INTO "a" SELECT b FROM /* x */ "c" JOIN "d" ON e = "hunter2"',
      'INSERT INTO "a" SELECT b FROM "c" JOIN "d" ON e = ?',
    ],
    [
      "more of them",
      "sqlserver",
      'UPDATE "a" SET b = "hunter2"; DROP TABLE "c"',
      'UPDATE "a" SET b = ?; DROP TABLE "c"',
    ],
    ["FROM of TRIM", "sqlserver", 'SELECT TRIM("x" FROM "hunter2")', "SELECT TRIM(? FROM ?)"],
    ["one that does not end", "sqlserver", 'SELECT a = "hunter2', "SELECT a = ?…"],
    ["a hash begins a comment", "mysql", "SELECT a#don't\n, 'secret'", "SELECT a , ?"],
    ["a hash belongs to a name", "sqlserver", "SELECT * FROM #tmp#1", "SELECT * FROM #tmp#1"],
    ["two hyphens are arithmetic", "mysql", "SELECT 5--1 , 'secret'", "SELECT ?--? , ?"],
    ["comments nest", "postgres", "SELECT /* /* */ don't */ 'secret'", "SELECT ?"],
    ["comments do not nest", "mysql", "SELECT /* /* */ 'secret'", "SELECT ?"],
    ["an executable comment is code", "mysql", "/*!50001 SELECT 'a*/secret' */ , 'b'", "SELECT ? , ?"],
    ["MariaDB's, too", "mysql", "/*M! SELECT 'a*/secret' */", "SELECT ?"],
    ["Oracle's own quotes", "other", "SELECT q'[it's secret]', nq'{x}', a", "SELECT ?, …, a"],
    ["Oracle's quotes, unterminated", "other", "SELECT q'[it's secret', a", "SELECT ?…"],
    ["q is a name elsewhere", "postgres", "SELECT q'' , 'it''s secret'", "SELECT q? , ?"],
    ["Unicode strings", "postgres", "SELECT U&'d\\0061ta', a", "SELECT ?, a"],
  ];
  for (const [what, dialect, sql, shown] of particular) {
    test(`${what} (${dialect})`, () => assert.equal(maskSql(sql, dialect), shown));
  }

  test("engines speak their dialects", () => {
    for (const [engine, dialect] of [
      ["mysql", "mysql"],
      ["mariadb", "mysql"],
      ["aurora-mysql", "mysql"],
      ["postgres", "postgres"],
      ["aurora-postgresql", "postgres"],
      ["sqlserver-se", "sqlserver"],
      ["oracle-ee", "other"],
      ["", "other"],
    ] as const)
      assert.equal(dialectOf(engine), dialect);
  });
});

// The secret is planted where literals are, in statements put together at random; no part of it may be shown.

const SECRET = "zqsecretqz";
/** Of a literal's inside: whatever can confuse who looks for its end. */
const noise = fc
  .array(
    fc.constantFrom(
      "a",
      " ",
      "''",
      '""',
      "--",
      "/*",
      "*/",
      "#",
      "$",
      "$$",
      "[",
      "]",
      "`",
      "\n",
      "?",
      "0",
      "é",
      "漢",
      "🔑",
    ),
    {
      maxLength: 6,
    },
  )
  .map((parts) => parts.join(""));
const inside = fc.tuple(noise, noise).map(([before, after]) => `${before}${SECRET}${after}`);
const code = fc.constantFrom(
  "SELECT a, b FROM t WHERE a =",
  "AND",
  "(",
  ")",
  ",",
  "x.y",
  "IN",
  "INSERT INTO t VALUES (",
  "::text",
  "||",
  "'plain'",
  "42",
  "$1",
  "\n",
  "-- it's a comment\n",
  "/* it's one, too */",
);
const withoutQuote = (quote: string) => inside.map((text) => text.replaceAll(quote, ""));
const single = inside.map((text) => `'${text.replace(/'{1,}/g, (run) => "'".repeat(run.length + (run.length % 2)))}'`);
const literals: Readonly<Record<Dialect, fc.Arbitrary<string>>> = {
  mysql: fc.oneof(
    single,
    inside.map((text) => `"${text.replace(/"{1,}/g, (run) => '"'.repeat(run.length + (run.length % 2)))}"`),
    noise.map((text) => `-- ${text.replaceAll("\n", "")} ${SECRET}\n`),
    noise.map((text) => `#${text.replaceAll("\n", "")}${SECRET}\n`),
    withoutQuote("*/").map((text) => `/* ${text.replaceAll("*", "").replaceAll("/", "")} */`),
    single.map((text) => `x${text}`),
  ),
  postgres: fc.oneof(
    single,
    single.map((text) => `E${text}`),
    inside.map((text) => `$zz$${text}$zz$`),
    withoutQuote("$").map((text) => `$$${text}$$`),
    fc.constant(`/* /* */ ${SECRET} */`),
    fc.constant(`-- ${SECRET}\n`),
    fc.constantFrom(`PASSWORD ${SECRET}`, `password = ${SECRET}`, `; connect joe/${SECRET}@db`),
  ),
  sqlserver: fc.oneof(
    single,
    single.map((text) => `N${text}`),
    inside.map((text) => `"${text.replace(/"{1,}/g, (run) => '"'.repeat(run.length + (run.length % 2)))}"`),
    fc.constantFrom(`= "${SECRET}"`, `, "${SECRET}" ,`, `TRIM("a" FROM "${SECRET}")`),
    noise.map((text) => `[it's ${text.replaceAll("]", "]]")}] = '${SECRET}'`),
  ),
  other: fc.oneof(
    single,
    withoutQuote("]").map((text) => `q'[${text}]'`),
    withoutQuote("!").map((text) => `nq'!${text}!'`),
    fc.constant(`IDENTIFIED BY ${SECRET}`),
  ),
};

for (const dialect of DIALECTS) {
  const statement = fc.array(fc.oneof(code, literals[dialect]), { maxLength: 12 }).map((parts) => parts.join(" "));

  test(`${dialect}: no part of a literal is shown, whatever stands around it`, () => {
    fc.assert(
      fc.property(statement, (sql) => {
        assert.ok(!maskSql(sql, dialect).includes(SECRET), JSON.stringify(sql));
      }),
      { numRuns: 2_000 },
    );
  });

  test(`${dialect}: not even where the text is cut off anywhere, as Performance Insights does`, () => {
    fc.assert(
      fc.property(statement, fc.nat(300), (sql, length) => {
        assert.ok(!maskSql(sql.slice(0, length), dialect).includes(SECRET), JSON.stringify(sql.slice(0, length)));
      }),
      { numRuns: 1_000 },
    );
  });

  test(`${dialect}: no digit outside a name or a parameter survives`, () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), (whole, fraction) => {
        const masked = maskSql(`SELECT a FROM t WHERE b > ${whole} AND c < ${fraction}`, dialect);
        assert.doesNotMatch(masked, /\d/, `${whole} ${fraction}`);
      }),
    );
  });

  test(`${dialect}: any text is taken, and what is masked stays masked`, () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (text) => {
        const masked = maskSql(text, dialect);
        assert.equal(typeof masked, "string");
        assert.ok(masked.length <= 2 * text.length + 2);
      }),
    );
  });
}

/** Texts that make a scanner go back, 100 KB of each. */
const LONG: readonly [what: string, piece: string][] = [
  ["quotes", "'"],
  ["double quotes", '"'],
  ["backslashes in a string", "\\"],
  ["openings of comments", "/*"],
  ["endings of comments", "*/"],
  ["dollars", "$"],
  ["different dollar tags", "$a"],
  ["hyphens", "-"],
  ["digits", "1"],
  ["exponents", "1e"],
  ["dots", "."],
  ["letters", "a"],
  ["spaces", " "],
  ["question marks", "?,"],
  ["brackets", "["],
  ["q quotes", "q'["],
  ["strings", "'x', "],
  ["accents", "é"],
  ["passwords", "password , "],
  ["passwords far apart", `password${" ".repeat(1_000)},`],
];

test("100 KB of anything takes time in proportion: twice the text, not four times the time", {
  timeout: 60_000,
}, () => {
  const time = (text: string, dialect: Dialect) => {
    let best = Number.POSITIVE_INFINITY;
    for (let run = 0; run < 3; run += 1) {
      const start = performance.now();
      maskSql(text, dialect);
      best = Math.min(best, performance.now() - start);
    }
    return best;
  };
  for (const [what, piece] of LONG) {
    for (const start of ["", "'", "SELECT "]) {
      for (const dialect of DIALECTS) {
        const whole = start + piece.repeat(Math.ceil(100_000 / piece.length));
        const part = whole.slice(0, whole.length / 10);
        // Ten times the text; quadratic would be a hundred times. A few milliseconds are noise.
        assert.ok(time(whole, dialect) < 40 * time(part, dialect) + 20, `${start}${what}, ${dialect}`);
      }
    }
  }
});
