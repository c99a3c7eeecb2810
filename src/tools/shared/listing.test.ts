import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { ToolError } from "../../core/errors.ts";
import { questionHash } from "./cursor.ts";
import { type Listing, listRegions, type ServicePage } from "./listing.ts";

const throttled = (what: string) => new ToolError("throttled", `${what} is limiting requests.`, { nextStep: "Wait." });
const question = questionHash("svc_list_things", {});

/** One region of a made-up service: its items, page by page. A page may be empty and still have a token. */
type Region = readonly (readonly string[])[];

interface Service {
  fetches: string[];
  fetchPage(region: string, token: string | undefined): Promise<ServicePage<string>>;
}

/** `fails` says whether this fetch (counted over the whole service) throws. */
function service(regions: readonly Region[], fails: (region: number, page: number, fetch: number) => boolean): Service {
  const fetches: string[] = [];
  return {
    fetches,
    async fetchPage(name, token) {
      const region = Number(name.slice("region-".length));
      const page = token === undefined ? 0 : Number(token.slice("page-".length));
      fetches.push(`${name}/${page}`);
      if (fails(region, page, fetches.length)) throw throttled(name);
      const pages = regions[region] ?? [];
      return {
        items: [...(pages[page] ?? [])],
        nextToken: page + 1 < pages.length ? `page-${page + 1}` : undefined,
      };
    },
  };
}

const names = (regions: readonly Region[]) => regions.map((_, index) => `region-${index}`);
const never = () => false;

function list(
  from: Service,
  regions: readonly Region[],
  options: {
    limit?: number;
    cursor?: string | undefined;
    maxScan?: number;
    maxScanMs?: number;
    maxPageBytes?: number;
  } = {},
): Promise<Listing<string>> {
  const { limit, cursor, ...bounds } = options;
  return listRegions<string, string>({
    question,
    regions: names(regions),
    limit: limit ?? 20,
    cursor,
    fetchPage: from.fetchPage,
    countBy: (item) => (item.endsWith("0") ? "round" : "other"),
    rows: (items) => items.map(({ item }) => item),
    ...bounds,
  });
}

/** Follows the cursors to the end, trying a failed page again, as an agent would. */
async function listAll(
  from: Service,
  regions: readonly Region[],
  limits: readonly number[],
  bounds: { maxScan?: number; maxPageBytes?: number } = {},
) {
  const pages: Listing<string>[] = [];
  let cursor: string | undefined;
  for (let round = 0; ; round += 1) {
    assert.ok(round < 2_000, "the listing does not end");
    const limit = limits[round % limits.length] ?? 20;
    let page: Listing<string>;
    try {
      page = await list(from, regions, { limit, cursor, ...bounds });
    } catch (error) {
      assert.ok(error instanceof ToolError && error.kind === "throttled");
      continue;
    }
    pages.push(page);
    assert.ok(page.items.length <= limit);
    assert.equal(page.truncated, page.nextCursor !== undefined);
    if (page.nextCursor === undefined) return { pages, items: pages.flatMap(({ items }) => items) };
    cursor = page.nextCursor;
  }
}

/** Regions whose items are numbered in order, split into random pages, some of them empty. */
const regionsOf = (region: number) =>
  fc
    .array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 8 })
    .map((sizes) =>
      sizes.map((size, page) =>
        Array.from(
          { length: size },
          (_, index) => `${region}:${sizes.slice(0, page).reduce((a, b) => a + b, 0) + index}`,
        ),
      ),
    );
const fleets = fc
  .integer({ min: 1, max: 4 })
  .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => regionsOf(i))));
const limits = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 });
const flat = (regions: readonly Region[]) => regions.flat(2);

