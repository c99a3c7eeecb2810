import * as z from "zod";
import type { ResourceRef } from "../../core/call.ts";
import type { RegionOf } from "../../core/tool.ts";
import { Region } from "./schemas.ts";

/** The arguments of tools that look at several regions. */
export const regionFields = {
  region: Region.optional(),
  regions: z.array(Region).min(1).max(20).optional().describe("Several regions at once; default: the server's region"),
};

interface Given {
  region?: string | undefined;
  regions?: string[] | undefined;
}

/** Every region named, once; the server's when none is. */
export function regionsOf(given: Given, regionOf: RegionOf): string[] {
  const named = [...(given.region ? [given.region] : []), ...(given.regions ?? [])];
  return named.length > 0 ? [...new Set(named)] : [regionOf(undefined)];
}

/** The subject of a tool that lists things of this IAM-style type: all of them, region by region. */
export function everyOne(type: string): (given: Given, regionOf: RegionOf) => ResourceRef[] {
  return (given, regionOf) => regionsOf(given, regionOf).map((region) => ({ type, id: "*", region }));
}
