import * as ecs from "@aws-sdk/client-ecs";
import type { FaultProxy, RuleHandle } from "./fault-proxy.ts";

// Task definitions as ECS answers them, on the wire. Moto keeps some fields of one and drops the rest.

export type WireDefinition = Record<string, unknown>;

const ACCOUNT = "123456789012";
export const definitionArn = (name: string) => `arn:aws:ecs:us-east-1:${ACCOUNT}:task-definition/${name}`;

/** An ordinary definition of one container. */
export function wireDefinition(
  name: string,
  more: WireDefinition = {},
  container: WireDefinition = {},
): WireDefinition {
  const [family = "", revision = "1"] = name.split(":");
  return {
    taskDefinitionArn: definitionArn(name),
    family,
    revision: Number(revision),
    status: "ACTIVE",
    cpu: "256",
    memory: "512",
    networkMode: "awsvpc",
    requiresCompatibilities: ["FARGATE"],
    taskRoleArn: `arn:aws:iam::${ACCOUNT}:role/${family}-task`,
    registeredAt: 1_790_000_000,
    containerDefinitions: [
      {
        name: "web",
        image: `registry.example/${family}:${revision}`,
        essential: true,
        environment: [{ name: "MODE", value: "blue" }],
        ...container,
      },
    ],
    ...more,
  };
}

/** From now on ECS knows these definitions and no others: by revision, by family (the newest ACTIVE one), by ARN. */
export function answerDefinitions(
  proxy: FaultProxy,
  definitions: readonly WireDefinition[],
  tags: readonly { key: string; value: string }[] = [],
): RuleHandle {
  const find = (asked: string): WireDefinition | undefined => {
    const name = asked.split("/").at(-1) ?? "";
    if (name.includes(":")) return definitions.find((one) => `${one.family}:${one.revision}` === name);
    return definitions
      .filter((one) => one.family === name && one.status === "ACTIVE")
      .sort((a, b) => Number(b.revision) - Number(a.revision))[0];
  };
  return proxy.ruleFirst({
    service: "ecs",
    operation: "DescribeTaskDefinition",
    fault: {
      kind: "respond",
      status: 200,
      body: ({ parameters }) => {
        const found = find(String(parameters.taskDefinition));
        const { tags: own = tags, ...definition } = found ?? {};
        return JSON.stringify({ ...(found && { taskDefinition: definition }), tags: own });
      },
    },
  });
}

const NUMBER = 1;
const BOOLEAN = 2;
const TIMES = [4, 5, 6, 7];
const LIST_OF = 64;
const MAP_OF = 128;

/**
 * A definition with every field the SDK knows, at any depth, read from its own schemas: a field that AWS adds is in it
 * as soon as the SDK is updated. @param text what stands at a path such as `containerDefinitions.*.image`; keys of maps
 * are asked for as `….{key}`
 */
export function maximalDefinition(text: (path: string) => string): WireDefinition {
  let count = 0;
  const fill = (schema: unknown, path: string): unknown => {
    const known = typeof schema === "function" ? schema() : schema;
    if (typeof known === "number") {
      if (known >= MAP_OF) return { [text(`${path}.{key}`)]: fill(known - MAP_OF, `${path}.{value}`) };
      if (known >= LIST_OF) return [fill(known - LIST_OF, `${path}.*`), fill(known - LIST_OF, `${path}.*`)];
      if (known === NUMBER) return ++count;
      if (known === BOOLEAN) return true;
      return TIMES.includes(known) ? 1_790_000_000 : text(path);
    }
    if (!Array.isArray(known)) throw new Error(`unknown schema at ${path}`);
    const [kind, , , , members, schemas] = known;
    // A member with traits of its own is a pair of schema and traits.
    if (typeof kind !== "number") return fill(kind, path);
    if (kind === 1) return [fill(members, `${path}.*`)];
    if (kind === 2) return { [text(`${path}.{key}`)]: fill(schemas, `${path}.{value}`) };
    // A structure has every member, a union one.
    if (kind !== 3 && kind !== 4) throw new Error(`unknown kind ${kind} at ${path}`);
    return Object.fromEntries(
      (members as string[])
        .slice(0, kind === 4 ? 1 : undefined)
        .map((name, index) => [name, fill((schemas as unknown[])[index], path === "" ? name : `${path}.${name}`)]),
    );
  };
  return fill(ecs.TaskDefinition$, "") as WireDefinition;
}

/** From now on ECS lists these names (`family`, `family:revision`), in pages as it would: moto gives all at once. */
export function answerDefinitionLists(
  proxy: FaultProxy,
  { families, revisions }: { families: readonly string[]; revisions: readonly string[] },
): void {
  const page = (all: readonly string[], { nextToken, maxResults }: Record<string, unknown>) => {
    const from = Number(nextToken ?? 0);
    const to = from + Math.min(Number(maxResults ?? 100), 100);
    return { items: all.slice(from, to), ...(to < all.length && { nextToken: String(to) }) };
  };
  const answer = (operation: string, body: (parameters: Record<string, unknown>) => object) =>
    proxy.ruleFirst({
      service: "ecs",
      operation,
      fault: { kind: "respond", status: 200, body: ({ parameters }) => JSON.stringify(body(parameters)) },
    });
  answer("ListTaskDefinitionFamilies", (given) => {
    const { items, ...rest } = page(
      families.filter((family) => family.startsWith(String(given.familyPrefix ?? ""))),
      given,
    );
    return { families: items, ...rest };
  });
  answer("ListTaskDefinitions", (given) => {
    const own = revisions.filter((name) => name.split(":")[0] === given.familyPrefix);
    const { items, ...rest } = page(given.sort === "DESC" ? own.toReversed() : own, given);
    return { taskDefinitionArns: items.map(definitionArn), ...rest };
  });
}
