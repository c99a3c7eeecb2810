import type { MessagePort } from "node:worker_threads";
import type { AnchorReader, TrailCopy } from "../sink/copies.ts";

// The clients of AWS live in the main thread and the verification in a worker: it asks for what lies elsewhere in
// batches, one at a time, so that neither side holds more than a batch.

/** What the main thread lends. */
export interface Places {
  anchors: readonly AnchorReader[];
  copy: TrailCopy | undefined;
}

/** The same, as far as it can be copied to another thread. */
export interface PlaceNames {
  anchors: readonly string[];
  copy: { name: string; retentionDays: number | undefined } | undefined;
}

type Asked =
  | { kind: "anchors"; place: number; writer?: string | undefined }
  | { kind: "chains" }
  | { kind: "rows"; writer: string };
type Request = { type: "next"; id: number; asked: Asked } | { type: "end"; id: number };
type Answer = { id: number; items: unknown[]; done: boolean } | { id: number; error: string };

const BATCH = 250;

export function namesOf({ anchors, copy }: Places): PlaceNames {
  return {
    anchors: anchors.map(({ name }) => name),
    copy: copy && { name: copy.name, retentionDays: copy.retentionDays },
  };
}

/** Answers a worker's requests until the port is closed. */
export function lendPlaces(port: MessagePort, places: Places): void {
  const open = new Map<number, AsyncIterator<unknown>>();
  port.on("message", (request: Request) => {
    const { id } = request;
    if (request.type === "end") {
      void open.get(id)?.return?.();
      open.delete(id);
      return;
    }
    const items = open.get(id) ?? start(places, request.asked);
    open.set(id, items);
    take(items).then(
      ({ batch, done }) => port.postMessage({ id, items: batch, done } satisfies Answer),
      (error: unknown) => port.postMessage({ id, error: error instanceof Error ? error.message : String(error) }),
    );
  });
  port.once("close", () => {
    for (const items of open.values()) void items.return?.();
  });
}

async function take(items: AsyncIterator<unknown>): Promise<{ batch: unknown[]; done: boolean }> {
  const batch: unknown[] = [];
  while (batch.length < BATCH) {
    const { done, value } = await items.next();
    if (done === true) return { batch, done };
    batch.push(value);
  }
  return { batch, done: false };
}

async function* start({ anchors, copy }: Places, asked: Asked): AsyncGenerator<unknown, void> {
  if (asked.kind === "anchors") yield* anchors[asked.place]?.anchors(asked.writer) ?? [];
  else if (asked.kind === "chains") yield* (await copy?.chains()) ?? [];
  else yield* copy?.rows(asked.writer) ?? [];
}

/** The places of the main thread, seen from the worker. */
export function borrowPlaces(port: MessagePort, names: PlaceNames): Places {
  let next = 0;
  const waiting = new Map<number, (answer: Answer) => void>();
  port.on("message", (answer: Answer) => {
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });

  // What arrives was made by `start` for the same question, so it has that question's type.
  async function* items<T>(asked: Asked): AsyncGenerator<T, void> {
    next += 1;
    const id = next;
    let ended = false;
    try {
      while (!ended) {
        const answer = await new Promise<Answer>((resolve) => {
          waiting.set(id, resolve);
          port.postMessage({ type: "next", id, asked } satisfies Request);
        });
        ended = "error" in answer || answer.done;
        if ("error" in answer) throw new Error(answer.error);
        yield* answer.items as T[];
      }
    } finally {
      port.postMessage({ type: "end", id } satisfies Request);
    }
  }

  const { copy } = names;
  return {
    anchors: names.anchors.map((name, place) => ({
      name,
      anchors: (writer) => items({ kind: "anchors", place, writer }),
    })),
    copy: copy && {
      ...copy,
      chains: async () => {
        const chains: string[] = [];
        for await (const chain of items<string>({ kind: "chains" })) chains.push(chain);
        return chains;
      },
      rows: (writer) => items({ kind: "rows", writer }),
    },
  };
}
