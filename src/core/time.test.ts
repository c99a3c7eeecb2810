import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseFuture, parseTime } from "./time.ts";

const NOW = Date.parse("2026-03-01T12:00:00Z");

describe("parseTime", () => {
  test("takes how long ago", () => {
    const cases = {
      "90s": "2026-03-01T11:58:30.000Z",
      "15m": "2026-03-01T11:45:00.000Z",
      "1h": "2026-03-01T11:00:00.000Z",
      "7d": "2026-02-22T12:00:00.000Z",
      "2w": "2026-02-15T12:00:00.000Z",
      "0s": "2026-03-01T12:00:00.000Z",
    };
    for (const [given, expected] of Object.entries(cases)) assert.equal(parseTime(given, NOW), expected, given);
  });

  test("takes ISO 8601 with a zone, and without as UTC", () => {
    const cases = {
      "2026-03-01": "2026-03-01T00:00:00.000Z",
      "2026-03-01T10:00": "2026-03-01T10:00:00.000Z",
      "2026-03-01T10:00:05": "2026-03-01T10:00:05.000Z",
      "2026-03-01T10:00:05.123456Z": "2026-03-01T10:00:05.123Z",
      "2026-03-01T10:00:00+02:00": "2026-03-01T08:00:00.000Z",
      "2026-03-01T10:00-05:30": "2026-03-01T15:30:00.000Z",
      "2024-02-29": "2024-02-29T00:00:00.000Z",
    };
    for (const [given, expected] of Object.entries(cases)) assert.equal(parseTime(given, NOW), expected, given);
  });

  test("does not depend on the zone of the machine", () => {
    const zone = process.env.TZ;
    process.env.TZ = "America/St_Johns";
    try {
      assert.equal(parseTime("2026-07-01T10:00"), "2026-07-01T10:00:00.000Z");
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });

  test("refuses what is neither, and days no calendar has", () => {
    const bad = [
      "",
      " ",
      "now",
      "yesterday",
      "1",
      "-1h",
      "+1h",
      "1.5h",
      "1H",
      "1y",
      "1 h",
      "1h ",
      "1h30m",
      "9999999d",
      "2026",
      "2026-03",
      "20260301",
      "2026-3-1",
      "2026-13-01",
      "2026-00-10",
      "2026-02-30",
      "2026-02-29",
      "2026-04-31",
      "2026-03-01 10:00",
      "2026-03-01T25:00",
      "2026-03-01T10:60",
      "2026-03-01T10:00:61",
      "2026-03-01T10",
      "2026-03-01T10:00+2",
      "2026-03-01T10:00:00+99:00",
      "2026-03-01T10:00Z\n",
      "1772366400",
      "Sun Mar 1 2026",
    ];
    for (const given of bad) assert.equal(parseTime(given, NOW), undefined, given);
  });

  test("reads back every moment it can write", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("1970-01-01"), max: new Date("2100-01-01"), noInvalidDate: true }),
        (date) => {
          assert.equal(parseTime(date.toISOString()), date.toISOString());
        },
      ),
    );
  });

  test("never throws, and answers with a UTC time or not at all", () => {
    const oneOf = fc.oneof(
      fc.string(),
      fc.stringMatching(/^\d{1,7}[smhdw]$/),
      fc.stringMatching(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}Z$/),
    );
    fc.assert(
      fc.property(oneOf, (text) => {
        const time = parseTime(text, NOW);
        if (time !== undefined) assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("parseFuture", () => {
  test("takes how far off it is, and ISO 8601", () => {
    const cases = {
      "1s": "2026-03-01T12:00:01.000Z",
      "90d": "2026-05-30T12:00:00.000Z",
      "2w": "2026-03-15T12:00:00.000Z",
      "2026-03-02": "2026-03-02T00:00:00.000Z",
      "2026-03-01T13:00:01+01:00": "2026-03-01T12:00:01.000Z",
      "9999-12-31T23:59:59Z": "9999-12-31T23:59:59.000Z",
    };
    for (const [given, expected] of Object.entries(cases)) assert.equal(parseFuture(given, NOW), expected, given);
  });

  test("refuses what is neither, what has passed, and what no calendar of four digits reaches", () => {
    for (const given of [
      "",
      "never",
      "0d",
      "-1d",
      "1.5d",
      "2026-03-01",
      "2026-03-01T12:00:00Z",
      "2027-02-29",
      "999999w",
    ])
      assert.equal(parseFuture(given, NOW), undefined, given);
  });
});
