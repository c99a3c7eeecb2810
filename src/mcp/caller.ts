import type { ServerContext } from "@modelcontextprotocol/server";
import type { Identified } from "../access/credentials.ts";

/** Who a request is from, and whether they would still get in. */
export type Caller = Pick<Identified, "principal" | "valid">;

/** How the protocol's handlers learn who a request is from. */
export function authInfoOf({ principal, valid }: Caller) {
  const caller: Caller = { principal, valid };
  return { token: "", clientId: principal.id, scopes: [], extra: { caller } };
}

/** Undefined over stdio, where nothing but the process says who it is. */
export function callerOf(info: NonNullable<ServerContext["http"]>["authInfo"]): Caller | undefined {
  return info?.extra?.caller as Caller | undefined;
}
