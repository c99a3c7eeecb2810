import {
  HOSTILE_TEXTS,
  LONG,
  NOT_BOOLEAN,
  NOT_LIST,
  NOT_TEXT,
  type WrongArguments,
} from "../../../test/support/wrong.ts";

const NAMES = [
  ...HOSTILE_TEXTS.filter((text) => !/^[.\-_/#A-Za-z0-9]{1,512}$/.test(text)),
  "arn:aws:logs:us-east-1:123456789012:log-group:/app/orders",
  "/app/*",
  "*",
  "/app/orders:*",
  "/app/orders ",
  "/app/orders\n",
  "/app/orders\u200B",
  "/app/оrders", // a Cyrillic letter
  "x".repeat(513),
];
const TIMES: unknown[] = [
  "",
  "now",
  "yesterday",
  "1 h",
  "-1h",
  "1y",
  "2026-02-30",
  "2026-13-01",
  "12:00",
  LONG,
  0,
  null,
  [],
  {},
];
const NOT_COUNT = [null, -1, 1.5, "20", 1e9, Number.MAX_SAFE_INTEGER, true, [], {}];

const wrong: Record<string, readonly unknown[]> = {
  prefix: [...NAMES, ...NOT_TEXT],
  name_contains: [...NAMES, ...NOT_TEXT],
  log_group: [...NAMES, ...NOT_TEXT],
  log_groups: [
    ...NOT_LIST.filter((value) => typeof value !== "object" || !Array.isArray(value) || value.length !== 1),
    [null],
    [1],
    ...NAMES.map((name) => [name]),
    ["/app/orders", "/app/*"],
    Array.from({ length: 21 }, (_, index) => `/app/${index}`),
  ],
  pattern: ["", LONG, ...NOT_TEXT],
  log_stream_prefix: ["", "a:b", "*", "web*", "x\u0000", "x\n", LONG, "\u202Ex", ...NOT_TEXT],
  query: [
    ...HOSTILE_TEXTS,
    ...NOT_TEXT,
    "SOURCE logGroups(namePrefix: ['/audit']) | fields @message",
    "fields @message | SOURCE '/audit'",
    "# x\nsource '/audit'",
    "fields unmask(@message)",
    "fields @message | lookup t id",
    "fields @message | join left=a right=b where a.x=b.x (SOURCE '/audit')",
    "SELECT * FROM `/audit`",
    `fields ${LONG}`,
  ],
  start: TIMES,
  end: TIMES,
  newest_first: NOT_BOOLEAN,
  limit: [...NOT_COUNT, 0, 1_001],
  offset: [...NOT_COUNT, 100_001],
  max_line_bytes: [...NOT_COUNT, 0, 49, 8_001],
  max_value_bytes: [...NOT_COUNT, 0, 49, 8_001],
  query_id: [
    ...HOSTILE_TEXTS.filter((text) => !/^[A-Za-z0-9-]{8,64}$/.test(text)),
    ...NOT_TEXT,
    "x".repeat(65),
    "12ab/34cd",
  ],
};

export const logsWrong: Record<string, WrongArguments> = {
  cloudwatch_list_log_groups: { good: {}, wrong: { ...wrong, limit: [...NOT_COUNT, 0, 201] } },
  cloudwatch_filter_logs: { good: { log_group: "/app/orders" }, wrong },
  cloudwatch_query_logs: { good: { log_groups: ["/app/orders"], query: "fields @message" }, wrong },
  cloudwatch_get_query_results: { good: { query_id: "12ab3456-12ab-123a-789e-1234567890ab" }, wrong },
};
