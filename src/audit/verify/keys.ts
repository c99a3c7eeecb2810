import type { KeyObject } from "node:crypto";

/** What a trail is verified with. */
export interface TrailKeys {
  /** Ed25519. Alone it proves the rows up to the last checkpoint. */
  signingPublic: KeyObject;
  /** The rows' MAC key, 32 bytes; proves each row, up to the end. */
  mac?: Uint8Array | undefined;
  /** The id of the MAC key, where it is known. */
  keyId?: string | undefined;
}
