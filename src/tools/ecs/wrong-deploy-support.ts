import {
  HOSTILE_TEXTS,
  LONG,
  NOT_BOOLEAN,
  NOT_LIST,
  NOT_TEXT,
  type WrongArguments,
} from "../../../test/support/wrong.ts";

const ARN = "arn:aws:ecs:us-east-1:123456789012";

/** None of them null, undefined and the like, which are good names of a cluster, a service or a family. */
const NOT_A_NAME = [...HOSTILE_TEXTS.filter((text) => !/^[A-Za-z_]{1,255}$/.test(text)), ...NOT_TEXT];

/** Names and ARNs that look right, to a person. */
const definitions = [
  ...NOT_A_NAME,
  "web:",
  "web:0",
  "web:01",
  "web:-1",
  "web:latest",
  "web:7:8",
  ":7",
  "web 7",
  "web/7",
  "web:７",
  "wеb:7", // a Cyrillic letter
  "web:7\n",
  "web:7\u200B",
  "*",
  "web:*",
  "x".repeat(256),
  `${ARN}:task-definition/web`,
  `${ARN}:task-definition/web:7/x`,
  `${ARN}:service/web`,
  "arn:aws:ecs:us-east-1:12345:task-definition/web:7",
  "arn:aws:ec2:us-east-1:123456789012:task-definition/web:7",
];

const NOT_COUNT = [null, -1, 1.5, 5_001, 1e9, "2", "", true, [], {}, 2 ** 53];
const NOT_SIZE = [null, 0, -1, 1.5, 1e9, "256", "", true, [], {}];

const containers = [
  ...NOT_LIST,
  [{ image: "" }],
  [{ image: "https://evil.example/web" }],
  [{ image: "user:pw@evil.example/web" }],
  [{ image: "Web" }],
  [{ image: "web:1 " }],
  [{ image: LONG }],
  [{ image: null }],
  [{ name: "" }],
  [{ name: "we b" }],
  [{ name: LONG }],
  [{ cpu_units: 0 }],
  [{ cpu_units: "256" }],
  [{ memory_mib: 3 }],
  [{ memory_reservation_mib: 1.5 }],
  [{ command: ["sh"] }],
  [{ privileged: true }],
  [{ user: "root" }],
  Array.from({ length: 21 }, () => ({ cpu_units: 1 })),
].filter((value) => JSON.stringify(value) !== "[{}]");

const variable = (name: unknown, value: unknown = "x") => [{ name, value }];
const environment = [
  ...NOT_LIST,
  [{ name: "A" }],
  [{ value: "x" }],
  variable(""),
  variable("1A"),
  variable("A B"),
  variable("A=B"),
  variable(LONG),
  variable("А"), // a Cyrillic letter
  variable("A", 1),
  variable("A", LONG),
  variable("A", { valueFrom: "x" }),
  [{ name: "A", value: "x", container: "we b" }],
  [{ name: "A", value: "x", secret: true }],
  ...["DB_PASSWORD", "API_KEY", "GITHUB_TOKEN", "clientSecret", "PRIVATE_KEY", "DATABASE_DSN"].map((name) =>
    variable(name),
  ),
  Array.from({ length: 51 }, (_, index) => ({ name: `V${index}`, value: "x" })),
];

const wrong: Record<string, readonly unknown[]> = {
  cluster: [...NOT_A_NAME, `${ARN}:service/web`, "prod/web", "x".repeat(256)],
  service: [...NOT_A_NAME, `${ARN}:cluster/web`, "prod/web", "x".repeat(256)],
  task_definition: definitions,
  desired_count: NOT_COUNT,
  force_new_deployment: NOT_BOOLEAN,
  allow_zero: NOT_BOOLEAN,
  beyond_limit: NOT_BOOLEAN,
  even_if_used: NOT_BOOLEAN,
  family: [...NOT_A_NAME, "web:7", "x".repeat(256), `${ARN}:task-definition/web:7`],
  family_prefix: [...NOT_A_NAME, "web*", "x".repeat(256)],
  status: [...NOT_TEXT, "", "active", "ALL", "DELETE_IN_PROGRESS", "__proto__"],
  compare_to: [null, 0, -1, 1.5, 1e10, "6", "web:6", "", true, [], {}],
  cpu_units: NOT_SIZE,
  memory_mib: [...NOT_SIZE, 3],
  containers,
  environment,
};

const definition = { good: { task_definition: "web:7" }, wrong };

export const deployWrong: Record<string, WrongArguments> = {
  ecs_update_service: {
    good: { cluster: "prod", service: "web", desired_count: 2 },
    wrong: { ...wrong, cluster: [...(wrong.cluster ?? []), "arn:aws:ecs:us-east-1:123456789012:cluster/"] },
  },
  ecs_list_task_definitions: { good: {}, wrong },
  ecs_describe_task_definition: definition,
  ecs_register_task_definition: { good: { task_definition: "web:7", cpu_units: 256 }, wrong },
  ecs_deregister_task_definition: {
    good: { task_definition: "web:7" },
    wrong: { ...wrong, task_definition: [...definitions, "web"] },
  },
};
