import { type KeyObject, randomBytes } from "node:crypto";
import { GENESIS, rowDigest, rowMac } from "../chain.ts";
import { type Checkpoint, signStatement } from "../checkpoint.ts";

export interface ChainKeys {
  mac: Uint8Array;
  keyId: string;
  signing: KeyObject;
}

/** Where a chain stands after a row. */
export interface ChainState {
  seq: number;
  mac: Uint8Array;
  digest: Uint8Array;
  /** ms since 1970, the latest `stored_at`. */
  storedAt: number;
}

/** Rows that follow a state of their chain, and the state after them. Sending them again sends the same bytes. */
export interface Batch {
  writer: string;
  bodies: readonly Uint8Array[];
  /** MACs of the bodies, in order. */
  macs: readonly Uint8Array[];
  before: ChainState;
  after: ChainState;
}

/** The chain that one process writes: what of it is committed, and what is signed. No database here. */
export class Chain {
  readonly writer = `writer-${randomBytes(8).toString("hex")}`;
  readonly #keys: ChainKeys;
  /** After the last row known to be committed. */
  state: ChainState = { seq: 0, mac: GENESIS, digest: GENESIS, storedAt: 0 };
  /** The last checkpoint known to be committed. */
  signed: Checkpoint | undefined;
  /** Signed and sent, outcome unknown: it is sent again as it is. */
  #unconfirmed: Checkpoint | undefined;

  constructor(keys: ChainKeys) {
    this.#keys = keys;
  }

  /** Chains bodies after the present state, which does not move until `advance`. */
  prepare(bodies: readonly Uint8Array[], now: number): Batch {
    const { writer } = this;
    const before = this.state;
    let { seq, mac, digest } = before;
    const macs: Uint8Array[] = [];
    for (const body of bodies) {
      seq += 1;
      mac = rowMac(this.#keys.mac, { writer, seq, prev: mac, body });
      digest = rowDigest(digest, { writer, seq, mac, body });
      macs.push(mac);
    }
    // A chain's time never goes back: its rows lie in the partitions in their order.
    return { writer, bodies, macs, before, after: { seq, mac, digest, storedAt: Math.max(before.storedAt, now) } };
  }

  advance(batch: Batch): void {
    this.state = batch.after;
  }

  /** The checkpoint to be written next, `undefined` when the head is signed. Stays the same until it is confirmed. */
  nextCheckpoint(): Checkpoint | undefined {
    const { seq, mac, digest } = this.state;
    if (this.#unconfirmed === undefined && seq !== (this.signed?.seq ?? 0)) {
      this.#unconfirmed = signStatement(this.#keys.signing, {
        number: (this.signed?.number ?? 0) + 1,
        writer: this.writer,
        seq,
        mac,
        digest,
        time: new Date().toISOString(),
        key_id: this.#keys.keyId,
        rows: seq,
      });
    }
    return this.#unconfirmed;
  }

  confirm(checkpoint: Checkpoint): void {
    this.signed = checkpoint;
    this.#unconfirmed = undefined;
  }
}
