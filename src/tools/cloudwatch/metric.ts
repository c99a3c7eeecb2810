import type { Dimension } from "@aws-sdk/client-cloudwatch";
import * as z from "zod";
import { once } from "../../core/once.ts";
import { cleanText } from "../../core/text.ts";
import { tagsOf } from "../shared/tags.ts";

/** Loaded at the first call and remembered. */
export const sdk = once(() => import("./sdk.ts"));

// As refinements, because a pattern with \p is not one that every client's JSON Schema understands.
export const Namespace = z
  .string()
  .max(255)
  .refine((text) => /^[^:\p{Cc}][^\p{Cc}]*$/u.test(text), "not a namespace such as AWS/EC2");
export const MetricName = z
  .string()
  .max(255)
  .refine((text) => /^[^\p{Cc}]+$/u.test(text), "not a metric name");

const MAX_DIMENSIONS = 30;
const MAX_DIMENSION_NAME = 255;

/** Name → value. As with tag filters, `__proto__` would get lost on the way and widen the answer. */
export const Dimensions = z.preprocess(
  (given, context) => {
    if (typeof given !== "object" || given === null) return given;
    const refuse = (message: string) => {
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    };
    if (Object.hasOwn(given, "__proto__")) return refuse("__proto__ cannot be used as a dimension name");
    const entries = Object.entries(given);
    if (entries.length > MAX_DIMENSIONS) return refuse(`at most ${MAX_DIMENSIONS} dimensions`);
    if (entries.some(([name, value]) => name === "" || name.length > MAX_DIMENSION_NAME || value === ""))
      return refuse("each needs a name, of at most 255 characters, and a value");
    return given;
  },
  z.record(z.string(), z.string().max(1024)),
);

const NUMBER = String.raw`\d{1,12}(\.\d{1,10})?`;
const PERCENT = String.raw`(\d{1,2}(\.\d{1,10})?|100)`;
const EXTENDED = `(p|tm|wm|tc|ts)${PERCENT}|(TM|WM|TC|TS|PR)\\((${NUMBER}%?)?:(${NUMBER}%?)?\\)|IQM`;
const STATISTIC = new RegExp(`^(Average|Sum|Minimum|Maximum|SampleCount|${EXTENDED})$`);

/** Every statistic CloudWatch documents: the five plain ones, percentiles, trimmed and winsorized means, counts, ranks. */
export const Statistic = z
  .string()
  .max(50)
  .refine((text) => STATISTIC.test(text), "not a statistic such as Average, Sum, Maximum, p99.9, tm90 or IQM");

const PLAIN = ["Average", "Sum", "Minimum", "Maximum", "SampleCount"] as const;
export type PlainStatistic = (typeof PLAIN)[number];

export function isPlain(statistic: string): statistic is PlainStatistic {
  return PLAIN.some((plain) => plain === statistic);
}

/** Whether half a period gives about half the value, as it does of a sum. */
export function isAdditive(statistic: string): boolean {
  return /^(Sum|SampleCount|tc|ts|TC|TS)/.test(statistic);
}

export function isStatistic(value: unknown): value is string {
  return typeof value === "string" && STATISTIC.test(value);
}

export function toDimensions(given: Readonly<Record<string, string>> | undefined): Dimension[] {
  return Object.entries(given ?? {}).map(([Name, Value]) => ({ Name, Value }));
}

export function dimensionsOf(dimensions: readonly Dimension[] | undefined): Record<string, string> {
  return tagsOf((dimensions ?? []).map(({ Name, Value }) => ({ Key: Name, Value })));
}

/** `AWS/EC2 CPUUtilization InstanceId=i-1`; the parts that are there. */
export function metricText(
  namespace: string | undefined,
  name: string | undefined,
  dimensions: readonly Dimension[] | undefined,
): string {
  const pairs = (dimensions ?? []).map(({ Name = "", Value = "" }) => `${Name}=${Value}`);
  return cleanText([namespace, name, ...pairs].filter((part) => part).join(" "), 1024);
}
