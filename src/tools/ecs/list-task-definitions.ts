import type { TaskDefinition } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { type Found, listRegions, listReply, type Report, type ServicePage } from "../shared/listing.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { cursor, limit, listOutput } from "../shared/schemas.ts";
import { cut, imageOf } from "./container-view.ts";
import { sdk } from "./service.ts";
import { Family, findDefinition, nameOfDefinition, resourcesOf, shortName } from "./task-definition.ts";

/** The most ECS gives in one page. */
const PAGE_SIZE = 100;
/** Details cost a request a row, so long pages go without; that many are fetched at once. */
const MAX_DETAILED = 50;
const AT_ONCE = 10;
/** Of a row as JSON, for its name and images together. */
const MAX_ROW_TEXT = 250;

const input = z
  .strictObject({
    family: Family.optional().describe("List its revisions"),
    family_prefix: Family.optional(),
    status: z.enum(["ACTIVE", "INACTIVE"]).default("ACTIVE"),
    ...regionFields,
    limit,
    cursor,
  })
  .refine((given) => given.family === undefined || given.family_prefix === undefined, {
    path: ["family_prefix"],
    message: "family and family_prefix exclude each other",
  });
type Input = z.output<typeof input>;

const Item = z.object({
  task_definition: z.string(),
  region: z.string(),
  images: z.array(z.string()).optional(),
  images_omitted: z.int().optional(),
  resources: z.string().optional(),
  registered: z.string().optional(),
});
type Item = z.input<typeof Item>;

export const listTaskDefinitions = defineTool({
  name: "ecs_list_task_definitions",
  title: "List task definitions",
  description:
    "Task definition families with their latest ACTIVE revision, or one family's revisions, newest first. Rows have images, CPU, memory and date if limit is 50 or less. ecs_describe_task_definition shows one, and what changed.",
  service: "ecs",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "ecs:ListTaskDefinitionFamilies" },
    { action: "ecs:ListTaskDefinitions" },
    { action: "ecs:DescribeTaskDefinition" },
  ],
  input,
  output: listOutput(z.object({ matched: z.int(), listed: z.string(), counts_complete: z.boolean() }), Item),
  example: { family: "web", limit: 5 },
  subject: everyOne("ecs:task-definition"),
  async handler(given, context) {
    const regions = regionsOf(given, context.aws.regionOf);
    const listing = await listRegions<string, Item>({
      question: questionHash("ecs_list_task_definitions", { ...given, regions }),
      regions,
      limit: given.limit,
      cursor: given.cursor,
      countBy: () => "matched",
      fetchPage: (region, token) => pageOf(given, region, token, context),
      rows: (found, report) => rowsOf(given, found, report, context),
    });
    const { total, complete } = listing.counts;
    const what = given.family === undefined ? "families" : "revisions";
    return listReply({ matched: total, listed: `${given.status} ${what}`, counts_complete: complete }, listing);
  },
});

/** Names of families, or of the revisions of one. */
async function pageOf(
  { family, family_prefix, status }: Input,
  region: string,
  token: string | undefined,
  { aws }: ReadContext,
): Promise<ServicePage<string>> {
  const { ECSClient, ListTaskDefinitionFamiliesCommand, ListTaskDefinitionsCommand } = await sdk();
  const client = aws.client(ECSClient, region);
  const page = { maxResults: PAGE_SIZE, status, ...(token && { nextToken: token }) };
  if (family === undefined) {
    const command = new ListTaskDefinitionFamiliesCommand({ ...page, familyPrefix: family_prefix });
    const answer = await client.send(command);
    return { items: answer.families ?? [], nextToken: answer.nextToken || undefined };
  }
  const command = new ListTaskDefinitionsCommand({ ...page, familyPrefix: family, sort: "DESC" });
  const answer = await client.send(command);
  return { items: (answer.taskDefinitionArns ?? []).map(shortName), nextToken: answer.nextToken || undefined };
}

/** Looks up what each row is. One that has gone meanwhile is left out; where AWS will not say, the name remains. */
async function rowsOf(
  given: Input,
  found: readonly Found<string>[],
  report: Report,
  context: ReadContext,
): Promise<(Item | undefined)[]> {
  const bare = ({ item, region }: Found<string>): Item => ({ task_definition: item, region });
  // A family without ACTIVE revisions has no latest one to look at.
  const nothingToSee = given.family === undefined && given.status === "INACTIVE";
  if (given.limit > MAX_DETAILED || nothingToSee) return found.map(bare);
  const failed = new Set<string>();
  const detailed = async (row: Found<string>): Promise<Item | undefined> => {
    if (failed.has(row.region)) return bare(row);
    try {
      const place = { id: row.item, region: row.region, account: undefined };
      return itemOf((await findDefinition(place, context)).definition, row.region);
    } catch (error) {
      if (error instanceof ToolError && error.kind === "not_found") return undefined;
      // Once a region: the next rows would fail alike.
      if (!failed.has(row.region)) report(row.region, error);
      failed.add(row.region);
      return bare(row);
    }
  };
  const rows: (Item | undefined)[] = [];
  for (let at = 0; at < found.length; at += AT_ONCE) {
    rows.push(...(await Promise.all(found.slice(at, at + AT_ONCE).map(detailed))));
  }
  return rows;
}

function itemOf(definition: TaskDefinition, region: string): Item {
  const name = nameOfDefinition(definition);
  const images = [...new Set((definition.containerDefinitions ?? []).map(({ image }) => shortImage(image)))];
  let room = MAX_ROW_TEXT - name.length;
  const shown = images.filter((image) => {
    room -= image.length + 3;
    return room >= 0;
  });
  const resources = resourcesOf(definition);
  return {
    task_definition: name,
    region,
    ...(shown.length > 0 && { images: shown }),
    ...(images.length > shown.length && { images_omitted: images.length - shown.length }),
    ...(resources && { resources }),
    ...(definition.registeredAt && { registered: definition.registeredAt.toISOString() }),
  };
}

/** The end of a long one says which version it is, the beginning where it is from. */
function shortImage(image: string | undefined): string {
  const text = cut(imageOf(image), 1_024);
  return text.length > 128 ? `${text.slice(0, 40)}…${text.slice(-87)}` : text;
}
