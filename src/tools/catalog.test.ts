import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { effectsOf, isMutation, isRead, type Tool } from "../core/tool.ts";
import { manifest } from "../manifest.ts";
import { toProtocolTool } from "../mcp/protocol-tool.ts";
import { catalog } from "./catalog.ts";

// The constitution: what is true of every tool there is, and of every one to come.

const SNAPSHOTS = join(import.meta.dirname, "__snapshots__");
const UPDATE = process.env.UPDATE_SNAPSHOTS === "1";
const SNAKE_CASE = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;
/** Verbs a tool may start with, by whether it changes something. */
const READ_VERBS = ["list", "describe", "get", "query", "filter", "search"];
const FRAME = ["summary", "items", "returned", "truncated", "next_cursor", "as_of", "regions", "errors"];
/** Numbers without a unit: counts, and what has no unit. */
const UNITLESS = [
  "desired",
  "running",
  "pending",
  "failed",
  "running_tasks",
  "pending_tasks",
  "active_services",
  "container_instances",
  "services_checked",
  "services_with_problems",
  "exit_code",
  "matched",
  "returned",
  "iops",
  "connections",
  "vcpus",
  "total",
  "next_offset",
  "paid_requests",
  "latest",
  "min",
  "max",
  "avg",
  "p95",
  "missing_points",
  "expected_points",
  "datapoints",
  "state_changes_24h",
  "state_changes_7d",
  "position",
  "total_widgets",
];
/** An `amount` is of the `currency` beside it. */
const UNIT = /_(ms|s|days|bytes|kib|mib|gib|percent|usd|sessions|omitted)$|(^|_)amount$/;

