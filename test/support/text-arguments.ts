import * as z from "zod";

type JsonSchema = z.core.JSONSchema.BaseSchema;
/** Puts a text where the schema takes one, into a copy of good arguments. */
export interface TextArgument {
  /** `containers[].image`; a name that the caller chooses is `filter.<name>`. */
  path: string;
  put(args: Record<string, unknown>, text: string): Record<string, unknown>;
}

/** What a caller may name: every property of a schema at any depth, with what the schema says of it. */
export interface Property {
  path: string;
  name: string;
  schema: JsonSchema;
}

const schemaOf = (input: z.ZodObject): JsonSchema => z.toJSONSchema(input, { io: "input" });
const variants = (schema: JsonSchema): JsonSchema[] => [
  schema,
  ...[schema.anyOf, schema.oneOf, schema.allOf].flatMap((each) => (each ?? []) as JsonSchema[]).flatMap(variants),
];

export function* propertiesOf(input: z.ZodObject): Generator<Property> {
  yield* walk(schemaOf(input), "");
}

function* walk(schema: JsonSchema, path: string): Generator<Property> {
  for (const { properties = {}, items, additionalProperties } of variants(schema)) {
    for (const [name, member] of Object.entries(properties)) {
      const at = path === "" ? name : `${path}.${name}`;
      yield { path: at, name, schema: member as JsonSchema };
      yield* walk(member as JsonSchema, at);
    }
    if (items !== undefined) yield* walk(items as JsonSchema, `${path}[]`);
    if (typeof additionalProperties === "object") yield* walk(additionalProperties as JsonSchema, `${path}.<name>`);
  }
}

/** Every place for a text, free names included. */
export function textArguments(input: z.ZodObject): TextArgument[] {
  const found = [...places(schemaOf(input), [])];
  const byPath = new Map(found.map((steps) => [steps.map(stepName).join("").replace(/^\./, ""), steps]));
  return [...byPath].map(([path, steps]) => ({
    path,
    put: (args, text) => set(structuredClone(args), steps, text) as Record<string, unknown>,
  }));
}

type Step = { key: string } | "item" | "value" | "name";
const stepName = (step: Step): string =>
  typeof step === "object" ? `.${step.key}` : { item: "[]", value: ".<value>", name: ".<name>" }[step];

function* places(schema: JsonSchema, steps: readonly Step[]): Generator<readonly Step[]> {
  for (const { type, properties = {}, items, additionalProperties, enum: choices } of variants(schema)) {
    if (type === "string" && choices === undefined) yield steps;
    for (const [key, member] of Object.entries(properties)) yield* places(member as JsonSchema, [...steps, { key }]);
    if (items !== undefined) yield* places(items as JsonSchema, [...steps, "item"]);
    if (typeof additionalProperties === "object") {
      yield [...steps, "name"];
      yield* places(additionalProperties as JsonSchema, [...steps, "value"]);
    }
  }
}

function set(into: unknown, [step, ...rest]: readonly Step[], text: string): unknown {
  if (step === undefined) return text;
  const object =
    typeof into === "object" && into !== null && !Array.isArray(into) ? (into as Record<string, unknown>) : {};
  if (step === "item") return [set(Array.isArray(into) ? into[0] : undefined, rest, text)];
  if (step === "name") return { ...object, [text]: Object.values(object)[0] ?? "x" };
  const key = step === "value" ? (Object.keys(object)[0] ?? "k") : step.key;
  return { ...object, [key]: set(object[key], rest, text) };
}
