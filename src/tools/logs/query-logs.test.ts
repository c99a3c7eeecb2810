import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../../../test/support/eventually.ts";
import type { Fault } from "../../../test/support/faults.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { pagedQueryResults, QUERY_STOPPED, queryResults } from "../../../test/support/logs-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { putLines } from "./stage-support.ts";

const GROUP = "/app/orders";
const QUERY = { log_groups: [GROUP], query: "fields @message | sort @timestamp desc" };
let world: World;

before(async () => {
  world = await startWorld();
  await putLines(world.proxy.url, GROUP, "web/1", ["one", "two"]);
});
after(() => world?.close());
beforeEach(() => world.reset());

const respond = (body: string | ((n: number) => string)): Fault => {
  let asked = 0;
  return { kind: "respond", status: 200, body: typeof body === "string" ? body : () => body(asked++) };
};
function results(body: string | ((n: number) => string)) {
  return world.proxy.rule({ service: "logs", operation: "GetQueryResults", fault: respond(body) });
}
/** Every row the query finds, as AWS gives them out: never more than StartQuery was told, and in pages. */
function finds(rows: readonly Record<string, string>[], options: { counted?: boolean } = {}) {
  const started = () => world.proxy.requests.findLast(({ operation }) => operation === "StartQuery")?.parameters;
  world.proxy.rule({
    service: "logs",
    operation: "GetQueryResults",
    fault: {
      kind: "respond",
      status: 200,
      body: ({ parameters }) => pagedQueryResults(rows, started(), parameters, options),
    },
  });
}
const stops = () => world.proxy.requests.filter(({ operation }) => operation === "StopQuery");
const letStop = () => world.proxy.rule({ service: "logs", operation: "StopQuery", fault: respond(QUERY_STOPPED) });

async function query(args: Record<string, unknown> = {}) {
  const reply = await world.call("cloudwatch_query_logs", { ...QUERY, ...args });
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return reply;
}
async function refused(args: Record<string, unknown> = {}) {
  const { isError, content, text } = await world.call("cloudwatch_query_logs", { ...QUERY, ...args });
  assert.equal(isError, true, text);
  return content.error;
}
async function resultsOf(query_id: string, args: Record<string, unknown> = {}) {
  const reply = await world.call("cloudwatch_get_query_results", { query_id, ...args });
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return reply.content;
}
const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, i) => ({ n: String(from + i) }));

test("the rows, what was scanned, and what that costs", async () => {
  results(
    queryResults(
      [
        { "@timestamp": "2026-11-24 03:58:44.000", "@message": "ERROR a", "@ptr": "CmEK" },
        { "@timestamp": "2026-11-24 03:58:43.000", "@message": "ERROR b", "@ptr": "CmEL" },
      ],
      { bytesScanned: 50 * 2 ** 30, matched: 17 },
    ),
  );
  const { content } = await query({ start: "2026-11-01", end: "2026-11-02" });
  const { as_of: _asOf, query_id, ...rest } = content;
  assert.deepEqual(rest, {
    status: "complete",
    message: "Finished.",
    rows: [
      { "@timestamp": "2026-11-24 03:58:44.000", "@message": "ERROR a" },
      { "@timestamp": "2026-11-24 03:58:43.000", "@message": "ERROR b" },
    ],
    returned: 2,
    total: 2,
    counts_complete: true,
    matched: 17,
    scanned_bytes: 53_687_091_200,
    estimated_cost_usd: 0.25,
    log_groups: [GROUP],
    region: "us-east-1",
    from: "2026-11-01T00:00:00.000Z",
    to: "2026-11-02T00:00:00.000Z",
  });
  const [start, look] = world.proxy.requests.filter(({ service }) => service === "logs");
  assert.deepEqual(start?.parameters, {
    queryLanguage: "CWLI",
    logGroupNames: [GROUP],
    queryString: QUERY.query,
    startTime: Date.UTC(2026, 10, 1) / 1000,
    endTime: Date.UTC(2026, 10, 2) / 1000 - 1,
    limit: 10_000,
  });
  assert.deepEqual(look?.parameters, { queryId: query_id, maxItems: 20 }, "no more than is shown");
});

