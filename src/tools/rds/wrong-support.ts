import {
  HOSTILE_TEXTS,
  LONG,
  NOT_BOOLEAN,
  NOT_LIST,
  NOT_TEXT,
  type WrongArguments,
} from "../../../test/support/wrong.ts";

const GOOD_ID = "orders-db";

/** Identifiers that look right, to a person. `null` and its like are good ones: RDS would take them. */
const HOSTILE_IDS = [
  ...HOSTILE_TEXTS.filter((text) => !/^[A-Za-z]+$/.test(text) || text.length > 255),
  "1orders",
  "-orders",
  "orders-",
  "orders--db",
  "orders_db",
  "orders.db",
  "orders db",
  ` ${GOOD_ID}`,
  `${GOOD_ID} `,
  `${GOOD_ID}\n`,
  `${GOOD_ID}\u200B`,
  `${GOOD_ID}\u0000`,
  `${GOOD_ID},other-db`,
  `${GOOD_ID}&Action=DeleteDBInstance`,
  "оrders-db", // a Cyrillic letter
  "orders‐db", // another hyphen
  "arn:aws:rds:us-east-1:123456789012:db:orders-db",
  "*",
  "orders-*",
];
const HOSTILE_SNAPSHOTS = [...HOSTILE_IDS, "rds:", ":x", "rds:orders--db", "RDS:orders-db", "a:b:c", "x".repeat(256)];
const TIMES = [...HOSTILE_TEXTS, ...NOT_TEXT, "yesterday", "1y", "-1h", "2026-02-30", "24:00", "1h ago", "now"];

const wrong: Record<string, readonly unknown[]> = {
  db_instance_id: [...HOSTILE_IDS, ...NOT_TEXT, "x".repeat(64)],
  db_instance_ids: [
    ...NOT_LIST.filter((value) => !(Array.isArray(value) && value.length === 0)),
    [],
    ...HOSTILE_IDS.map((value) => [value]),
    GOOD_ID,
    [GOOD_ID, "1"],
    Array.from({ length: 101 }, () => GOOD_ID),
  ],
  cluster_id: [...HOSTILE_IDS, ...NOT_TEXT, "x".repeat(64)],
  snapshot_id: [...HOSTILE_SNAPSHOTS, ...NOT_TEXT],
  engine: [LONG, "", " ", "Postgres", "postgres 16", "postgres;", "*", "pоstgres", ...NOT_TEXT],
  statuses: [
    ...NOT_LIST,
    ["Available"],
    ["available "],
    ["in_use"],
    ["__proto__"],
    [LONG],
    [""],
    Array.from({ length: 21 }, () => "available"),
  ],
  name_contains: ["", LONG, ...NOT_TEXT],
  type: ["", "Manual", "shared", "public", "all", "__proto__", LONG, ["manual"], ...NOT_TEXT],
  created_before: TIMES,
  created_after: TIMES,
  source_type: ["", "db", "DB-INSTANCE", "__proto__", LONG, ["db-instance"], ...NOT_TEXT],
  source_id: ["", " ", LONG, "1x", "orders db", "orders/db", "*", "оrders-db", "a\u0000", ...NOT_TEXT],
  categories: [
    ...NOT_LIST,
    ["Failover"],
    ["fail_over"],
    [LONG],
    [""],
    ["failover "],
    Array.from({ length: 21 }, () => "failover"),
  ],
  start: TIMES,
  end: TIMES,
  top: [null, 0, -1, 26, 1e9, 1.5, "10", "", true, [], [10], {}],
  dry_run: NOT_BOOLEAN,
};

const oneInstance = { good: { db_instance_id: GOOD_ID }, wrong };
const oneSnapshot = { good: { snapshot_id: "orders-db-before-upgrade" }, wrong };

export const rdsWrong: Record<string, WrongArguments> = {
  rds_list_db_instances: { good: {}, wrong },
  rds_describe_db_instance: oneInstance,
  rds_get_performance_insights: oneInstance,
  rds_list_events: { good: {}, wrong: { ...wrong, source_id: [...(wrong.source_id ?? []), GOOD_ID] } },
  rds_list_snapshots: { good: {}, wrong },
  rds_describe_snapshot: oneSnapshot,
  // The name of a new snapshot has no colon.
  rds_create_snapshot: {
    ...oneInstance,
    wrong: { ...wrong, snapshot_id: [...(wrong.snapshot_id ?? []), "rds:orders"] },
  },
  rds_delete_snapshot: oneSnapshot,
};
