import { createRequestStateCodec } from "@modelcontextprotocol/server";
import * as z from "zod";
import { CONFIRMATION_TTL_MS, type Pending } from "../call/confirmation.ts";

/** What a pending confirmation sends through the client: signed, readable, and good for ten minutes. */
export interface PendingState {
  seal(pending: Pending): Promise<string>;
  /** `undefined` when it is not, byte for byte, what somebody with this key sealed within the last ten minutes. */
  open(state: unknown): Promise<Pending | undefined>;
}

const text = z.string().max(4_096);
/** A replica of another version may sign other fields: that is a question to ask again, not a defect. */
const Shape: z.ZodType<Pending> = z.strictObject({
  nonce: text.min(1),
  call_id: text,
  user: text,
  via: text,
  tool: text,
  arguments: text,
  resource: text,
});

const SEALED = /^v1\.[\w-]+\.([\w-]{43})$/;

/** @param key at least 32 bytes */
export function pendingState(key: Uint8Array): PendingState {
  const codec = createRequestStateCodec<Pending>({ key, ttlSeconds: CONFIRMATION_TTL_MS / 1000 });
  return {
    seal: (pending) => codec.mint(pending),
    async open(state) {
      if (typeof state !== "string") return undefined;
      const [, mac] = SEALED.exec(state) ?? [];
      // The codec reads base64 as generously as atob, which takes several spellings of the same bytes.
      if (mac === undefined || Buffer.from(mac, "base64url").toString("base64url") !== mac) return undefined;
      try {
        // Its context is for codecs that bind to one; what this state is bound to is inside it.
        const opened = Shape.safeParse(await codec.verify(state, undefined as never));
        return opened.success ? opened.data : undefined;
      } catch {
        return undefined;
      }
    },
  };
}
