import type { AuditEvent, OpenIntent, OpenIntents } from "../core/audit.ts";
import type { ConfirmedVia } from "../core/call.ts";
import type { Effect } from "../core/tool.ts";
import { parseBody } from "./record.ts";
import type { AuditState } from "./state.ts";
import type { AuditReader, StoredRow } from "./store/store.ts";

const LEASE = "reconcile";

/** Finds open intents with a reader of its own for each look; there is nothing to hold between two rounds. */
export function openIntentsOf(parts: {
  openReader: () => Promise<AuditReader> | AuditReader;
  state: Pick<AuditState, "lease" | "release">;
}): OpenIntents {
  return {
    async find(since) {
      const reader = await parts.openReader();
      try {
        return (await reader.openIntents(since)).map(toOpenIntent);
      } finally {
        await reader.close();
      }
    },
    lease: (ttlMs) => parts.state.lease(LEASE, ttlMs),
    release: () => parts.state.release(LEASE),
  };
}

function toOpenIntent(row: StoredRow): OpenIntent {
  const fields = parseBody(row.body) ?? {};
  const text = (name: string): string | undefined => {
    const value = fields[name];
    return typeof value === "string" ? value : undefined;
  };
  const texts = (name: string): string[] => {
    const value = fields[name];
    return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
  };
  const event: AuditEvent = {
    event: "intent",
    // The column is what an outcome is looked up by.
    call_id: row.call_id ?? "",
    timestamp: row.timestamp ?? "",
    user: text("user") ?? "",
    roles: texts("roles"),
    authenticated_via: text("authenticated_via") ?? "",
    agent: text("agent"),
    transport: text("transport") ?? "",
    operation: text("operation") ?? "",
    // As recorded: it is written again, and decides nothing.
    effect: text("effect") as Effect | undefined,
    resource_type: text("resource_type"),
    resource_id: text("resource_id"),
    region: text("region"),
    account: text("account"),
    arguments: fields.arguments,
    policies: texts("policies"),
    confirm_mode: text("confirm_mode"),
    confirmed_via: text("confirmed_via") as ConfirmedVia | undefined,
    asked_in: text("asked_in"),
    result: "pending",
    trace_id: text("trace_id"),
  };
  return { event, instance: text("instance") };
}
