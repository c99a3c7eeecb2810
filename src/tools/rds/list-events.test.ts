import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import fc from "fast-check";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { eventsAnswer, type FakeEvent, rdsXml } from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";
import { newerHalf, type Slice, sliceBefore, sliceOf, tokenOf } from "./event-slices.ts";
import { createDb } from "./stage-support.ts";

const TOOL = "rds_list_events";
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
let world: World;
const { ask, askAll, refused, respond, sent } = asker(() => world);

before(async () => {
  world = await startWorld();
  await createDb(world.proxy.url, "orders-db");
  world.reset();
});
after(() => world?.close());
afterEach(() => world.reset());

const ago = (ms: number) => new Date(Date.now() - ms).toISOString();
/** Events so many milliseconds ago, each saying which it is. */
const at = (...times: number[]): FakeEvent[] => times.map((ms) => ({ at: ago(ms), message: `${ms} ago` }));
const messages = (items: { message?: unknown }[]) => items.map(({ message }) => message);

describe(TOOL, () => {
  test("shows what happened, newest first, with the counts by category and the range", async () => {
    respond(
      "DescribeEvents",
      eventsAnswer([
        { at: ago(3 * HOUR), categories: ["failover", "notification"], message: "Multi-AZ instance failover started." },
        {
          at: ago(HOUR / 2),
          source: "rds:orders-db-2026",
          type: "db-snapshot",
          categories: ["creation"],
          message: "Automated snapshot created",
        },
        { at: ago(2 * HOUR), categories: ["failover"], message: "Multi-AZ instance failover completed" },
        { at: ago(30 * HOUR), message: "before the range" },
      ]),
    );
    const reply = await ask(TOOL);
    const { from, to, ...summary } = reply.summary;
    assert.deepEqual(summary, { matched: 3, by_category: { failover: 2, creation: 1 }, counts_complete: true });
    assert.equal(Math.round((Date.parse(to) - Date.parse(from)) / HOUR), 24);
    assert.deepEqual(messages(reply.items), [
      "Automated snapshot created",
      "Multi-AZ instance failover completed",
      "Multi-AZ instance failover started.",
    ]);
    const { happened, ...event } = reply.items[2];
    assert.match(happened, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(event, {
      source_type: "db-instance",
      source_id: "orders-db",
      categories: ["failover", "notification"],
      message: "Multi-AZ instance failover started.",
      region: "us-east-1",
    });
  });

  test("shows what moto remembers, each once, however it answers", async () => {
    const { items } = await askAll(TOOL, { start: "14d" });
    assert.ok(messages(items).includes("DB instance created"));
    assert.equal(new Set(items.map((item) => JSON.stringify(item))).size, items.length);
  });

  test("an empty region, or a quiet time, is an answer, too", async () => {
    const { summary, items } = await ask(TOOL, { region: "ap-south-1" });
    assert.deepEqual([summary.matched, summary.by_category, items], [0, {}, []]);
    respond("DescribeEvents", eventsAnswer(at(2 * DAY)));
    assert.equal((await ask(TOOL)).summary.matched, 0);
  });

  test("passes source and categories on, and only with a type a source", async () => {
    respond(
      "DescribeEvents",
      eventsAnswer([{ at: ago(60_000), source: "a", type: "db-cluster", categories: ["failure"] }, ...at(70_000)]),
    );
    const { items } = await ask(TOOL, {
      source_type: "db-cluster",
      source_id: "a",
      categories: ["failover", "failure"],
    });
    assert.deepEqual(
      items.map((item: { source_id: string }) => item.source_id),
      ["a"],
    );
    const { parameters } = sent("DescribeEvents")[0] ?? {};
    assert.deepEqual(
      [
        parameters?.SourceType,
        parameters?.SourceIdentifier,
        parameters?.["EventCategories.EventCategory.2"],
        parameters?.MaxRecords,
      ],
      ["db-cluster", "a", "failure", "100"],
    );
    const error = await refused(TOOL, { source_id: "a" });
    assert.deepEqual([error.kind, error.message.startsWith("source_id: give source_type")], ["invalid_input", true]);
  });

  test("a source that does not exist has no events", async () => {
    world.proxy.rule({
      operation: "DescribeEvents",
      fault: { kind: "error", status: 404, code: "DBInstanceNotFound", message: "no" },
    });
    assert.equal((await ask(TOOL, { source_type: "db-instance", source_id: "nowhere" })).summary.matched, 0);
  });

  test("looks 14 days back and no further", async () => {
    respond("DescribeEvents", eventsAnswer(at(60_000, DAY, 13.9 * DAY)));
    assert.equal((await ask(TOOL, { start: "14d" })).summary.matched, 3);
    const starts = sent("DescribeEvents").map(({ parameters }) => Date.parse(String(parameters.StartTime)));
    // Not a moment too close to the bound: the request still has to get there.
    assert.ok(Math.min(...starts) > Date.now() - 14 * DAY + 30_000, "AWS refuses to look further");
    for (const args of [{ start: "15d" }, { start: "20d", end: "16d" }, { start: "2020-01-01" }]) {
      const error = await refused(TOOL, args);
      assert.deepEqual([error.kind, error.message.startsWith("start: ")], ["invalid_input", true]);
    }
    for (const args of [{ start: "1h", end: "2h" }, { start: "2090-01-01" }]) {
      assert.match((await refused(TOOL, args)).message, /^start: it must be before/);
    }
  });

  test("the range is exact at both ends", async () => {
    const hour = Math.floor(Date.now() / HOUR) * HOUR - 30 * HOUR;
    const [start, last, end] = [hour, hour + HOUR - 1, hour + HOUR].map((time) => new Date(time).toISOString());
    respond(
      "DescribeEvents",
      eventsAnswer([
        { at: start ?? "", message: "first" },
        { at: last ?? "", message: "last" },
        { at: end ?? "", message: "after" },
      ]),
    );
    assert.deepEqual(messages((await ask(TOOL, { start, end })).items), ["last", "first"]);
  });

  test("events at the edges of slices come once", async () => {
    // Not 14 days: what RDS remembers would be a second less when it is asked again.
    const { summary } = await ask(TOOL, { start: "13d" });
    const edges = sent("DescribeEvents").flatMap(({ parameters }) => Date.parse(String(parameters.StartTime)));
    world.reset();
    assert.ok(edges.length >= 8, `${edges.length} slices`);
    const to = Date.parse(summary.to);
    const events = edges.flatMap((edge) =>
      [edge - 1, edge, edge + 1].map((time) => ({ at: new Date(time).toISOString(), message: `${to - time}` })),
    );
    respond("DescribeEvents", eventsAnswer(events));
    const { items } = await askAll(TOOL, { start: new Date(Math.min(...edges)).toISOString(), end: summary.to });
    const wanted = events.filter((event) => Date.parse(event.at) >= Math.min(...edges) && Date.parse(event.at) < to);
    assert.deepEqual(messages(items).sort(), messages(wanted).sort());
  });
});

describe(`${TOOL}, pages`, () => {
  const spread = (count: number, within: number) =>
    at(...Array.from({ length: count }, (_, index) => 60_000 + Math.floor((index * within) / count)));

  for (const [count, start, limit] of [
    [90, "24h", 20],
    [700, "14d", 200],
    [700, "7d", 33],
  ] as const) {
    test(`${count} events of ${start} in pages of ${limit}: nothing lost, nothing doubled, newest first`, async () => {
      const within = { "24h": DAY, "7d": 7 * DAY, "14d": 14 * DAY }[start] - 2 * 60_000 - HOUR / 10;
      const events = spread(count, within);
      respond("DescribeEvents", eventsAnswer(events));
      const { items, pages } = await askAll(TOOL, { start, limit });
      assert.deepEqual(messages(items), messages(events));
      assert.ok(pages >= 3);
    });
  }

  test("more in a slice than is taken at once: the slice is halved, and nothing is lost", async () => {
    const events = spread(4_000, HOUR / 2);
    respond("DescribeEvents", eventsAnswer(events));
    const first = await ask(TOOL, { limit: 200 });
    assert.equal(first.summary.counts_complete, false);
    assert.ok(first.summary.matched < 3_200, `${first.summary.matched}: the scan stops between halves`);
    const { items } = await askAll(TOOL, { limit: 200 });
    assert.deepEqual(messages(items), messages(events));
  });

  test("more in a minute than is taken at once is taken whole", async () => {
    const events = at(...Array.from({ length: 1_200 }, (_, index) => 10 * 60_000 + index));
    respond("DescribeEvents", eventsAnswer(events));
    const { items } = await askAll(TOOL, { limit: 200 });
    assert.equal(new Set(messages(items)).size, 1_200);
  });

  test("the range stays where it was while time goes on", async () => {
    const edge = Date.now() - 24 * HOUR;
    const events = Array.from({ length: 50 }, (_, index) => ({
      at: new Date(edge + 1_200 + index * 20).toISOString(),
      message: `e${index}`,
    }));
    respond("DescribeEvents", eventsAnswer(events));
    const first = await ask(TOOL, { start: "24h", limit: 10 });
    await new Promise((resolve) => setTimeout(resolve, 2_300));
    const items = [...first.items];
    let cursor = first.next_cursor;
    while (cursor) {
      const page = await ask(TOOL, { start: "24h", limit: 10, cursor });
      assert.deepEqual(page.summary, first.summary);
      items.push(...page.items);
      cursor = page.next_cursor;
    }
    assert.equal(items.length, first.summary.matched);
    assert.ok(items.length > 0);
  });

  test("an altered moment does not fit its cursor", async () => {
    respond("DescribeEvents", eventsAnswer(spread(50, HOUR)));
    const { next_cursor } = await ask(TOOL);
    const cursor = next_cursor.replace(/^[^~]*/, (Date.now() - DAY).toString(36));
    assert.match((await refused(TOOL, { cursor })).message, /^cursor: /);
    for (const made of ["zzzzzzzz~x.y.z", "10000000~x.y.z", "00000000~x.y.z", "~", "1~"])
      assert.match((await refused(TOOL, { cursor: made })).message, /^cursor: /, made);
  });

  test("a region that fails is reported beside the other", async () => {
    respond("DescribeEvents", eventsAnswer(at(60_000)));
    world.proxy.ruleFirst({ operation: "DescribeEvents", region: "eu-west-1", fault: { kind: "denied" } });
    const { errors, returned } = await ask(TOOL, { regions: ["us-east-1", "eu-west-1"] });
    assert.deepEqual([returned, errors[0].region, errors[0].kind], [1, "eu-west-1", "aws_access_denied"]);
  });

  test("5,000 ordinary events: a page of 20 takes less than 10 KB, each at most 400 bytes", async () => {
    const events = Array.from({ length: 5_000 }, (_, index) => ({
      at: ago(60_000 + index * 4_000),
      message: "Recovery of the DB instance is complete: the storage was scaled from 100 GiB to 200 GiB.",
    }));
    respond("DescribeEvents", eventsAnswer(events));
    const reply = await world.call(TOOL, {});
    assert.equal(reply.content.returned, 20);
    assert.ok(Buffer.byteLength(reply.text) < 10_000);
    for (const item of reply.content.items) assert.ok(JSON.stringify(item).length <= 400, JSON.stringify(item));
  });
});

describe(`${TOOL}, hostile text`, () => {
  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`${what}: cleaned wherever it stands, under 10 KB`, async () => {
      const member = {
        SourceIdentifier: text,
        SourceType: text,
        Message: text.repeat(20),
        EventCategories: { EventCategory: Array.from({ length: 30 }, () => text) },
      };
      const body = ({ parameters }: { parameters: Record<string, unknown> }) =>
        rdsXml("DescribeEvents", {
          Events: { Event: Array.from({ length: 30 }, () => ({ ...member, Date: String(parameters.StartTime) })) },
        });
      respond("DescribeEvents", body);
      const reply = await world.call(TOOL, { start: "30m" });
      assert.equal(reply.isError, false, reply.text);
      assertClean(reply);
      assert.ok(Buffer.byteLength(reply.text) < 10_000, `${Buffer.byteLength(reply.text)}`);
      assert.equal((await askAll(TOOL, { start: "30m" })).items.length, 30);
    });
  }

  test("an event with nothing in it is shown for what it is", async () => {
    respond("DescribeEvents", rdsXml("DescribeEvents", { Events: { Event: [{}] } }));
    const { items, summary } = await ask(TOOL, { start: "30m" });
    assert.deepEqual(items, [{ source_type: "", source_id: "", message: "", region: "us-east-1" }]);
    assert.deepEqual(summary.by_category, { none: 1 });
  });
});

test("slices cover a range without gap or overlap, and can be found again by their token", () => {
  const range = fc
    .tuple(fc.integer({ min: 1_500_000_000, max: 1_800_000_000 }), fc.integer({ min: 1, max: 14 * 24 * 3_600 }))
    .map(([to, length]): Slice => ({ from: (to - length) * 1000, to: to * 1000 }));
  fc.assert(
    fc.property(range, fc.array(fc.boolean(), { maxLength: 20 }), (whole, full) => {
      let token: string | undefined;
      let end = whole.to;
      for (let turn = 0; ; turn += 1) {
        assert.ok(turn < 60, "ends");
        let slice = sliceOf(token, whole);
        if (full[turn]) slice = newerHalf(slice) ?? slice;
        assert.equal(slice.to, end);
        assert.ok(slice.from < slice.to && slice.from >= whole.from);
        end = slice.from;
        const before = sliceBefore(slice, whole);
        if (!before) break;
        token = tokenOf(before);
        assert.deepEqual(sliceOf(token, whole), before);
      }
      assert.equal(end, whole.from);
    }),
  );
});