interface JsonSchema {
  type?: string;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | boolean;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  required?: string[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  enum?: unknown[];
  maxLength?: number;
}

const schemasOf = (tool: Tool) => {
  const { inputSchema, outputSchema, ...rest } = toProtocolTool(tool);
  return { ...rest, input: inputSchema as JsonSchema, output: outputSchema as JsonSchema };
};

/** Every property at any depth, with its path. */
function* propertiesOf(schema: JsonSchema, path = ""): Generator<{ key: string; path: string; schema: JsonSchema }> {
  for (const [key, member] of Object.entries(schema.properties ?? {})) {
    yield { key, path: `${path}${key}`, schema: member };
    yield* propertiesOf(member, `${path}${key}.`);
  }
  for (const inner of [schema.items, schema.additionalProperties, ...(schema.anyOf ?? [])]) {
    if (typeof inner === "object") yield* propertiesOf(inner, path);
  }
}

/** What there is once for all regions: it is asked in one place. */
const isGlobal = (tool: Tool) => tool.service === "cost" || tool.service === "audit";
const isList = (tool: Tool) => /^[a-z0-9]+_list_/.test(tool.name);

test("names are unique, and so are titles and descriptions", () => {
  for (const field of ["name", "title", "description"] as const) {
    const all = catalog.map((tool) => tool[field]);
    assert.deepEqual([...new Set(all)], all);
  }
});

test("what a model reads of a tool averages at most 1 KB, and no tool takes more than 2 KB", () => {
  const sizes = catalog.map((tool) => {
    const { name, description, inputSchema } = toProtocolTool(tool);
    return Buffer.byteLength(JSON.stringify({ name, description, inputSchema }));
  });
  assert.ok(Math.max(...sizes) <= 2_048, `${sizes}`);
  assert.ok(sizes.reduce((sum, size) => sum + size, 0) / sizes.length <= 1_024, `${sizes}`);
});

test("the whole list stays small: what a model reads of it, and what goes over the wire", () => {
  const all = catalog.map(toProtocolTool);
  const read = all.map(({ name, description, inputSchema }) => ({ name, description, inputSchema }));
  assert.ok(Buffer.byteLength(JSON.stringify(read)) < 40_000, `${JSON.stringify(read).length}`);
  assert.ok(Buffer.byteLength(JSON.stringify(all)) < 90_000, `${JSON.stringify(all).length}`);
});

test("the list is plain ASCII: anything else doubles its size in memory and the time to send it", () => {
  for (const tool of catalog.map(toProtocolTool)) assert.doesNotMatch(JSON.stringify(tool), /[^ -~]/, tool.name);
});

test("the manifest a server lists its tools from is what the tools say", () => {
  const said = catalog.map((tool) => {
    return { name: tool.name, service: tool.service, effects: effectsOf(tool), protocol: toProtocolTool(tool) };
  });
  assert.deepEqual(manifest, JSON.parse(JSON.stringify(said)), "run: npm run gen");
});

test("every snapshot belongs to a tool", { skip: UPDATE }, () => {
  const expected = catalog.map((tool) => `${tool.name}.snap.json`).sort();
  assert.deepEqual(readdirSync(SNAPSHOTS).sort(), expected);
});

for (const tool of catalog) {
  describe(tool.name, () => {
    const { input, output, annotations } = schemasOf(tool);
    const shape = Object.keys(tool.input.shape);

    test("is called service_verb_noun, in at most 40 characters", () => {
      assert.match(tool.name, /^[a-z0-9]+_[a-z]+(_[a-z0-9]+)*$/);
      assert.ok(tool.name.length <= 40);
      const [service, verb = ""] = tool.name.split("_");
      assert.equal(service, tool.service);
      assert.equal(READ_VERBS.includes(verb), isRead(tool), `${verb} for a tool that is ${tool.effect}`);
    });

    test("has a title and a description of whole sentences under 400 characters", () => {
      assert.match(tool.title, /^[A-Z][^.\n]{3,60}$/);
      assert.match(tool.description, /^[A-Z][^\n]*\.$/);
      assert.ok(tool.description.length < 400, `${tool.description.length}`);
    });

    test("shows an example of itself that it would take", () => {
      const parsed = tool.input.safeParse(tool.example);
      assert.ok(parsed.success, String(parsed.error));
    });

    test("takes a strict object: an unknown key is refused and named", () => {
      assert.equal(input.additionalProperties, false);
      for (const unknown of ["instanceId", "constructor", "region "]) {
        const parsed = tool.input.safeParse({ [unknown]: 1 });
        assert.ok(!parsed.success && JSON.stringify(parsed.error.issues).includes(JSON.stringify(unknown)), unknown);
      }
    });

    test("spells every input and output key in snake_case", () => {
      for (const { key, path } of [...propertiesOf(input), ...propertiesOf(output)])
        assert.match(key, SNAKE_CASE, path);
    });

    test("bounds every text and every list it takes", () => {
      for (const { path, schema } of propertiesOf(input)) {
        for (const leaf of [schema, schema.items, ...(schema.anyOf ?? [])]) {
          if (leaf?.type === "string") {
            const bounded = leaf.maxLength !== undefined || leaf.enum || leaf.pattern?.endsWith("$");
            assert.ok(bounded, `${path} takes text of any length`);
          }
          if (leaf?.type === "array") assert.ok("maxItems" in leaf, `${path} takes any number`);
          if (leaf?.type === "integer" || leaf?.type === "number") assert.ok(leaf.maximum !== undefined, path);
        }
      }
    });

    test("names times and units", () => {
      for (const { key, path, schema } of propertiesOf(output)) {
        if (schema.type === "integer" || schema.type === "number") {
          assert.ok(
            UNIT.test(key) || UNITLESS.includes(key) || key.endsWith("_omitted"),
            `${path}: a number without a unit in its name`,
          );
        }
        assert.doesNotMatch(key, /(^|_)(date|time|timestamp|age|uptime|size|duration)$/, path);
      }
    });

    test("says how up to date a read is", () => {
      if (isRead(tool)) assert.ok(output.required?.includes("as_of"));
    });

    test("derives its annotations from its effect", () => {
      assert.deepEqual(annotations, {
        readOnlyHint: isRead(tool),
        destructiveHint: effectsOf(tool).some((effect) => effect === "destructive" || effect === "deploy"),
        idempotentHint: tool.idempotent,
        openWorldHint: true,
      });
    });

    test("declares the IAM actions it needs, each by name", () => {
      assert.equal(tool.iam.length > 0, tool.effect !== "audit", "only the trail is read without AWS");
      for (const { action } of tool.iam) assert.match(action, /^[a-z0-9-]+:[A-Z][A-Za-z0-9]+$/);
      const actions = tool.iam.map(({ action }) => action);
      assert.deepEqual([...new Set(actions)], actions);
      const changes = actions.filter(isMutation);
      assert.equal(changes.length > 0, !isRead(tool), `${changes}`);
    });

    test("can be pointed at a region, if it is about one", () => {
      assert.equal(shape.includes("region"), !isGlobal(tool));
    });

    if (isList(tool)) {
      test("lists in the frame of the house", () => {
        for (const key of ["limit", "cursor", ...(isGlobal(tool) ? [] : ["region"])])
          assert.ok(shape.includes(key), key);
        const { limit } = input.properties ?? {};
        assert.deepEqual([limit?.default, limit?.minimum, limit?.maximum], [20, 1, 200]);
        assert.deepEqual(Object.keys(output.properties ?? {}), FRAME);
        const optional = FRAME.filter((key) => !output.required?.includes(key));
        assert.deepEqual(optional, ["next_cursor", "errors"]);
        assert.ok(output.properties?.summary?.required?.includes("counts_complete"));
      });
    }

    if (!isRead(tool)) {
      test("looks its resource up, says what will happen, and can rehearse", () => {
        assert.equal(typeof tool.lookup, "function");
        assert.equal(typeof tool.consequence, "function");
        assert.ok(shape.includes("dry_run") && tool.dryRun, "a write can be rehearsed");
        for (const key of ["previous_state", "current_state", "message"])
          assert.ok(output.required?.includes(key), key);
      });

      test("waits only when asked to, with a deadline of its own", () => {
        if (!shape.includes("wait")) return;
        const given = { dry_run: false, wait: true };
        assert.equal(tool.waits?.(given), true);
        assert.equal(tool.waits?.({ ...given, wait: false }), false);
        assert.ok((tool.deadlineS?.(given) ?? 0) > 300);
        assert.equal(tool.deadlineS?.({ ...given, wait: false }), undefined);
      });
    }

    test("is what its committed snapshot says", () => {
      const file = join(SNAPSHOTS, `${tool.name}.snap.json`);
      const { name: _name, ...rest } = toProtocolTool(tool);
      const actual = { name: tool.name, effect: tool.effect, iam: tool.iam, ...rest };
      if (UPDATE) {
        mkdirSync(SNAPSHOTS, { recursive: true });
        writeFileSync(file, `${JSON.stringify(actual, undefined, 2)}\n`);
      }
      assert.ok(existsSync(file), `${file} is missing; UPDATE_SNAPSHOTS=1 writes it`);
      const message = "the tool changed; if that is meant, run with UPDATE_SNAPSHOTS=1 and commit the difference";
      assert.deepEqual(JSON.parse(JSON.stringify(actual)), JSON.parse(readFileSync(file, "utf8")), message);
    });
  });
}
