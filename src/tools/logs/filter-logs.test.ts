import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import type { ProxyRequest } from "../../../test/support/fault-proxy.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { type FakeEvent, filterLogEvents } from "../../../test/support/logs-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { sealCursor } from "../shared/cursor.ts";
import { putLines } from "./stage-support.ts";

const TOOL = "cloudwatch_filter_logs";
const GROUP = "/app/orders";
const MANY = "/app/many";
let world: World;

before(async () => {
  world = await startWorld();
  await putLines(world.proxy.url, GROUP, "web/1", [
    "GET /orders 200",
    '{"level":"error","id":7}',
    "ERROR no connection",
  ]);
});
after(() => world?.close());
beforeEach(() => world.reset());

async function read(args: Record<string, unknown> = {}) {
  const reply = await world.call(TOOL, { log_group: GROUP, ...args });
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  assert.equal(reply.content.returned, reply.content.lines.length);
  assert.equal(reply.content.truncated, reply.content.next_cursor !== undefined);
  return reply;
}

async function pages(args: Record<string, unknown>) {
  const all = [];
  let cursor: string | undefined;
  do {
    const reply = await read({ ...args, ...(cursor && { cursor }) });
    all.push(reply);
    cursor = reply.content.next_cursor;
  } while (cursor !== undefined);
  return all;
}

interface Line {
  at: string;
  stream: string;
  message: string;
  cut?: boolean;
}
const messages = (replies: readonly { content: { lines: Line[] } }[]) =>
  replies.flatMap(({ content }) => content.lines.map(({ message }) => message));

function answer(body: (request: ProxyRequest) => string) {
  world.proxy.rule({ service: "logs", operation: "FilterLogEvents", fault: { kind: "respond", status: 200, body } });
}
const answerWith = (events: readonly FakeEvent[]) => answer(({ parameters }) => filterLogEvents(events, parameters));
const sent = () => world.proxy.requests.filter(({ operation }) => operation === "FilterLogEvents");

/** One second apart, the last one a minute ago. */
function recent(texts: readonly string[], stream?: string): FakeEvent[] {
  const last = Date.now() - 60_000;
  return texts.map((message, index) => ({
    at: last - (texts.length - 1 - index) * 100,
    message,
    ...(stream && { stream }),
  }));
}

