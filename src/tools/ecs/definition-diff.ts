import type { RegisterTaskDefinitionCommandInput, TaskDefinition } from "@aws-sdk/client-ecs";
import { cut, imageOf } from "./container-view.ts";

// What two revisions differ in. Everything is compared; only values that cannot hold a secret are shown.

/** Lines a reader is shown at most. */
export const MAX_CHANGES = 60;

/** Everything a new revision takes over; tags are kept beside it. */
export type Registerable = Omit<RegisterTaskDefinitionCommandInput, "tags">;
type Field = keyof Registerable;

// Both lists are complete, or this does not compile: for a field AWS adds some day somebody decides whether it is copied.
const COPIED = Object.keys({
  family: 1,
  containerDefinitions: 1,
  taskRoleArn: 1,
  executionRoleArn: 1,
  networkMode: 1,
  volumes: 1,
  placementConstraints: 1,
  requiresCompatibilities: 1,
  cpu: 1,
  memory: 1,
  pidMode: 1,
  ipcMode: 1,
  proxyConfiguration: 1,
  inferenceAccelerators: 1,
  ephemeralStorage: 1,
  runtimePlatform: 1,
  enableFaultInjection: 1,
} satisfies Record<Field, 1>) as Field[];
/** What AWS says of a revision and does not take when one is registered. */
const ANSWER_ONLY: ReadonlySet<string> = new Set(
  Object.keys({
    taskDefinitionArn: 1,
    revision: 1,
    status: 1,
    requiresAttributes: 1,
    compatibilities: 1,
    registeredAt: 1,
    deregisteredAt: 1,
    deleteRequestedAt: 1,
    registeredBy: 1,
  } satisfies Record<Exclude<keyof TaskDefinition, Field>, 1>),
);

/** The fields of a revision that make the next one. */
export function registerable(definition: Pick<TaskDefinition, Field>): Registerable {
  const given = COPIED.filter((field) => definition[field] !== undefined);
  const { family, containerDefinitions } = definition;
  return { family, containerDefinitions, ...Object.fromEntries(given.map((field) => [field, definition[field]])) };
}

/** Values a reader may see, by where they stand; `*` is an element of a list. */
const SHOWN: ReadonlySet<string> = new Set([
  "cpu",
  "memory",
  "networkMode",
  "pidMode",
  "ipcMode",
  "taskRoleArn",
  "executionRoleArn",
  "requiresCompatibilities",
  "runtimePlatform.cpuArchitecture",
  "runtimePlatform.operatingSystemFamily",
  "ephemeralStorage.sizeInGiB",
  "enableFaultInjection",
  ...[
    "image",
    "cpu",
    "memory",
    "memoryReservation",
    "essential",
    "privileged",
    "readonlyRootFilesystem",
    "portMappings",
    "startTimeout",
    "stopTimeout",
    "versionConsistency",
    "logConfiguration.logDriver",
  ].map((field) => `containerDefinitions.*.${field}`),
]);

interface Leaf {
  /** Comparable. */
  value: string;
  shown: boolean;
}

/** @returns one line a difference, `web.image: a:1 → a:2`, `web.environment.MODE changed (value hidden)` */
export function changesBetween(before: TaskDefinition | Registerable, after: TaskDefinition | Registerable): string[] {
  const [old, now] = [leavesOf(before), leavesOf(after)];
  const changes: string[] = [];
  for (const path of new Set([...old.keys(), ...now.keys()])) {
    const [was, is] = [old.get(path), now.get(path)];
    if (was?.value === is?.value) continue;
    // Docker takes credentials in a reference; what is no plain one is not repeated.
    const isImage = path.endsWith(".image");
    const shown = (leaf: Leaf) => (leaf.shown ? ` ${isImage ? imageOf(leaf.value) : cut(leaf.value, 200)}` : "");
    const label = cut(path, 160);
    // Without a colon after the name: `DB_PASSWORD: removed` would be taken for a password, and masked.
    if (was && is) {
      changes.push(was.shown && is.shown ? `${label}:${shown(was)} →${shown(is)}` : `${label} changed (value hidden)`);
    } else if (is) changes.push(`${label} added${shown(is)}`);
    else if (was) changes.push(`${label} removed${shown(was)}`);
  }
  return changes;
}

/** Every value that is no container of others, by its path as people say it. */
function leavesOf(definition: TaskDefinition | Registerable): Map<string, Leaf> {
  const leaves = new Map<string, Leaf>();
  for (const [key, value] of Object.entries(definition)) {
    if (ANSWER_ONLY.has(key) || key === "family") continue;
    walk(value, key, key === "containerDefinitions" ? "" : key, leaves);
  }
  return leaves;
}

/** @param place where the value stands, with `*` for elements; @param path the same with their names */
function walk(value: unknown, place: string, path: string, leaves: Map<string, Leaf>): void {
  const join = (part: string) => (path === "" ? part : `${path}.${part}`);
  if (value === undefined || value === null) return;
  if (Array.isArray(value) && value.length > 0 && value.every((item) => nameOf(item) !== undefined)) {
    for (const item of value) walkNamed(item, `${place}.*`, join(nameOf(item) ?? ""), leaves);
  } else if (Array.isArray(value)) {
    // The order of commands and arguments matters, so a list without names is one value.
    if (value.length > 0)
      leaves.set(path, { value: value.map((item) => textOf(item)).join(" "), shown: SHOWN.has(place) });
  } else if (typeof value === "object") {
    for (const [key, member] of Object.entries(value)) walk(member, `${place}.${key}`, join(key), leaves);
  } else {
    // A secret is a text; numbers and switches are not.
    leaves.set(path, { value: String(value), shown: typeof value !== "string" || SHOWN.has(place) });
  }
}

/** An element known by its name: `environment.MODE`, not `environment.MODE.value`. */
function walkNamed(item: object, place: string, path: string, leaves: Map<string, Leaf>): void {
  const { name: _name, ...rest } = item as { name: string };
  const entries = Object.entries(rest).filter(([, member]) => member !== undefined);
  if (entries.length === 0) leaves.set(path, { value: "", shown: false });
  for (const [key, member] of entries) {
    const label = key === "value" || key === "valueFrom" ? path : `${path}.${key}`;
    walk(member, `${place}.${key}`, label, leaves);
  }
}

function nameOf(item: unknown): string | undefined {
  const name: unknown = item !== null && typeof item === "object" && "name" in item ? item.name : undefined;
  return typeof name === "string" ? name : undefined;
}

function textOf(item: unknown): string {
  return typeof item === "string" ? item : JSON.stringify(item);
}