describe("listRegions, for any split into pages", () => {
  test("returns every item exactly once and in order, and counts right", async () => {
    await fc.assert(
      fc.asyncProperty(fleets, limits, async (regions, sizes) => {
        const { pages, items } = await listAll(service(regions, never), regions, sizes);
        assert.deepEqual(items, flat(regions));
        const round = items.filter((item) => item.endsWith("0")).length;
        for (const { counts } of pages) {
          assert.deepEqual([counts.total, counts.by.round ?? 0, counts.complete], [items.length, round, true]);
        }
      }),
    );
  });

  test("loses and doubles nothing when the counting scan stops early", async () => {
    await fc.assert(
      fc.asyncProperty(fleets, limits, fc.integer({ min: 1, max: 30 }), async (regions, sizes, maxScan) => {
        const { pages, items } = await listAll(service(regions, never), regions, sizes, { maxScan });
        assert.deepEqual(items, flat(regions));
        const counts = pages[0]?.counts;
        assert.ok(counts && counts.total <= items.length);
        if (counts.complete) assert.equal(counts.total, items.length);
        for (const page of pages) assert.deepEqual(page.counts, counts, "later pages repeat the counts of the first");
      }),
    );
  });

  test("loses and doubles nothing when fetches fail at random; what fails at once is reported and left out", async () => {
    await fc.assert(
      fc.asyncProperty(fleets, limits, fc.array(fc.boolean(), { maxLength: 40 }), async (regions, sizes, failing) => {
        const from = service(regions, (_region, _page, fetch) => failing[fetch - 1] ?? false);
        const { pages, items } = await listAll(from, regions, sizes);
        const first = pages[0];
        assert.ok(first);
        const reported = first.errors.map((error) => error.region);
        const absent = regions.filter(
          (region, index) =>
            !items.some((item) => region.flat().includes(item)) && reported.includes(`region-${index}`),
        );
        const present = regions.filter((region) => !absent.includes(region));
        assert.deepEqual(items, flat(present));
        if (reported.length > 0) assert.equal(first.counts.complete, false);
      }),
    );
  });

  test("loses and doubles nothing when a page is cut to its size in bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fleets, limits, fc.integer({ min: 1, max: 40 }), async (regions, sizes, maxPageBytes) => {
        const { pages, items } = await listAll(service(regions, never), regions, sizes, { maxPageBytes });
        assert.deepEqual(items, flat(regions));
        for (const page of pages) {
          const bytes = page.items.reduce((sum, item) => sum + JSON.stringify(item).length, 0);
          assert.ok(page.items.length <= 1 || bytes <= maxPageBytes);
        }
      }),
    );
  });

  test("fetches no more of a later page than it needs", async () => {
    const regions: Region[] = [Array.from({ length: 10 }, (_, page) => [`0:${page * 2}`, `0:${page * 2 + 1}`])];
    const from = service(regions, never);
    const first = await list(from, regions, { limit: 3 });
    from.fetches.length = 0;
    const second = await list(from, regions, { limit: 3, cursor: first.nextCursor });
    assert.deepEqual(second.items, ["0:3", "0:4", "0:5"]);
    assert.deepEqual(from.fetches, ["region-0/1", "region-0/2", "region-0/3"]);
  });
});

describe("a region that fails", () => {
  const three: Region[] = [[["0:0"], ["0:1"]], [["1:0"], ["1:1"]], [["2:0"]]];

  test("at once: the others are listed, it is reported, and later pages leave it out", async () => {
    let down = true;
    const from = service(three, (region) => down && region === 1);
    const first = await list(from, three, { limit: 1 });
    assert.deepEqual(first.items, ["0:0"]);
    assert.deepEqual(first.errors, [
      { region: "region-1", kind: "throttled", message: "region-1 is limiting requests." },
    ]);
    assert.deepEqual([first.counts.total, first.counts.complete], [3, false]);
    down = false;
    const rest = await list(from, three, { cursor: first.nextCursor });
    assert.deepEqual(rest.items, ["0:1", "2:0"]);
    assert.equal(rest.truncated, false);
  });

  test("half-way: what it gave is returned, and the cursor comes back to where it failed", async () => {
    let down = true;
    const from = service(three, (region, page) => down && region === 0 && page === 1);
    const first = await list(from, three);
    assert.deepEqual(first.items, ["0:0"], "nothing behind the gap is returned before it");
    assert.equal(first.errors.length, 1);
    assert.equal(first.counts.complete, false);
    await assert.rejects(list(from, three, { cursor: first.nextCursor }), { kind: "throttled" });
    down = false;
    const rest = await list(from, three, { cursor: first.nextCursor });
    assert.deepEqual(rest.items, ["0:1", "1:0", "1:1", "2:0"]);
  });

  test("after an empty page: nothing is lost", async () => {
    const sparse: Region[] = [[[], ["0:0"]], [["1:0"]]];
    let down = true;
    const from = service(sparse, (region, page) => down && region === 0 && page === 1);
    const first = await list(from, sparse);
    assert.deepEqual([first.items, first.truncated, first.errors.length], [[], true, 1]);
    down = false;
    assert.deepEqual((await list(from, sparse, { cursor: first.nextCursor })).items, ["0:0", "1:0"]);
  });

  test("on a later page: the page ends before it, and the cursor comes back to it", async () => {
    let down = false;
    const from = service(three, (region) => down && region === 1);
    const first = await list(from, three, { limit: 1 });
    down = true;
    const second = await list(from, three, { cursor: first.nextCursor });
    assert.deepEqual([second.items, second.errors.map((error) => error.region)], [["0:1"], ["region-1"]]);
    down = false;
    assert.deepEqual((await list(from, three, { cursor: second.nextCursor })).items, ["1:0", "1:1", "2:0"]);
  });

  test("with all the others: the call fails with the first error", async () => {
    await assert.rejects(
      list(
        service(three, () => true),
        three,
      ),
      { kind: "throttled", message: "region-0 is limiting requests." },
    );
  });

  test("through our own fault or a cancellation: it is not passed off as a partial answer", async () => {
    for (const thrown of [new TypeError("bug"), new ToolError("cancelled", "gone", { nextStep: "-" })]) {
      const fetchPage = (region: string) =>
        region === "region-0" ? Promise.reject(thrown) : Promise.resolve({ items: ["1:0"], nextToken: undefined });
      await assert.rejects(list({ fetches: [], fetchPage }, three), thrown);
    }
  });
});