describe("against moto", () => {
  test("lines come with time and stream; JSON stays text", async () => {
    const { content } = await read({ newest_first: false });
    assert.deepEqual(
      content.lines.map(({ stream, message }: Line) => [stream, message]),
      [
        ["web/1", "GET /orders 200"],
        ["web/1", '{"level":"error","id":7}'],
        ["web/1", "ERROR no connection"],
      ],
    );
    assert.match(content.lines[0].at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const [from, to] = [Date.parse(content.from), Date.parse(content.to)];
    assert.equal(to - from, 3_600_000, "an hour, unless said otherwise");
    assert.deepEqual([content.log_group, content.region], [GROUP, "us-east-1"]);
  });

  test("a pattern is AWS's to apply", async () => {
    assert.deepEqual(messages([await read({ pattern: "ERROR" })]), ["ERROR no connection"]);
    assert.deepEqual(messages([await read({ pattern: "nothing like it" })]), []);
  });

  test("a group that is not there: which, and what to do", async () => {
    const { content, isError } = await world.call(TOOL, { log_group: "/app/gone" });
    assert.ok(isError);
    assert.equal(content.error.kind, "not_found");
    assert.equal(content.error.message, "There is no log group /app/gone in us-east-1.");
    assert.match(content.error.next_step, /cloudwatch_list_log_groups/);
  });

  test("5,000 lines are reached by cursor, none lost, none twice, and the default page is under 10 KB", async () => {
    const lines = Array.from(
      { length: 5_000 },
      (_, i) =>
        `2026-11-24T03:58:44Z INFO [http-nio-8080-exec-${i % 50}] c.e.o.OrderController - line ${i} ${"of an ordinary length ".repeat(8)}`,
    );
    await putLines(world.proxy.url, MANY, "ecs/web/0123456789abcdef0123456789abcdef", lines);
    const all = await pages({ log_group: MANY, newest_first: false, limit: 700 });
    assert.ok(all.length >= 8, `${all.length} pages`);
    assert.deepEqual(
      messages(all).map((text) => text.slice(0, 80)),
      lines.map((text) => text.slice(0, 80)),
    );
    for (const { text } of all) assert.ok(Buffer.byteLength(text) < 80_000);
    const first = await read({ log_group: MANY });
    assert.equal(first.content.returned, 20);
    assert.ok(Buffer.byteLength(first.text) < 10_000, `${Buffer.byteLength(first.text)}`);
  });
});

describe("pages", () => {
  test("newest first, 5,000 lines: every one once, from the last to the first", async () => {
    const texts = Array.from({ length: 5_000 }, (_, i) => `line ${i}`);
    answerWith(recent(texts));
    assert.deepEqual(messages(await pages({ limit: 999 })), texts.toReversed());
    assert.equal(sent()[0]?.parameters.startFromHead, false);
  });

  test("what AWS is asked for", async () => {
    answerWith([]);
    await read({
      log_stream_prefix: "web/",
      pattern: '"a b"',
      start: "2026-01-01",
      end: "2026-01-02T00:00:00Z",
      newest_first: false,
      limit: 5,
    });
    assert.deepEqual(sent()[0]?.parameters, {
      logGroupName: GROUP,
      logStreamNamePrefix: "web/",
      filterPattern: '"a b"',
      startTime: Date.UTC(2026, 0, 1),
      endTime: Date.UTC(2026, 0, 2) - 1,
      startFromHead: true,
      limit: 5,
    });
  });

  test("before 2024 AWS cannot search backwards, so it is not asked to", async () => {
    answerWith([]);
    await read({ start: "2023-06-01", end: "2023-06-02" });
    assert.equal(sent()[0]?.parameters.startFromHead, true);
  });

  test("at most 31 days", async () => {
    const { content, isError } = await world.call(TOOL, { log_group: GROUP, start: "32d" });
    assert.deepEqual([isError, content.error.kind], [true, "invalid_input"]);
    assert.match(content.error.message, /31 days/);
  });

  test("the second page is about the hour of the first", async () => {
    answerWith(recent(["a", "b", "c"]));
    const first = await read({ limit: 1 });
    const second = await read({ limit: 1, cursor: first.content.next_cursor });
    assert.deepEqual([second.content.from, second.content.to], [first.content.from, first.content.to]);
    const [one, two] = sent();
    assert.deepEqual(
      [two?.parameters.startTime, two?.parameters.endTime],
      [one?.parameters.startTime, one?.parameters.endTime],
    );
  });

  test("empty pages before the lines are passed over", async () => {
    const events = recent(["found"]);
    answer(({ parameters }) => {
      const step = Number(parameters.nextToken ?? 0);
      return step < 4
        ? JSON.stringify({ events: [], nextToken: String(step + 1) })
        : filterLogEvents(events, { startTime: 0 });
    });
    assert.deepEqual(messages([await read()]), ["found"]);
    assert.equal(sent().length, 5);
  });

  test("a token that repeats itself ends the search", async () => {
    answer(() => JSON.stringify({ events: [], nextToken: "again" }));
    assert.equal((await read()).content.truncated, false);
    assert.equal(sent().length, 2);
  });

  test("lines too long for one reply start the next, also when AWS has put one in before meanwhile", async () => {
    const texts = Array.from({ length: 40 }, (_, i) => `${i} ${"y".repeat(7_000)}`);
    const events = recent(texts);
    answerWith(events);
    const args = { newest_first: false, limit: 40, max_line_bytes: 8_000 };
    const first = await read(args);
    assert.ok(first.content.returned > 0 && first.content.returned < 40);
    assert.ok(Buffer.byteLength(first.text) < 80_000);
    world.proxy.clearRules();
    // One that arrived late, at the very beginning of the page that was cut.
    const late = { at: (events[0]?.at ?? 0) - 1, message: "late" };
    answer((request) =>
      filterLogEvents([late, ...events], request.parameters).replace(
        /event-(\d+)/g,
        (_, index) => `event-${Number(index) - 1}`,
      ),
    );
    const rest = await pages({ ...args, cursor: first.content.next_cursor });
    const shown = messages([first, ...rest]).map((text) => Number(text.split(" ")[0]));
    assert.deepEqual(shown, texts.map((_, index) => index).slice(0, shown.length));
    assert.ok(shown.length >= 39);
  });

  test("a cursor made by somebody else is held to the same bounds", async () => {
    answerWith(recent(["a", "b"]));
    const { content } = await read({ limit: 1 });
    const [question = "", , body = ""] = content.next_cursor.split(".");
    const resume = JSON.parse(Buffer.from(body, "base64url").toString());
    const remade = (change: object) => sealCursor(question, { ...resume, ...change });
    const day = 86_400_000;
    assert.equal((await read({ limit: 1, cursor: remade({ from: resume.to - 31 * day }) })).content.returned, 1);
    world.proxy.clearRequests();
    for (const change of [
      { from: 0 },
      { from: resume.to - 31 * day - 1 },
      { to: resume.from + 32 * day },
      { to: resume.from },
      { at: { ...resume.at, size: 1_001 } },
    ]) {
      const reply = await world.call(TOOL, { log_group: GROUP, limit: 1, cursor: remade(change) });
      assert.equal(reply.content.error?.kind, "invalid_input", JSON.stringify(change));
      assert.match(reply.content.error.message, /^cursor:/);
    }
    assert.deepEqual(sent(), []);
  });

  test("a cursor is of one question", async () => {
    answerWith(recent(["a", "b"]));
    const { content } = await read({ limit: 1 });
    for (const args of [{ pattern: "x" }, { log_group: "/other" }, { newest_first: false }, { region: "eu-west-1" }]) {
      const reply = await world.call(TOOL, { log_group: GROUP, limit: 1, cursor: content.next_cursor, ...args });
      assert.equal(reply.content.error?.kind, "invalid_input", JSON.stringify(args));
      assert.match(reply.content.error.message, /^cursor:/);
    }
  });
});

describe("what lines may hold", () => {
  const PEM_BODY = Array.from({ length: 6 }, (_, i) =>
    `MIIEpAIBAAKCAQEA7bq${i}aXo0/y9Qm1Lk2Jh3Gf4Ds5Pq6Wo7Eu8Rt9Yv/0NcXzKq`.slice(0, 64),
  );
  const CANARIES = {
    akid: "AKIAIOSFODNN7CANARY1",
    secret: "wJalrXUtnFEMIK7MDENGbPxRfiCYCANARYKEY000",
    bearer: "canary-bearer-7f3b2a1c9d8e",
    password: "canary-Passw0rd-1",
    url: "canaryUrlPw99",
    jwt: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlY2FuYXJ5",
    github: "ghp_CANARY0123456789abcdefABCDEF0123",
    tail: "q7CanaryTailOfKey0==",
  };
  const PEM = ["-----BEGIN RSA PRIVATE KEY-----", ...PEM_BODY, CANARIES.tail, "-----END RSA PRIVATE KEY-----"];
  const LINES = [
    `key ${CANARIES.akid}`,
    `{"aws_secret_access_key":"${CANARIES.secret}"}`,
    `Authorization: Bearer ${CANARIES.bearer}`,
    `curl -H 'Authorization: Bearer ${CANARIES.bearer}' --password ${CANARIES.password}`,
    `db password=${CANARIES.password} ok`,
    `connect postgres://app:${CANARIES.url}@db.internal:5432/orders`,
    `jwt ${CANARIES.jwt}`,
    `token ${CANARIES.github}`,
    `key: ${PEM.join("\\n")}`,
    PEM.join("\n"),
    ...PEM,
    "after the key",
  ];

  function assertNoSecret(text: string): void {
    for (const [name, canary] of Object.entries(CANARIES)) assert.ok(!text.includes(canary), name);
    for (const line of PEM_BODY) assert.ok(!text.includes(line.slice(0, 24)), line);
  }

  test("secrets never come out, in either order and on any page", async () => {
    answerWith(recent(LINES));
    for (const newest_first of [true, false]) {
      const { text, content } = await read({ newest_first, limit: 100, max_line_bytes: 8_000 });
      assertNoSecret(text);
      assert.ok(text.includes("after the key") && text.includes("db password="), "the rest is there");
      assert.equal(content.returned, LINES.length);
    }
  });

  test("a page that begins inside a key shows none of its long lines", async () => {
    answerWith(recent(PEM_BODY));
    assertNoSecret((await read()).text);
  });

  test("nor when they are wrapped in JSON", async () => {
    answerWith(
      recent(PEM_BODY.map((line) => JSON.stringify({ log: `${line}\n`, stream: "stdout" }).replaceAll("/", "\\/"))),
    );
    assertNoSecret((await read()).text);
  });

  test("nor does half of a secret, wherever the line is cut", async () => {
    const secrets = [
      `postgres://app:${CANARIES.url}@db`,
      `x ${CANARIES.github}`,
      `x ${CANARIES.jwt}`,
      `x ${CANARIES.akid}`,
      `password: ${CANARIES.password}`,
    ];
    const halves = [CANARIES.url, CANARIES.github, CANARIES.akid, CANARIES.password, CANARIES.jwt].map((s) =>
      s.slice(0, 8),
    );
    const texts = secrets.flatMap((secret) => [...Array(40).keys()].map((i) => "-".repeat(60 + i) + secret));
    answerWith(recent(texts));
    const { text } = await read({ limit: 1_000, max_line_bytes: 100 });
    for (const half of halves) assert.ok(!text.includes(half), half);
  });

  test("digests, ids and paths are not taken for keys", async () => {
    const kept = [
      `sha256:${"0123456789abcdef".repeat(4)}`,
      "/usr/local/lib/node_modules/some_package/dist/commands/Describe/index.js:12",
      "org/springframework/boot/autoconfigure/web/servlet/DispatcherServlet2Configuration1",
      "Root=1-67891233-abcdef012345678912345678",
    ];
    answerWith(recent(kept));
    assert.deepEqual(messages([await read({ newest_first: false })]), kept);
  });

  test("hostile lines and stream names are cleaned, cut, and make a page under 10 KB", async () => {
    const texts = Object.values(HOSTILE);
    const last = Date.now() - 60_000;
    answerWith(texts.map((text, i) => ({ at: last + i, message: `${text} `.repeat(40), stream: text })));
    const { text, content } = await read();
    assert.ok(Buffer.byteLength(text) < 10_000, `${Buffer.byteLength(text)}`);
    assert.equal(content.returned, texts.length);
    assert.ok(content.lines.filter(({ cut }: Line) => cut).length > 10);
  });

  test("a long line is cut, says so, and comes whole when asked for", async () => {
    const long = `start ${"ab ".repeat(300)}end`;
    answerWith(recent([long, "short"]));
    const { content } = await read({ newest_first: false });
    assert.equal(content.lines[0].cut, true);
    assert.ok(content.lines[0].message.endsWith("…") && content.lines[0].message.length <= 300);
    assert.equal(content.lines[1].cut, undefined);
    assert.equal((await read({ newest_first: false, max_line_bytes: 2_000 })).content.lines[0].message, long);
  });

  test("AWS leaves things out: still an answer", async () => {
    answer(() =>
      JSON.stringify({ events: [{}, { timestamp: 1e300 }, { message: null, timestamp: 1_790_000_000_000 }] }),
    );
    assert.deepEqual((await read()).content.lines, [
      { at: "", stream: "", message: "" },
      { at: "", stream: "", message: "" },
      { at: "2026-09-21T14:13:20.000Z", stream: "", message: "" },
    ]);
    world.proxy.clearRules();
    answer(() => "{}");
    assert.equal((await read()).content.returned, 0);
  });
});
