import type { DBInstance } from "@aws-sdk/client-rds";
import { ToolError } from "../../core/errors.ts";
import type { TimeRange } from "../shared/time.ts";
import { engineOf } from "./db-instance.ts";

// What Performance Insights can and cannot do for an instance. Source: "DB engine, Region, and instance class support for
// Database Insights" and "Pricing and data retention for Database Insights" of the RDS and Aurora user guides.

const DAY_MS = 86_400_000;
/** What AWS keeps without charge. */
const FREE_DAYS = 7;
/** The longest it keeps anything. */
export const MAX_RANGE_MS = 731 * DAY_MS;
/** "7d" is a moment more than 7 days ago by the time it is looked at. */
const TOLERANCE_MS = 60_000;

const SMALL = /^db\.(t2|t3|t4g)\.(micro|small)$/;
const BURSTABLE = /^db\.(t2|t3)\./;

/** Why there can be no Performance Insights for it, as a sentence; undefined where there can. */
export function unsupported({ Engine = "", DBInstanceClass = "" }: DBInstance): string | undefined {
  if (/^(db2|neptune|docdb)/.test(Engine)) return `Performance Insights of RDS does not support the engine ${Engine}.`;
  const tooSmall =
    (/^(mysql|mariadb|aurora-mysql)$/.test(Engine) && SMALL.test(DBInstanceClass)) ||
    (Engine === "aurora-mysql" && BURSTABLE.test(DBInstanceClass));
  return tooSmall
    ? `Performance Insights does not support ${Engine} on ${DBInstanceClass}; a larger class would be needed.`
    : undefined;
}

/** How a person would turn it on, and what that costs. */
export function howToEnable(instance: DBInstance): string {
  const { DBClusterIdentifier: cluster, DBInstanceIdentifier: id } = instance;
  const target = cluster
    ? `modify-db-cluster --db-cluster-identifier ${cluster}`
    : `modify-db-instance --db-instance-identifier ${id}`;
  return `Performance Insights is off for ${id} (${engineOf(instance)}). Turning it on needs no restart: aws rds ${target} --enable-performance-insights --performance-insights-retention-period ${FREE_DAYS} --apply-immediately. Keeping ${FREE_DAYS} days is free; keeping 1 to 24 months is billed per vCPU and month. Nothing from before it is turned on can be seen.`;
}

export function retentionDays({ PerformanceInsightsRetentionPeriod: days }: DBInstance): number {
  return days !== undefined && days > 0 ? days : FREE_DAYS;
}

/**
 * The range as far as it is kept.
 * @throws ToolError `invalid_input` when it starts before what is kept
 */
export function withinRetention(range: TimeRange, instance: DBInstance, now: number): TimeRange {
  const days = retentionDays(instance);
  const oldest = now - days * DAY_MS;
  if (range.from < oldest - TOLERANCE_MS) {
    const more = days <= FREE_DAYS ? " A longer retention (1 to 24 months) is billed per vCPU and month." : "";
    throw new ToolError(
      "invalid_input",
      `start: Performance Insights keeps ${days} days of ${instance.DBInstanceIdentifier}.`,
      { nextStep: `Ask for a start within the last ${days} days.${more}` },
    );
  }
  return { from: Math.max(range.from, oldest), to: range.to };
}

/** A period Performance Insights takes that gives at most some 170 points, in seconds. */
export function insightsPeriodS({ from, to }: TimeRange): number {
  const hours = (to - from) / 3_600_000;
  if (hours <= 2) return 60;
  if (hours <= 12) return 300;
  return hours <= 7 * 24 + 1 ? 3_600 : 86_400;
}