describe("rows", () => {
  const regions: Region[] = [[["0:0", "0:1", "0:2"]], [["1:0"]]];
  const request = {
    question,
    regions: names(regions),
    limit: 3,
    cursor: undefined,
    fetchPage: service(regions, never).fetchPage,
    countBy: () => "all",
  };

  test("are made of the items of the page alone, with their regions, all at once", async () => {
    const asked: unknown[] = [];
    await listRegions<string, string>({
      ...request,
      rows: async (items) => {
        asked.push(items);
        return items.map(({ item }) => item);
      },
    });
    assert.deepEqual(asked, [["0:0", "0:1", "0:2"].map((item) => ({ item, region: "region-0" }))]);
  });

  test("of what has gone are left out, and what could not be found out is reported", async () => {
    const listing = await listRegions<string, string>({
      ...request,
      rows: (items, report) => {
        report("region-0", throttled("region-0"));
        return items.map(({ item }) => (item === "0:1" ? undefined : item));
      },
    });
    assert.deepEqual([listing.items, listing.truncated], [["0:0", "0:2"], true]);
    assert.deepEqual(listing.errors, [
      { region: "region-0", kind: "throttled", message: "region-0 is limiting requests." },
    ]);
  });
});

describe("the counting scan", () => {
  const long: Region[] = [
    Array.from({ length: 30 }, (_, page) => Array.from({ length: 100 }, (_, i) => `0:${page * 100 + i}`)),
  ];

  test("stops at 2,000 items, says so, and everything is still reachable", async () => {
    const from = service(long, never);
    const first = await list(from, long, { limit: 200 });
    assert.equal(from.fetches.length, 20);
    assert.deepEqual([first.counts.total, first.counts.complete, first.truncated], [2_000, false, true]);
    const { items } = await listAll(from, long, [200]);
    assert.equal(new Set(items).size, 3_000);
    assert.equal(items.length, 3_000);
  });

  test("stops when its time is up, with what it has", async () => {
    const from = service(long, never);
    const slow: Service = {
      ...from,
      fetchPage: async (region, token) => {
        await sleep(5);
        return from.fetchPage(region, token);
      },
    };
    const first = await list(slow, long, { limit: 1, maxScanMs: 12 });
    assert.ok(from.fetches.length < 20 && first.counts.total < 2_000);
    assert.equal(first.counts.complete, false);
    const next = await list(from, long, { limit: 2, cursor: first.nextCursor });
    assert.deepEqual(next.items, ["0:1", "0:2"]);
  });

  test("an interrupted region does not let a later one jump the queue", async () => {
    const two: Region[] = [[["0:0"], ["0:1"], ["0:2"]], [["1:0"]]];
    const first = await list(service(two, never), two, { limit: 20, maxScan: 1 });
    assert.deepEqual([first.items, first.truncated], [["0:0"], true]);
  });
});

test("of many groups the largest are counted apart and the rest together", async () => {
  // Group g has g items.
  const items = Array.from({ length: 40 }, (_, group) => Array.from({ length: group }, () => `${group}`)).flat();
  const regions: Region[] = [[items]];
  const from = service(regions, never);
  const { counts } = await listRegions<string, string>({
    question,
    regions: names(regions),
    limit: 1,
    cursor: undefined,
    fetchPage: from.fetchPage,
    countBy: (item) => `group ${item}`,
    rows: (found) => found.map(({ item }) => item),
  });
  const { "(16 others)": others, ...largest } = counts.by;
  assert.equal(Object.keys(largest).length, 23);
  assert.deepEqual([largest["group 39"], largest["group 17"]], [39, 17]);
  assert.equal(others, (16 * 17) / 2);
  assert.equal(counts.total, items.length);
});

test("a page token AWS no longer accepts is explained as the cursor's end", async () => {
  const regions: Region[] = [[["0:0"], ["0:1"]]];
  const first = await list(service(regions, never), regions, { limit: 1 });
  const fetchPage = () =>
    Promise.reject(new ToolError("invalid_input", "AWS answered InvalidParameterValue", { nextStep: "-" }));
  await assert.rejects(list({ fetches: [], fetchPage }, regions, { cursor: first.nextCursor }), {
    kind: "invalid_input",
    message: /^cursor: AWS no longer accepts it/,
  });
});
