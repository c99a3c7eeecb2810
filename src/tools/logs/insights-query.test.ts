import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { queryProblem } from "./insights-query.ts";

describe("queries that read only their log groups pass", () => {
  for (const query of [
    "fields @timestamp, @message",
    "FIELDS @timestamp | SORT @timestamp desc | LIMIT 5",
    "fields @timestamp, @message\n| filter @message like /error|warn|timeout/\n| sort @timestamp desc",
    "filter @message like /(?i)failed to|join/ | stats count(*) by bin(5m)",
    "# the sources of errors\nfields @timestamp, source\n| filter source = 'aws.ec2' # not SOURCE\n| limit 3",
    "stats count(*) as n by source, detail.source | sort n desc",
    "filter source like /ec2/ and ispresent(source)",
    "filter source in ['aws.ec2', 'aws.ecs']",
    "fields `source` | filter `source` = 'x'",
    "stats count_distinct(source)",
    "fields event.source as src, dataSource | sort source desc",
    "fields resource, resourceType | filter resource = 'x'",
    "parse @message 'user=* latency=*' as user, latency | stats avg(latency / 1000) by user",
    "parse @message /(?<status>\\d{3})\\/(?<n>\\d+)/ | filter status >= 500 or n / 2 > 3",
    "filter @message like 'a | b' | dedup @message",
    'filter @message like "say \\"hi\\" | not a command" | pattern @message',
    "filterIndex requestId = 'x' | diff | limit 1",
    "fields @message | anomaly | unnest items into item",
  ]) {
    test(JSON.stringify(query), () => assert.equal(queryProblem(query), undefined));
  }
});

describe("queries that name their own sources are refused", () => {
  const other = "'/audit/trail'";
  for (const query of [
    "SOURCE logGroups(namePrefix: ['/audit'])",
    "source logGroups() | fields @message",
    "SoUrCe logGroups(namePrefix: ['a'], class: 'STANDARD') | fields @message",
    `SOURCE ${other} | fields @message`,
    `SOURCE${other} | fields @message`,
    "SOURCE `/audit/trail` | fields @message",
    'SOURCE "/audit/trail"',
    "SOURCE /audit/trail | fields @message",
    "SOURCE dataSource(['amazon_vpc.flow'])",
    "\n\t SOURCE audit",
    "\u00A0SOURCE audit",
    "\uFEFFSOURCE audit",
    `# comment\nSOURCE ${other}`,
    `# ends with a comma,\nSOURCE ${other}`,
    `# "unbalanced\nSOURCE ${other}`,
    `SOURCE # comment\n ${other}`,
    `SOURCE /* comment */ ${other}`,
    `fields @message | SOURCE ${other}`,
    `fields @message |\n# comment\nSOURCE ${other}`,
    `fields @message # | \n | SOURCE ${other}`,
    `fields "a # | \n SOURCE ${other}`,
    `filter x like '\\' | SOURCE ${other}`,
    `filter x like "\\\\" | SOURCE ${other} | filter y = ""`,
    `fields @message | join type=inner left=a right=b where a.id=b.id (SOURCE ${other})`,
    "stats count(*) by svc | appendcols override=true ( SOURCE lg | stats avg(x) by svc )",
    "fields svc | append ( source lg )",
    `filter id in (SOURCE ${other} | fields id)`,
    "filter id in (\n  source lg | fields id)",
    "filter id in (# x\nSOURCE lg)",
    "filter id in (SOURCE logGroups(namePrefix:['/a']) | fields id)",
    // Letters that turn into these when case is ignored, and letters nobody sees.
    `ſOURCE ${other}`,
    `fields x | ＳＯＵＲＣＥ ${other}`,
    "filter id in (ＳＯＵＲＣＥ lg)",
    "filter x like 'a\n| source = lg'",
    `SO\u200BURCE ${other}`,
    `fields x | SOURCE\u00A0${other}`,
    "source = [lg:`/audit/trail`] | fields @message",
    "source=`/audit/trail`",
  ]) {
    test(JSON.stringify(query), () => assert.ok(queryProblem(query)));
  }
});

describe("other commands and languages are refused", () => {
  for (const query of [
    "lookup users id as @user",
    "fields @message | lookup users id",
    "fields @message | LooKup users id",
    "fields @message | join (fields x)",
    "fields @message | joın left=a (x)",
    "fields @message # c\n| # d\n join x",
    "filter x like 'a\n| join b' ",
    "filter x like 'a\n| joın b' ",
    "fields @message | unknown x",
    "fields @message || limit 1",
    "fields @message |",
    "| fields @message",
    "",
    "   ",
    "# only a comment",
    "SELECT * FROM `/audit/trail`",
    "search source=x",
    "fields.x | limit 1",
    "@message like /x/",
    "filter @message like /never closed",
    "filter @message = 'never closed",
  ]) {
    test(JSON.stringify(query), () => assert.ok(queryProblem(query)));
  }
});

describe("unmasking is refused", () => {
  for (const query of [
    "fields unmask(@message)",
    "fields @timestamp | unmask @message",
    "fields UNMASK (@message)",
    "fields unma\u00ADsk(@message)",
    "fields unmasK(@message)",
    "fields unmask#\n(@message)",
    "stats count(*) by unmask(@message)",
  ]) {
    test(JSON.stringify(query), () => assert.match(queryProblem(query) ?? "", /unmask/));
  }
});

test("a long text is read in time that does not explode with its length", () => {
  const time = (text: string): number => {
    let best = Number.POSITIVE_INFINITY;
    for (let tries = 0; tries < 3; tries += 1) {
      const started = performance.now();
      queryProblem(text);
      best = Math.min(best, performance.now() - started);
    }
    return best;
  };
  for (const piece of ["source#", "source ", "| ", "parse /", "fields \\'", "source/* "]) {
    const text = (length: number) => `fields x ${piece.repeat(length / piece.length)}`;
    const [short, long] = [time(text(1_000)), time(text(10_000))];
    // Ten times the length, which is all there may be; the square of it is borne, more is not.
    assert.ok(long < 500 * Math.max(short, 0.2), `${piece}: ${short} ms, ${long} ms`);
  }
});
