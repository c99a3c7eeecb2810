import type { GetCostAndUsageRequest, GetCostAndUsageResponse, ResultByTime } from "@aws-sdk/client-cost-explorer";
import type { ReadContext } from "../../core/tool.ts";
import type { Cached } from "../shared/cache.ts";
import { type CostFilter, expressionOf, groupDefinition } from "./dimensions.ts";
import { costRegion, type Paid, paidOnce, sdk, TTL_MS } from "./explorer.ts";
import { abs, type Money, parseMoney } from "./money.ts";
import { interval, type Period, today } from "./period.ts";

export interface CostQuestion {
  period: Period;
  /** Compared with, where there is one. */
  before: Period | undefined;
  granularity: "daily" | "monthly";
  /** As GetCostAndUsage spells it. */
  metric: string;
  groupBy: readonly string[];
  filter: CostFilter | undefined;
}

export interface Group {
  keys: readonly string[];
  now: Money;
  before: Money;
}

/** What a question's answers come to. */
export interface Totals {
  now: Money;
  before: Money;
  byDate: ReadonlyMap<string, Money>;
  /** The largest first, by what they cost or were credited now; groups without any cost are left out. */
  groups: readonly Group[];
  /** Those that are too many to keep. */
  rest: { count: number; now: Money; before: Money };
  /** Of accounts, by id. */
  names: ReadonlyMap<string, string>;
  currency: string;
  estimated: boolean;
  /** False when AWS had more pages than are paid for. */
  complete: boolean;
}

/** Each page is a paid request. */
export const MAX_PAGES = 10;
/** More than a reply may show. */
const MAX_GROUPS = 200;

/** The costs of a period, and of the one before, in as few paid requests as can be. */
export function totalsOf(question: CostQuestion, context: ReadContext): Promise<Cached<Paid<Totals>>> {
  // As it is sent: filters in another order are the same question.
  const exact = { ...question, filter: expressionOf(question.filter) };
  return paidOnce({ costs: exact }, context, async () => {
    const collected = new Collected(question);
    let requests = 0;
    for (const request of requestsFor(question)) requests += await fetchAll(request, collected, context);
    const answer = collected.totals();
    const changing = answer.estimated || question.period.end >= today();
    return { value: { answer, requests }, ttlMs: changing ? TTL_MS.changing : TTL_MS.settled };
  });
}

/**
 * One request over both periods, split afterwards, where no month of the answer would lie on both sides of the border;
 * else one for each.
 */
function requestsFor({ period, before, granularity, metric, groupBy, filter }: CostQuestion): GetCostAndUsageRequest[] {
  const Filter = expressionOf(filter);
  const request = (over: Period): GetCostAndUsageRequest => ({
    TimePeriod: interval(over),
    Granularity: granularity === "daily" ? "DAILY" : "MONTHLY",
    Metrics: [metric],
    ...(groupBy.length > 0 && { GroupBy: groupBy.map(groupDefinition) }),
    ...(Filter && { Filter }),
  });
  if (!before) return [request(period)];
  const divisible = granularity === "daily" || period.start.endsWith("-01");
  return divisible ? [request({ start: before.start, end: period.end })] : [request(before), request(period)];
}

/** @returns how many requests were sent */
async function fetchAll(request: GetCostAndUsageRequest, into: Collected, { aws }: ReadContext): Promise<number> {
  const { CostExplorerClient, GetCostAndUsageCommand } = await sdk();
  const client = aws.client(CostExplorerClient, costRegion(aws.regionOf));
  let token: string | undefined;
  for (let pages = 1; ; pages += 1) {
    const command = new GetCostAndUsageCommand({ ...request, ...(token && { NextPageToken: token }) });
    const answer = await client.send(command);
    into.add(answer);
    if (!answer.NextPageToken || answer.NextPageToken === token) return pages;
    token = answer.NextPageToken;
    if (pages === MAX_PAGES) {
      into.complete = false;
      return pages;
    }
  }
}

class Collected {
  complete = true;
  readonly #question: CostQuestion;
  readonly #groups = new Map<string, { keys: string[]; now: Money; before: Money }>();
  readonly #byDate = new Map<string, Money>();
  readonly #names = new Map<string, string>();
  readonly #currencies = new Set<string>();
  #now: Money = 0n;
  #before: Money = 0n;
  #estimated = false;

  constructor(question: CostQuestion) {
    this.#question = question;
  }

  add(answer: GetCostAndUsageResponse): void {
    for (const result of answer.ResultsByTime ?? []) this.#addResult(result);
    for (const { Value, Attributes } of answer.DimensionValueAttributes ?? []) {
      if (Value && Attributes?.description) this.#names.set(Value, Attributes.description);
    }
  }

  #addResult({ TimePeriod, Total, Groups, Estimated }: ResultByTime): void {
    const { period, before, metric, groupBy } = this.#question;
    const start = TimePeriod?.Start?.slice(0, 10) ?? period.start;
    const earlier = before !== undefined && start < period.start;
    if (Estimated && !earlier) this.#estimated = true;
    const parts = groupBy.length > 0 ? (Groups ?? []) : [{ Keys: [], Metrics: Total }];
    for (const { Keys = [], Metrics } of parts) {
      const { Amount, Unit } = Metrics?.[metric] ?? {};
      const amount = parseMoney(Amount);
      if (Unit) this.#currencies.add(Unit);
      const id = JSON.stringify(Keys);
      const group = this.#groups.get(id) ?? { keys: Keys, now: 0n, before: 0n };
      this.#groups.set(id, group);
      if (earlier) {
        group.before += amount;
        this.#before += amount;
      } else {
        group.now += amount;
        this.#now += amount;
        this.#byDate.set(start, (this.#byDate.get(start) ?? 0n) + amount);
      }
    }
  }

  totals(): Totals {
    const groups = [...this.#groups.values()]
      .filter(({ keys, now, before }) => keys.length > 0 && (now !== 0n || before !== 0n))
      .sort((one, other) => compare(abs(other.now), abs(one.now)) || compare(abs(other.before), abs(one.before)));
    const rest = groups.slice(MAX_GROUPS);
    return {
      now: this.#now,
      before: this.#before,
      byDate: this.#byDate,
      groups: groups.slice(0, MAX_GROUPS),
      rest: {
        count: rest.length,
        now: rest.reduce((total, { now }) => total + now, 0n),
        before: rest.reduce((total, { before }) => total + before, 0n),
      },
      names: this.#names,
      currency: [...this.#currencies].join(",") || "USD",
      estimated: this.#estimated,
      complete: this.complete,
    };
  }
}

function compare(one: bigint, other: bigint): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