test("moto's own answer, which has no statistics, is an answer", async () => {
  const { content } = await query({ query: "fields @message" });
  assert.equal(content.status, "complete");
  assert.equal(content.returned, 2);
  assert.equal(content.scanned_bytes, undefined);
  assert.equal(content.estimated_cost_usd, undefined);
});

test("it tells how far it has come while it waits", async () => {
  results((n) => queryResults([], n < 2 ? { status: "Running", bytesScanned: 2 ** 30 } : {}));
  const told: string[] = [];
  const { isError } = await world.client.callTool(
    { name: "cloudwatch_query_logs", arguments: QUERY },
    { onprogress: ({ message }) => void told.push(message ?? "") },
  );
  assert.notEqual(isError, true);
  assert.ok(told.includes("running, 1.00 GiB scanned"), `${told}`);
});

describe("what cannot be asked", () => {
  test("more than 31 days, a time that is none", async () => {
    assert.match((await refused({ start: "32d" })).message, /^start: at most 31 days/);
    assert.match((await refused({ start: "2026-01-02", end: "2026-01-01" })).message, /^start:/);
    assert.deepEqual(world.operations(), []);
  });

  test("a group that is not there", async () => {
    const error = await refused({ log_groups: [GROUP, "/app/gone"] });
    assert.equal(error.kind, "not_found");
    assert.match(error.message, /One of the 2 log groups/);
    assert.match((await refused({ log_groups: ["/app/gone"] })).message, /no log group \/app\/gone in us-east-1/);
  });

  test("a text AWS does not understand: its words, and no retry", async () => {
    const message = "unexpected symbol found fild at line 1 and position 0";
    world.proxy.rule({
      operation: "StartQuery",
      fault: { kind: "error", code: "MalformedQueryException", message, status: 400 },
    });
    const error = await refused();
    assert.deepEqual([error.kind, error.retryable], ["invalid_input", false]);
    assert.ok(error.message.includes(message), error.message);
  });

  test("too many queries at once: later", async () => {
    world.proxy.rule({
      operation: "StartQuery",
      fault: { kind: "error", code: "LimitExceededException", message: "too many", status: 400 },
    });
    const error = await refused();
    assert.deepEqual([error.kind, error.retryable], ["throttled", true]);
  });
});

describe("a query nobody waits for any longer is stopped", () => {
  for (const [silent, fault] of [
    ["while it is being looked at", { kind: "hang" }],
    ["between two looks", respond(queryResults([], { status: "Running" }))],
  ] as const) {
    test(`the client cancels ${silent}`, async () => {
      letStop();
      world.proxy.rule({ service: "logs", operation: "GetQueryResults", fault });
      const abort = new AbortController();
      const pending = world.client.callTool(
        { name: "cloudwatch_query_logs", arguments: QUERY },
        { signal: abort.signal },
      );
      pending.catch(() => {});
      await eventually(() => world.operations().includes("GetQueryResults"));
      await sleep(50);
      abort.abort();
      await assert.rejects(pending);
      await eventually(() => stops()[0]?.status === 200);
      const looked = world.proxy.requests.find(({ operation }) => operation === "GetQueryResults");
      assert.deepEqual(stops()[0]?.parameters, { queryId: looked?.parameters.queryId }, "the same query");
    });
  }

  test("AWS does not let its results be read: no reason to go on", async () => {
    letStop();
    world.proxy.rule({ operation: "GetQueryResults", fault: { kind: "denied" } });
    assert.equal((await refused()).kind, "aws_access_denied");
    assert.equal(stops().length, 1);
  });

  test("that it cannot be stopped changes nothing for the caller", async () => {
    world.proxy.rule({ operation: "GetQueryResults", fault: { kind: "denied" } });
    world.proxy.rule({ operation: "StopQuery", fault: { kind: "internal" } });
    assert.equal((await refused()).kind, "aws_access_denied");
  });

  test("one that finished is not", async () => {
    results(queryResults([]));
    await query();
    assert.equal(stops().length, 0);
  });
});

