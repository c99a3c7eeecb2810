import assert from "node:assert/strict";
import * as z from "zod";
import { cleanText } from "../../src/core/text.ts";
import { isRead, type Tool } from "../../src/core/tool.ts";
import { stageAll } from "../../src/tools/stage-support.ts";
import { type FieldPath, mapTexts, pathsOf } from "./answer-fields.ts";
import { type AnswerProxy, startAnswerProxy } from "./answer-proxy.ts";
import { costAndUsage } from "./cost-answers.ts";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import { INJECTIONS } from "./injections.ts";
import { startMoto } from "./moto.ts";
import { type RawReply, rawCall } from "./raw-mcp.ts";
import { createKeys } from "./scene.ts";
import { type HttpServerProcess, startHttpServer, temporaryHome } from "./server.ts";

export const STRINGS: readonly string[] = [...INJECTIONS.values()];
const MAX_TOGETHER = 250;
/** Short ones go several at a time, the long ones alone. */
export const PORTIONS: readonly (readonly string[])[] = STRINGS.reduce<string[][]>((portions, text) => {
  const last = portions.at(-1);
  if (last === undefined || [...last, text].join(" ").length > MAX_TOGETHER) portions.push([text]);
  else last.push(text);
  return portions;
}, []);
export const together = (portion: readonly string[] | undefined): string => portion?.join(" ") ?? "";
export const INVISIBLE = /(?![\t\n])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|\p{Default_Ignorable_Code_Point}/u;
const ENV = { MCP_AWS_CALLS_PER_MINUTE: "0", MCP_AWS_BREAKER_FAILURES: "1000" };

/** An account in which everything that tools look at exists, and whose every word a test may replace. */
export interface Untrusted {
  proxy: FaultProxy;
  answers: AnswerProxy;
  home: string;
  keys: Awaited<ReturnType<typeof createKeys>>;
  /** Asks nobody. */
  server: HttpServerProcess;
  /** Asks a person wherever policy wants it. */
  asking: HttpServerProcess;
  /** The plain call of a tool, as a rehearsal where it changes something: everything has to be the same each time. */
  call(tool: Tool): Promise<RawReply>;
  /** The call that a person is asked about. */
  ask(tool: Tool): Promise<RawReply>;
  close(): Promise<void>;
}

