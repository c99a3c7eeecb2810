import { decodeAnchor, encodeAnchor, type KmsPublicKey } from "../anchor-text.ts";
import type { Anchored, AnchorReader, AnchorWriter, TrailCopy } from "./copies.ts";
import { ANCHOR_STREAMS, decodeRow, isPlainName, ROW_STREAMS } from "./events.ts";
import type { LogService } from "./log-service.ts";
import { putEvents } from "./put-events.ts";

/**
 * The rows that arrived in a log group. A row is readable there some seconds after it was confirmed.
 * @param retentionDays how long the group keeps events; `undefined`: for ever
 */
export function logCopy(service: LogService, retentionDays: number | undefined): TrailCopy {
  return {
    name: service.name,
    retentionDays,
    async chains() {
      const names: string[] = [];
      for await (const stream of service.streams(ROW_STREAMS)) names.push(stream.slice(ROW_STREAMS.length));
      return names;
    },
    async *rows(writer) {
      for await (const page of service.messages(ROW_STREAMS + writer))
        for (const message of page) yield decodeRow(message);
    },
  };
}

/** In place of a copy that cannot be asked for: every question fails with the reason. */
export function unreadableCopy(name: string, reason: unknown): TrailCopy {
  const fail = () => Promise.reject(reason);
  return { name, chains: fail, rows: () => ({ [Symbol.asyncIterator]: () => ({ next: fail }) }) };
}

/** Puts anchors into the log group, in a stream a chain. */
export function logAnchorWriter(service: LogService, createGroup = false): AnchorWriter {
  return {
    name: service.name,
    async anchor(checkpoint, kms) {
      // A checkpoint is stamped when it arrives: its own time is signed inside.
      const events = [{ timestamp: service.now(), message: encodeAnchor(checkpoint, kms) }];
      await putEvents(service, streamOf(checkpoint.writer), events, { createGroup, onRejected: () => undefined });
    },
  };
}

/** Reads anchors back; second signatures are verified when `publicKey` is given. */
export function logAnchorReader(service: LogService, publicKey?: KmsPublicKey): AnchorReader {
  async function* read(stream: string): AsyncGenerator<Anchored, void> {
    const where = `${service.name}, stream ${stream}`;
    for await (const page of service.messages(stream))
      for (const message of page) yield decodeAnchor(where, message, publicKey);
  }
  return {
    name: service.name,
    async *anchors(writer) {
      if (writer !== undefined) yield* read(ANCHOR_STREAMS + writer);
      else for await (const stream of service.streams(ANCHOR_STREAMS)) yield* read(stream);
    },
  };
}

function streamOf(writer: string): string {
  if (!isPlainName(writer)) throw new Error("the name of this chain cannot be part of a stream's");
  return ANCHOR_STREAMS + writer;
}