describe("a query that lives longer than the call", () => {
  test("AWS cannot be asked for a moment: the id is given, and leads to the results", async () => {
    const busy = world.proxy.rule({ operation: "GetQueryResults", fault: { kind: "throttle" } });
    const { content } = await query();
    busy.remove();
    assert.deepEqual([content.status, content.errors[0].kind, content.returned], ["running", "throttled", 0]);
    assert.match(content.message, /cloudwatch_get_query_results/);
    assert.equal(stops().length, 0, "it goes on");
    results(queryResults(numbered(1), { bytesScanned: 2 ** 30 }));
    const later = await resultsOf(content.query_id);
    assert.deepEqual([later.status, later.rows, later.scanned_bytes], ["complete", [{ n: "0" }], 2 ** 30]);
    assert.deepEqual([later.log_groups, later.from, later.to], [[GROUP], content.from, content.to]);
  });

  test("still running when asked again: what there is, and that it is not all", async () => {
    results(queryResults([]));
    const { content } = await query();
    world.proxy.clearRules();
    results(queryResults(numbered(2), { status: "Running" }));
    const later = await resultsOf(content.query_id);
    assert.deepEqual([later.status, later.returned, later.counts_complete], ["running", 2, false]);
    assert.match(later.message, /^Not finished/);
  });

  for (const status of ["Failed", "Cancelled", "Timeout"]) {
    test(`${status}: said as it is`, async () => {
      results(queryResults([], { status }));
      const { content } = await query();
      assert.equal(content.status, status.toLowerCase());
      assert.match(content.message, /Start it again/);
    });
  }
});

describe("queries of others", () => {
  test("an id this process did not start is not found, and AWS is not asked", async () => {
    const { content, isError } = await world.call("cloudwatch_get_query_results", {
      query_id: "12ab3456-12ab-123a-789e",
    });
    assert.deepEqual([isError, content.error.kind], [true, "not_found"]);
    assert.match(content.error.next_step, /cloudwatch_query_logs.*this server process started.*another replica/s);
    assert.deepEqual(world.operations(), []);
  });

  test("one of another region is not found either, and AWS is not asked", async () => {
    results(queryResults([]));
    const { content } = await query();
    world.proxy.clearRequests();
    const reply = await world.call("cloudwatch_get_query_results", { query_id: content.query_id, region: "eu-west-1" });
    assert.equal(reply.content.error.kind, "not_found");
    assert.deepEqual(world.operations(), []);
  });

  test("AWS has forgotten it: the same words", async () => {
    results(queryResults([]));
    const { content } = await query();
    world.proxy.clearRules();
    world.proxy.rule({
      operation: "GetQueryResults",
      fault: { kind: "error", code: "ResourceNotFoundException", message: "x", status: 400 },
    });
    const reply = await world.call("cloudwatch_get_query_results", { query_id: content.query_id });
    assert.equal(reply.content.error.kind, "not_found");
    assert.match(reply.content.error.next_step, /cloudwatch_query_logs/);
  });
});

