import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { defineTool } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { logGroups } from "./log-group.ts";
import { lookAt, MaxValueBytes, ResultLimit, Results, resultsReply } from "./query-results.ts";
import { startedQueries } from "./started-queries.ts";

const QueryId = z.string().regex(/^[A-Za-z0-9-]{8,64}$/, "not a query_id of cloudwatch_query_logs");

export const getQueryResults = defineTool({
  name: "cloudwatch_get_query_results",
  title: "Get the results of a log query",
  description:
    "State and rows of a query that cloudwatch_query_logs started in this server within the last hour: when it was still running, or for further rows. Other queries cannot be read.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [{ action: "logs:GetQueryResults", resource: "log-group" }],
  input: z.strictObject({
    query_id: QueryId,
    offset: z.int().min(0).max(100_000).default(0),
    limit: ResultLimit,
    max_value_bytes: MaxValueBytes,
    region,
  }),
  example: { query_id: "12ab3456-12ab-123a-789e-1234567890ab" },
  output: Results,
  // Of an id that is not known nobody can say what it would show.
  subject: ({ query_id, region }, regionOf) => {
    const query = startedQueries.find(query_id);
    return query ? logGroups(query.logGroups, query.region) : logGroups(["*"], regionOf(region));
  },
  async handler(given, context) {
    const query = startedQueries.find(given.query_id);
    if (!query || (given.region !== undefined && given.region !== query.region)) throw unknownQuery(given.query_id);
    const { offset, limit, max_value_bytes: maxValueBytes } = given;
    const answer = await lookAt(given.query_id, query, offset + limit, context).catch((thrown: unknown) => {
      throw thrown instanceof ToolError && thrown.kind === "not_found" ? unknownQuery(given.query_id) : thrown;
    });
    return resultsReply(given.query_id, query, answer, { offset, limit, maxValueBytes }, context.mask);
  },
});

function unknownQuery(id: string): ToolError {
  return new ToolError("not_found", `This server started no query ${id} there within the last hour.`, {
    nextStep:
      "Run the query again with cloudwatch_query_logs: results are only given of queries this server process started; after a restart, or on another replica, they are not known.",
  });
}
