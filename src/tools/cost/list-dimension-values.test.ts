import assert from "node:assert/strict";
import { after, before, beforeEach, mock, test } from "node:test";
import { openAws } from "../../../test/support/aws-session.ts";
import { dimensionValues, tagValues } from "../../../test/support/cost-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { searchOf } from "../../audit/search.ts";
import { emptySqliteReader } from "../../audit/store/sqlite-reader.ts";
import { listDimensionValues } from "./list-dimension-values.ts";
import { addDays, today } from "./period.ts";

const TOOL = "cost_list_dimension_values";
let world: World;
let asked = 0;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
beforeEach(() => world.reset());

const fresh = () => ({ dimension: "service", search: `q${asked++}` });
const sent = () => world.proxy.requests.filter(({ service }) => service === "ce");

async function list(args: Record<string, unknown>) {
  const reply = await world.call(TOOL, args);
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return reply;
}
type Values = readonly { value: string; description?: string }[];
function answerWith(values: Values, pageSize?: number) {
  const body = ({ parameters }: { parameters: Record<string, unknown> }) =>
    dimensionValues(values, parameters, pageSize);
  world.proxy.rule({ operation: "GetDimensionValues", fault: { kind: "respond", status: 200, body } });
}
const numbered = (count: number): Values => Array.from({ length: count }, (_, i) => ({ value: `value-${i}` }));

test("values with their names, in the frame of a list", async () => {
  answerWith([{ value: "123456789012", description: "production" }, { value: "210987654321" }]);
  const { content } = await list({ dimension: "account", start: "2026-01-01", end: "2026-01-31" });
  const { as_of: _asOf, ...rest } = content;
  assert.deepEqual(rest, {
    summary: { matched: 2, paid_requests: 1, counts_complete: true },
    items: [{ value: "123456789012", name: "production" }, { value: "210987654321" }],
    returned: 2,
    truncated: false,
    regions: ["global"],
  });
  assert.deepEqual(sent()[0]?.parameters, {
    TimePeriod: { Start: "2026-01-01", End: "2026-02-01" },
    Dimension: "LINKED_ACCOUNT",
  });
});

test("what is searched for is AWS's to find", async () => {
  answerWith([]);
  const { content } = await list({ dimension: "usage_type", search: "BoxUsage" });
  assert.equal(content.returned, 0);
  assert.deepEqual(sent()[0]?.parameters, {
    TimePeriod: { Start: addDays(today(), -30), End: addDays(today(), 1) },
    Dimension: "USAGE_TYPE",
    SearchString: "BoxUsage",
  });
});

test("tag keys, and the values of one", async () => {
  const body = ({ parameters }: { parameters: Record<string, unknown> }) =>
    tagValues(parameters.TagKey === "env" ? ["", "prod", "test"] : ["env", "team"]);
  world.proxy.rule({ operation: "GetTags", fault: { kind: "respond", status: 200, body } });
  const keys = await list({ dimension: "tag" });
  assert.deepEqual(keys.content.items, [{ value: "env" }, { value: "team" }]);
  const values = await list({ dimension: "tag:env" });
  assert.deepEqual(values.content.items, [{ value: "" }, { value: "prod" }, { value: "test" }]);
});

test("2,500 values are reached by cursor; the pages cut from one answer are paid for once", async () => {
  answerWith(numbered(2_500));
  const args = fresh();
  const first = await list(args);
  assert.ok(Buffer.byteLength(first.text) < 10_000);
  assert.deepEqual(first.content.summary, { matched: 2_000, paid_requests: 2, counts_complete: false });
  const seen = [...first.content.items];
  let paid = first.content.summary.paid_requests;
  for (let cursor = first.content.next_cursor; cursor !== undefined; ) {
    const { content } = await list({ ...args, cursor, limit: 200 });
    seen.push(...content.items);
    paid += content.summary.paid_requests;
    cursor = content.next_cursor;
  }
  assert.deepEqual(seen, numbered(2_500));
  assert.equal(paid, 3);
  assert.equal(sent().length, 3);
});

// Without the server around it, whose clock is its own.
test("a listing that goes on after midnight is about the days it was begun with", async () => {
  const aws = await openAws();
  const body = ({ parameters }: { parameters: Record<string, unknown> }) =>
    dimensionValues(numbered(2_500), parameters);
  aws.proxy.rule({ operation: "GetDimensionValues", fault: { kind: "respond", status: 200, body } });
  const { signal } = new AbortController();
  const session = await aws.clients.session(listDimensionValues.iam, signal);
  const site = { maxScaleFactor: 1, imageRepositories: [] };
  const context = {
    aws: session.aws,
    account: "1",
    site,
    trail: searchOf(emptySqliteReader),
    mask: (text: string) => text,
    signal,
    progress: () => {},
  };
  const begun = Date.now();
  mock.timers.enable({ apis: ["Date"], now: begun });
  try {
    const seen: { value: string }[] = [];
    let cursor: string | undefined;
    do {
      const given = listDimensionValues.input.parse({ dimension: "service", limit: 200, cursor });
      const page = await listDimensionValues.handler(given, context);
      seen.push(...page.items);
      cursor = page.next_cursor;
      mock.timers.setTime(begun + 86_400_000);
    } while (cursor !== undefined);
    assert.deepEqual(seen, numbered(2_500));
    const first = { Start: addDays(today(begun), -30), End: addDays(today(begun), 1) };
    assert.deepEqual(
      aws.proxy.requests.map(({ parameters }) => parameters.TimePeriod),
      [first, first, first],
    );
  } finally {
    mock.timers.reset();
    await aws.close();
  }
});

test("a cursor with another moment before it is refused", async () => {
  answerWith(numbered(30));
  const args = fresh();
  const { content } = await list(args);
  const [, rest] = content.next_cursor.split("~");
  for (const cursor of [rest, `${(Date.now() - 86_400_000).toString(36)}~${rest}`]) {
    const reply = await world.call(TOOL, { ...args, cursor });
    assert.equal(reply.content.error?.kind, "invalid_input", cursor);
    assert.match(reply.content.error.message, /^cursor:/);
  }
});

test("long and hostile values", async () => {
  const texts = Object.values(HOSTILE);
  answerWith(texts.map((text) => ({ value: text.repeat(10), description: text.repeat(10) })));
  const { text } = await list(fresh());
  assert.ok(Buffer.byteLength(text) < 10_000, `${text.length}`);
  world.proxy.clearRules();
  answerWith(Array.from({ length: 40 }, (_, i) => ({ value: `${i}${"漢".repeat(255)}` })));
  const wide = await list(fresh());
  assert.ok(Buffer.byteLength(wide.text) < 10_000, `${Buffer.byteLength(wide.text)}`);
  assert.ok(wide.content.truncated && wide.content.returned > 5);
});

test("AWS leaves things out: still an answer", async () => {
  world.proxy.rule({ operation: "GetDimensionValues", fault: { kind: "respond", status: 200, body: "{}" } });
  assert.deepEqual((await list(fresh())).content.items, []);
  world.proxy.clearRules();
  const body = JSON.stringify({ DimensionValues: [{}, { Value: null, Attributes: null }] });
  world.proxy.rule({ operation: "GetDimensionValues", fault: { kind: "respond", status: 200, body } });
  assert.deepEqual((await list(fresh())).content.items, [{ value: "" }, { value: "" }]);
});