describe("rows", () => {
  for (const [counted, total] of [
    [true, 300],
    [false, 40],
  ] as const) {
    test(`300 groups, 40 shown: the rest by offset, none lost, none twice; AWS counts them: ${counted}`, async () => {
      const all = numbered(300);
      finds(all, { counted });
      const { content } = await query({ query: "stats count(*) by n", limit: 40 });
      assert.deepEqual([content.returned, content.total, content.next_offset], [40, total, 40]);
      assert.equal(content.counts_complete, counted);
      assert.match(content.message, /next_offset shows more rows\.$/);
      const seen = [...content.rows];
      let last = content;
      while (last.next_offset !== undefined) {
        last = await resultsOf(content.query_id, { offset: last.next_offset, limit: 40 });
        seen.push(...last.rows);
      }
      assert.deepEqual(seen, all);
      assert.deepEqual([last.total, last.counts_complete, last.message], [300, true, "Finished."]);
    });
  }

  test("as many as a query may give: there may be more, which is said on the last page, too", async () => {
    finds(numbered(12_000));
    const { content } = await query();
    assert.deepEqual([content.total, content.counts_complete, content.next_offset], [10_000, false, 20]);
    assert.match(content.message, /next_offset shows more rows\. It gave 10000 rows.*there may be others/);
    const last = await resultsOf(content.query_id, { offset: 9_990 });
    assert.deepEqual(last.rows, numbered(10, 9_990));
    assert.deepEqual([last.total, last.counts_complete, last.next_offset], [10_000, false, undefined]);
    assert.match(last.message, /^Finished\. It gave 10000 rows.*there may be others/);
  });

  test("as many as are shown are all there is: nothing is said to be missing", async () => {
    finds(numbered(20));
    const { content } = await query();
    assert.deepEqual([content.total, content.counts_complete, content.message], [20, true, "Finished."]);
  });

  test("a token that repeats itself ends the reading", async () => {
    results(queryResults(numbered(1), { nextToken: "again" }));
    const { content } = await query();
    assert.deepEqual(content.rows, [{ n: "0" }, { n: "0" }]);
  });

  test("results on several pages of AWS are one", async () => {
    results((n) =>
      n % 2 === 0
        ? queryResults(numbered(30), { nextToken: "more", resultCount: 60 })
        : queryResults(numbered(30, 30), { resultCount: 60 }),
    );
    const { content } = await query({ limit: 50 });
    assert.deepEqual([content.returned, content.total], [50, 60]);
    const rest = await resultsOf(content.query_id, { offset: 50, limit: 50 });
    assert.deepEqual(rest.rows, numbered(10, 50));
    assert.equal(rest.next_offset, undefined);
  });

  test("1,000 long rows stay within a reply, 20 within 10 KB; every row is reached", async () => {
    const rows = Array.from({ length: 1_000 }, (_, i) => ({
      "@message": `${i} ${"long line ".repeat(100)}`,
      "@log": "x".repeat(500),
    }));
    results(queryResults(rows));
    const small = await query();
    assert.ok(Buffer.byteLength(small.text) < 10_000, `${small.text.length}`);
    const { content, text } = await query({ limit: 1_000 });
    assert.ok(Buffer.byteLength(text) < 80_000);
    let reached = content.returned;
    while (reached < 1_000) {
      const page = await resultsOf(content.query_id, { offset: reached, limit: 1_000 });
      assert.ok(page.rows[0]["@message"].startsWith(`${reached} `));
      assert.ok(page.returned > 0);
      reached += page.returned;
    }
  });

  test("a row of a thousand fields is cut, and says so", async () => {
    results(
      queryResults([Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`field${i}`, "v".repeat(300)]))]),
    );
    const { content, text } = await query();
    assert.ok(Buffer.byteLength(text) < 30_000);
    assert.ok(Number(content.rows[0]["(fields left out)"]) > 900);
  });

  test("secrets and hostile text stay out", async () => {
    const secrets = [
      "AKIAIOSFODNN7CANARY1",
      "canary-Passw0rd-1",
      "canary-bearer-7f3b2a1c9d8e",
      "canaryUrlPw99",
      "canary-cut-me-0",
    ];
    const pem = "MIIEpAIBAAKCAQEA7bq1aXo0Zy9Qm1Lk2Jh3Gf4Ds5Pq6Wo7Eu8Rt9YvB0NcXzKq";
    results(
      queryResults([
        { "@message": `id ${secrets[0]}`, db_password: `${secrets[1]}`, x: `Authorization: Bearer ${secrets[2]}` },
        { "@message": `postgres://u:${secrets[3]}@h/db`, y: pem, z: `${"-".repeat(285)}://u:${secrets[4]}@h` },
        { "@message": `-----BEGIN RSA PRIVATE KEY-----\n${pem}` },
        HOSTILE,
        Object.fromEntries(Object.values(HOSTILE).map((text) => [text, text])),
      ]),
    );
    const { text } = await query();
    for (const secret of [...secrets, pem, "canary-cut"]) assert.ok(!text.includes(secret), secret);
  });

  test("AWS leaves things out, or invents a status: still an answer", async () => {
    results((n) => (n === 0 ? JSON.stringify({ results: [[{}], []] }) : JSON.stringify({ status: "Complete" })));
    assert.equal((await query()).content.status, "complete");
    world.proxy.clearRules();
    results(JSON.stringify({ status: "Complete", results: [[{}], [], [{ field: "a" }]], statistics: {} }));
    assert.deepEqual((await query()).content.rows, [{ "": "" }, {}, { a: "" }]);
  });

  test("a query without an id is an error of AWS", async () => {
    world.proxy.rule({ operation: "StartQuery", fault: respond("{}") });
    assert.equal((await refused()).kind, "upstream");
  });
});
