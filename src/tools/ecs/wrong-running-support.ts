import { HOSTILE_TEXTS, NOT_TEXT, type WrongArguments } from "../../../test/support/wrong.ts";

const TASK = "0123456789abcdef0123456789abcdef";
const ARN = "arn:aws:ecs:us-east-1:123456789012";

/** ECS takes every word of letters, digits, hyphens and underscores for a name: `null` and `__proto__` are names. */
const isName = (text: string) => /^[A-Za-z0-9_-]{1,255}$/.test(text);

/** What is no name, whatever it names. */
const NO_NAMES = [
  ...HOSTILE_TEXTS.filter((text) => !isName(text)),
  ...NOT_TEXT,
  "x".repeat(256),
  "prod ",
  " prod",
  "prod\n",
  "prod\u200B",
  "prod\u0000",
  "prod,dev",
  "prod/web",
  "prod:1",
  "prod.web",
  "pro*",
  "prоd", // a Cyrillic letter
  "ｐｒｏｄ",
];

/** ARNs that are broken, or of another type than `type`. */
const badArns = (type: string) => [
  "arn:",
  `${ARN}`,
  `${ARN}:${type}`,
  `${ARN}:${type}/`,
  `${ARN}:${type}//x`,
  `${ARN}:${type}/a/b/c`,
  `${ARN}:${type}/../x`,
  `${ARN}:${type}/x `,
  `${ARN}:${type}/x\n`,
  `${ARN}:${type}/*`,
  `${ARN}:container-instance/prod/${TASK}`,
  `${ARN}:task-definition/web:1`,
  `arn:aws:ecs:us-east-1::${type}/x`,
  `arn:aws:ecs::123456789012:${type}/x`,
  `arn:aws:ecs:*:123456789012:${type}/x`,
  `arn:aws:ecs:us-east-1:12345678901:${type}/x`,
  `arn:aws:ec2:us-east-1:123456789012:${type}/x`,
  `arn:evil:ecs:us-east-1:123456789012:${type}/x`,
  `ARN:aws:ecs:us-east-1:123456789012:${type}/x`,
];

const wrong: Record<string, readonly unknown[]> = {
  cluster: [...NO_NAMES, ...badArns("cluster"), `${ARN}:cluster/prod/web`, `${ARN}:service/prod/web`],
  service: [
    ...NO_NAMES,
    ...badArns("service"),
    `${ARN}:cluster/prod`,
    `${ARN}:task/prod/${TASK}`,
    `${ARN}:service/another-cluster/web`,
  ],
  task: [
    ...HOSTILE_TEXTS,
    ...NOT_TEXT,
    ...badArns("task"),
    TASK.slice(1),
    `${TASK}0`,
    TASK.toUpperCase(),
    ` ${TASK}`,
    `${TASK}\n`,
    `${TASK},${TASK}`,
    "01234567-89ab-cdef-0123-456789abcde",
    `${ARN}:service/prod/web`,
    `${ARN}:task/prod/web`,
    `${ARN}:task/another-cluster/${TASK}`,
  ],
  family: [...NO_NAMES, "web:1", `${ARN}:task-definition/web:1`],
  name_contains: NO_NAMES,
  status: [...NOT_TEXT, "", "running", "PENDING", "STOPPED ", "ANY", "RUNNING,STOPPED"],
  launch_type: [...NOT_TEXT, "", "fargate", "FARGATE_SPOT", "EC2 ", "LAMBDA"],
  scheduling: [...NOT_TEXT, "", "replica", "REPLICA,DAEMON", "CRON"],
  start: [
    ...NOT_TEXT,
    ...HOSTILE_TEXTS,
    "yesterday",
    "3 h",
    "-3h",
    "3y",
    "2026-02-30",
    "2026-01-31T25:00:00Z",
    "0h",
    "200d",
    "2999-01-01",
    "1e3h",
  ],
  end: [...NOT_TEXT, ...HOSTILE_TEXTS, "now", "tomorrow", "2026-13-01"],
};

export const runningWrong: Record<string, WrongArguments> = {
  ecs_list_clusters: { good: {}, wrong },
  ecs_describe_cluster: { good: { cluster: "prod" }, wrong },
  ecs_list_services: { good: { cluster: "prod" }, wrong },
  ecs_describe_service: { good: { cluster: "prod", service: "web" }, wrong },
  ecs_list_tasks: { good: { cluster: "prod" }, wrong },
  ecs_describe_task: { good: { cluster: "prod", task: TASK }, wrong },
  ecs_get_container_insights: { good: { cluster: "prod" }, wrong },
};
