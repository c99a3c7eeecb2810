import * as z from "zod";
import type { ResourceRef } from "../../core/call.ts";
import { once } from "../../core/once.ts";
import type { ReadContext, RegionOf } from "../../core/tool.ts";
import { type Cached, type Loaded, SharedCache } from "../shared/cache.ts";

/** Loaded at the first call and remembered: `import()` alone would look the module up anew each time. */
export const sdk = once(() => import("./sdk.ts"));

/**
 * Where Cost Explorer answers for all regions: one place in each partition. A server without a region of its own can
 * still ask what things cost.
 */
export function costRegion(regionOf: RegionOf): string {
  try {
    return regionOf(undefined).startsWith("cn-") ? "cn-northwest-1" : "us-east-1";
  } catch {
    return "us-east-1";
  }
}

/** The subject of every cost tool: what the account, or its organization, spends. */
export function costSubject(_given: unknown, regionOf: RegionOf): ResourceRef {
  return { type: "ce:account", id: "*", region: costRegion(regionOf) };
}

export const Metric = z
  .enum(["unblended", "amortized", "net_unblended", "net_amortized", "blended"])
  .default("unblended");

/** `UnblendedCost` of GetCostAndUsage. */
export function usageMetric(metric: z.output<typeof Metric>): string {
  const words = metric.split("_").map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  return `${words.join("")}Cost`;
}

const HOUR_MS = 3_600_000;
/** AWS brings the numbers up to date some three times a day; those of today and of an open month change. */
export const TTL_MS = { settled: 6 * HOUR_MS, changing: HOUR_MS };

/** An answer of Cost Explorer, and how many requests it took: each costs 0.01 USD. */
export interface Paid<V> {
  answer: V;
  requests: number;
}

const cache = new SharedCache<Paid<unknown>>({ maxEntries: 300 });

/**
 * An answer that is paid for once, and then given to everybody who asks the same of the same account. `question` is the
 * exact request.
 */
export async function paidOnce<V>(
  question: object,
  { account, signal }: Pick<ReadContext, "account" | "signal">,
  load: () => Promise<Loaded<Paid<V>>>,
): Promise<Cached<Paid<V>>> {
  // What is not known to be one account's could be given to another's.
  if (account === "unknown") return { ...(await load()), source: "loaded", ageMs: 0 };
  const cached = await cache.get(JSON.stringify([account, question]), signal, load);
  return cached as Cached<Paid<V>>;
}

/** What a reply says of its price: requests sent for this very answer, and since when it is known if there were none. */
export function priceOf(answers: readonly Cached<Paid<unknown>>[]): { paid_requests: number; cached_at?: string } {
  const paid = answers.filter(({ source }) => source === "loaded").map(({ value }) => value.requests);
  const age = Math.max(...answers.map(({ ageMs }) => ageMs));
  return {
    paid_requests: paid.reduce((total, requests) => total + requests, 0),
    ...(answers.some(({ source }) => source === "kept") && { cached_at: new Date(Date.now() - age).toISOString() }),
  };
}
