import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { parseBody } from "../record.ts";
import { readLines } from "./files.ts";
import { BundleError } from "./format.ts";

interface Span {
  start: number;
  end: number;
}

/**
 * Files of a bundle that hold lines of several chains. A file is gone through once to know where those of each chain
 * are; a line that is not readable counts for the chain of the line before it. What cannot be read is noted.
 */
export class BundleLines {
  readonly #dir: string;
  readonly #note: (message: string) => void;
  readonly #indexes = new Map<string, Promise<Map<string, Span[]>>>();
  readonly #damaged = new Set<string>();

  constructor(dir: string, note: (message: string) => void) {
    this.#dir = dir;
    this.#note = note;
  }

  /** The chains of which there is a line. */
  async writers(name: string): Promise<string[]> {
    return [...(await this.#index(name)).keys()].filter((writer) => writer !== "");
  }

  /** The lines of a chain as objects, in their order; `undefined` for one that is none. */
  async *of(name: string, writer: string): AsyncGenerator<Record<string, unknown> | undefined, void> {
    const spans = (await this.#index(name)).get(writer) ?? [];
    for (const { start, end } of spans) for await (const bytes of this.#read(name, start, end)) yield parseBody(bytes);
  }

  /** All lines, as they are. */
  async *all(name: string): AsyncGenerator<Buffer, void> {
    yield* this.#read(name);
  }

  async exists(name: string): Promise<boolean> {
    return lstat(join(this.#dir, name)).then(
      () => true,
      () => false,
    );
  }

  #index(name: string): Promise<Map<string, Span[]>> {
    const known = this.#indexes.get(name);
    if (known !== undefined) return known;
    const index = this.#build(name);
    this.#indexes.set(name, index);
    return index;
  }

  async #build(name: string): Promise<Map<string, Span[]>> {
    const index = new Map<string, Span[]>();
    let current = "";
    try {
      for await (const { bytes, start, end } of readLines(this.#dir, name)) {
        const writer = parseBody(bytes)?.writer;
        if (typeof writer === "string") current = writer;
        const spans = index.get(current) ?? [];
        const last = spans.at(-1);
        if (last?.end === start) last.end = end;
        else spans.push({ start, end });
        index.set(current, spans);
      }
    } catch (error) {
      this.#noteOnce(name, error);
    }
    return index;
  }

  async *#read(name: string, start?: number, end?: number): AsyncGenerator<Buffer, void> {
    try {
      for await (const { bytes } of readLines(this.#dir, name, start, end)) yield bytes;
    } catch (error) {
      this.#noteOnce(name, error);
    }
  }

  #noteOnce(name: string, error: unknown): void {
    if (!(error instanceof BundleError)) throw error;
    if (!this.#damaged.has(name)) this.#note(error.message);
    this.#damaged.add(name);
  }
}