export async function openUntrusted(): Promise<Untrusted> {
  const moto = await startMoto();
  const proxy = await startFaultProxy({ target: moto.url });
  const answers = await startAnswerProxy(proxy.url);
  const running: HttpServerProcess[] = [];
  const close = async () => {
    await Promise.all(running.map((server) => server.stop()));
    await answers.close();
    await proxy.close();
    await moto.stop();
  };
  try {
    const home = temporaryHome();
    const keys = await createKeys(home);
    const start = async (args: string[]) => {
      const common = { endpoint: answers.url, home, env: ENV };
      const server = await startHttpServer({ ...common, args: ["--log-level", "debug", ...args] });
      running.push(server);
      return server;
    };
    const server = await start(["--confirm", "never"]);
    const asking = await start([]);
    const stage = await stageAll({
      proxy,
      async call(tool, args) {
        const { content, result } = await rawCall(server.url, { tool, args, key: keys.admin });
        return { content, isError: result.isError === true, text: result.content[0].text };
      },
    });
    // Moto's queue of costs ends.
    const amounts = { "Amazon Elastic Compute Cloud - Compute": "12.5", "AWS Cost Explorer": "0.01" };
    const body = JSON.stringify(costAndUsage([{ start: "2026-01-01", end: "2026-01-02", amounts }]));
    proxy.ruleFirst({ operation: "GetCostAndUsage", fault: { kind: "respond", status: 200, body } });
    const argsOf = ({ name }: Tool) => {
      const args = stage[name]?.calls[0];
      assert.ok(args, name);
      return args;
    };
    return {
      proxy,
      answers,
      home,
      keys,
      server,
      asking,
      call(tool) {
        const more = isRead(tool) ? FRESH[tool.name]?.() : { dry_run: true };
        return rawCall(server.url, { tool: tool.name, args: { ...argsOf(tool), ...more }, key: keys.admin });
      },
      ask(tool) {
        const key = tool.effect === "deploy" ? keys.admin : keys.operator;
        return rawCall(asking.url, { tool: tool.name, args: argsOf(tool), key });
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Answers that cost money are kept: another question each time. */
let asked = 0;
function next(): string {
  asked += 1;
  return `q${asked}`;
}
const FRESH: Readonly<Record<string, () => Record<string, unknown>>> = {
  cost_get_cost_and_usage: () => ({ compare: false, filter: { "tag:q": next() } }),
  cost_get_forecast: () => ({ filter: { "tag:q": next() } }),
  cost_list_dimension_values: () => ({ search: next() }),
};

/** What of a text has to be found again: white space may be joined, long texts cut, quotes in a question escaped. */
function traceOf(text: string): string {
  return cleanText(text, 16_000).replace(/\s+/g, " ").trim().slice(0, 20);
}
export const plain = (text: string) => text.replace(/\s+/g, " ");

/** Every text of a reply with where it stands, and every name that is not one of the schema's: an account's tag. */
export function* textsOf(value: unknown, schema: z.core.JSONSchema.BaseSchema, path = ""): Generator<[string, string]> {
  if (typeof value === "string") yield [path, value];
  if (value === null || typeof value !== "object") return;
  if (Array.isArray(value)) {
    for (const member of value) yield* textsOf(member, variantOf(schema, "items"), `${path}[]`);
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    const declared = propertyOf(schema, key);
    const free = recordOf(schema);
    assert.ok(declared ?? free, `${path}.${key} is a name that the tool does not declare`);
    if (!declared) yield [`${path}.<name>`, key];
    yield* textsOf(member, declared ?? free ?? {}, `${path}.${declared ? key : "*"}`);
  }
}

type JsonSchema = z.core.JSONSchema.BaseSchema;
const variantsOf = (schema: JsonSchema): JsonSchema[] => [
  schema,
  ...[...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])].flatMap((each) =>
    variantsOf(each as JsonSchema),
  ),
];
function variantOf(schema: JsonSchema, key: "items"): JsonSchema {
  return (variantsOf(schema).find((each) => each[key] !== undefined)?.[key] ?? {}) as JsonSchema;
}
function propertyOf(schema: JsonSchema, name: string): JsonSchema | undefined {
  for (const { properties } of variantsOf(schema)) {
    if (properties && Object.hasOwn(properties, name)) return properties[name] as JsonSchema;
  }
  return undefined;
}
function recordOf(schema: JsonSchema): JsonSchema | undefined {
  for (const { additionalProperties } of variantsOf(schema)) {
    if (typeof additionalProperties === "object") return additionalProperties as JsonSchema;
  }
  return undefined;
}

/** A row of the trail: any names, any depth. */
export const ANYTHING: JsonSchema = {};
ANYTHING.additionalProperties = ANYTHING as never;
ANYTHING.items = ANYTHING as never;

const ERROR = z.toJSONSchema(
  z.strictObject({
    error: z.strictObject({
      kind: z.string(),
      message: z.string(),
      retryable: z.boolean(),
      retry_after_s: z.number().optional(),
      next_step: z.string(),
      policies: z.array(z.string()).optional(),
    }),
  }),
);

/** What a reply may be: an object of declared names, its text the same, nothing in it unseen, and no order of ours forged. */
export function assertData(tool: Tool, { result, content }: RawReply, injected: readonly string[]): string[] {
  assert.deepEqual(
    Object.keys(result).sort(),
    ["_meta", "content", "isError", "resultType", "structuredContent"].filter((key) => key in result),
  );
  assert.equal(result.content.length, 1);
  assert.deepEqual(JSON.parse(result.content[0].text), content);
  assert.doesNotMatch(result.content[0].text, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  const schema = content.error ? ERROR : z.toJSONSchema(tool.output, { io: "output" });
  const shown: string[] = [];
  for (const [path, text] of textsOf(content, schema)) {
    assert.doesNotMatch(text, INVISIBLE, `${path}: ${JSON.stringify(text)}`);
    assert.ok(text.isWellFormed(), path);
    if (/\.(next_step|kind)$/.test(path)) {
      for (const each of injected)
        assert.ok(!traceable(each) || !plain(text).includes(traceOf(each)), `${path}: ${text}`);
    }
    shown.push(plain(text));
  }
  return shown;
}

/** A short text may be in an honest sentence by chance. */
const traceable = (text: string) => traceOf(text).length >= 8;

/** The texts of AWS's answers that come through: each is replaced by a mark of its own, and looked for. */
export async function fieldsOf(
  world: Untrusted,
  tool: Tool,
  send: (tool: Tool) => Promise<RawReply>,
): Promise<FieldPath[]> {
  const all = new Set<FieldPath>();
  world.answers.edit = (body) => {
    for (const path of pathsOf(body)) all.add(path);
    return body;
  };
  const untouched = await send(tool);
  assert.ok(untouched.question ?? untouched.result.isError !== true, JSON.stringify(untouched.content));
  const shown: FieldPath[] = [];
  for (const path of all) {
    const mark = `zq${shown.length}markzq`;
    world.answers.edit = (body) => mapTexts(body, (at, text) => (at === path ? mark : text));
    const { result, question } = await send(tool);
    const worked = question !== undefined || result?.isError === false;
    const text = question?.message ?? JSON.stringify(result?.structuredContent);
    if (worked && text.includes(mark)) shown.push(path);
  }
  world.answers.edit = undefined;
  return shown;
}

/** Fields that can all be replaced at once, and the call still succeeds: in as few groups as that takes. */
export async function groupsOf(
  world: Untrusted,
  tool: Tool,
  fields: readonly FieldPath[],
  send: (tool: Tool) => Promise<RawReply>,
): Promise<FieldPath[][]> {
  const works = async (group: readonly FieldPath[]) => {
    world.answers.edit = (body) =>
      mapTexts(body, (at, text) => (group.includes(at) ? `zq${group.indexOf(at)}zq` : text));
    const { result, question } = await send(tool);
    world.answers.edit = undefined;
    const text = question?.message ?? JSON.stringify(result?.structuredContent);
    return (
      (question !== undefined || result?.isError === false) && group.every((_, index) => text.includes(`zq${index}zq`))
    );
  };
  const groups: FieldPath[][] = [];
  if (await works(fields)) return [[...fields]];
  for (const field of fields) {
    let placed = false;
    for (const group of groups) {
      if (!placed && (await works([...group, field]))) {
        group.push(field);
        placed = true;
      }
    }
    if (!placed) groups.push([field]);
  }
  return groups;
}

/** Sends everything through every field; tells how many of the texts came through somewhere. */
export async function inject(
  world: Untrusted,
  groups: readonly FieldPath[][],
  send: () => Promise<RawReply>,
  check: (reply: RawReply, injected: readonly string[]) => string[],
): Promise<Set<string>> {
  const through = new Set<string>();
  for (const group of groups) {
    for (let turn = 0; turn < PORTIONS.length; turn += 1) {
      // Each field gets each text in some turn, and in every turn each another one.
      const given = group.map((_, index) => PORTIONS[(turn + index * 37) % PORTIONS.length] ?? []);
      world.answers.edit = (body) =>
        mapTexts(body, (at, text) => (group.includes(at) ? together(given[group.indexOf(at)]) : text));
      const injected = given.flat();
      const shown = check(await send(), injected);
      for (const text of injected) if (shown.some((each) => each.includes(traceOf(text)))) through.add(text);
    }
  }
  world.answers.edit = undefined;
  return through;
}
