import type { KeyObject } from "node:crypto";
import { type Checkpoint, checkpointIsAuthentic } from "../checkpoint.ts";
import type { AnchorReader } from "../sink/copies.ts";
import type { Findings } from "./findings.ts";

/** A signed head of a chain that is kept outside its database; the signature was checked. */
export interface Mark {
  number: number;
  seq: number;
  mac: Uint8Array;
  digest: Uint8Array;
  /** For messages. */
  where: string;
}

/** What the trail must be able to show, because somebody outside the database remembers it. */
export class Marks {
  readonly #byWriter = new Map<string, Mark[]>();
  #checked = 0;

  /** How many anchors were read and had a valid signature. */
  get checked(): number {
    return this.#checked;
  }

  add(checkpoint: Checkpoint, where: string): void {
    const { writer, number, seq, mac, digest } = checkpoint;
    const marks = this.#byWriter.get(writer) ?? [];
    marks.push({ number, seq, mac, digest, where });
    this.#byWriter.set(writer, marks);
  }

  writers(): string[] {
    return [...this.#byWriter.keys()];
  }

  /** Those of a chain by ascending row; the same statement in several places counts once. */
  of(writer: string): Mark[] {
    const sorted = (this.#byWriter.get(writer) ?? []).sort((a, b) => a.seq - b.seq || a.number - b.number);
    return sorted.filter((mark, i) => {
      const before = sorted[i - 1];
      return before === undefined || before.number !== mark.number || !same(before, mark);
    });
  }

  /**
   * Reads all anchors of a place. One that is not signed with this key is a finding, unless `foreign` says that its
   * chain is another trail's. A place that cannot be read is a warning.
   */
  async read(
    reader: AnchorReader,
    options: { key: KeyObject; writer: string | undefined; foreign: (writer: string) => boolean; findings: Findings },
  ): Promise<void> {
    const { key, writer, foreign, findings } = options;
    try {
      for await (const { where, checkpoint } of reader.anchors(writer)) {
        if (checkpoint === "unreadable") {
          findings.report("bad_anchor", writer ?? "", 0, `${where} holds something that is no anchor`);
        } else if (writer !== undefined && checkpoint.writer !== writer) {
          // The place may not know how to look for one chain only.
        } else if (checkpointIsAuthentic(key, checkpoint)) {
          this.#checked += 1;
          this.add(checkpoint, where);
        } else if (!foreign(checkpoint.writer)) {
          findings.report("bad_anchor", checkpoint.writer, checkpoint.seq, `the signature of ${where} does not fit`);
        }
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      findings.warn("anchors_unreadable", "", [0, 0], `${reader.name} could not be read: ${reason}`);
    }
  }
}

function same(a: Mark, b: Mark): boolean {
  return a.seq === b.seq && Buffer.compare(a.mac, b.mac) === 0 && Buffer.compare(a.digest, b.digest) === 0;
}
