import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Server as TlsServer } from "node:https";
import type { Socket } from "node:net";
import { underlying } from "../access/peer.ts";
import { networkOf, plainAddress } from "../access/proxies.ts";
import type { Log } from "../core/log.ts";

export interface ConnectionLimits {
  /** At once; the next ones are closed, and idle ones make room. */
  max: number;
  /** At once of one source (an IPv6 source is its /64). */
  maxPerSource: number;
  /** Sources that speak for many clients, whose connections are not counted apart. */
  isShared: (address: string) => boolean;
}

/** For how long a client may take nothing of an answer that is ready for it. */
const STALL_MS = 30_000;
/** Between two lines of the log about connections that were turned away. */
const SUMMARY_MS = 10_000;

/**
 * The connections of a server: how many there may be, and their end when a client does not take what it asked for.
 * Node's own timeouts end the others: those that send no request, or only half of one.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #log: Log;
  readonly #perSource = new Map<string, number>();
  /** Open connections, with the number of requests that have no answer yet. */
  readonly #open = new Map<Socket, number>();
  /** Those that end with their last answer. */
  readonly #ending = new WeakSet<Socket>();
  #turnedAway = 0;
  #summary: NodeJS.Timeout | undefined;

  constructor(server: Server | TlsServer, limits: ConnectionLimits, log: Log) {
    this.#limits = limits;
    this.#log = log;
    server.maxConnections = limits.max;
    server.on("drop", () => {
      // Whoever waits for nothing gives way to who comes.
      server.closeIdleConnections();
      this.#turnAway();
    });
    server.on("connection", (socket: Socket) => this.#opened(socket));
    // With a listener, Node leaves it to us what to do with a connection on which nothing has moved.
    server.setTimeout(STALL_MS, (socket: Socket) => {
      const waits = (this.#open.get(underlying(socket)) ?? 0) > 0 && socket.writableLength === 0;
      if (waits) socket.setTimeout(STALL_MS);
      else socket.destroy();
    });
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      const encrypted = request.socket;
      const socket = underlying(encrypted);
      const pending = this.#open.get(socket);
      if (pending === undefined) return;
      this.#open.set(socket, pending + 1);
      response.once("close", () => this.#answered(encrypted));
    });
  }

  /** Ends the connections that are not to go on: idle ones now, the others with their answer. */
  end(which: (socket: Socket) => boolean): void {
    for (const [socket, pending] of this.#open) {
      if (!which(socket)) continue;
      this.#ending.add(socket);
      if (pending === 0) socket.destroy();
    }
  }

  /** Ends them all, those in a TLS handshake included, which Node does not count among its own. */
  close(): void {
    clearTimeout(this.#summary);
    for (const socket of this.#open.keys()) socket.destroy();
  }

  #opened(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress ?? "unknown");
    const source = networkOf(address);
    const others = this.#perSource.get(source) ?? 0;
    if (others >= this.#limits.maxPerSource && !this.#limits.isShared(address)) {
      socket.destroy();
      this.#turnAway();
      return;
    }
    this.#perSource.set(source, others + 1);
    this.#open.set(socket, 0);
    socket.once("close", () => {
      this.#open.delete(socket);
      const left = (this.#perSource.get(source) ?? 1) - 1;
      if (left > 0) this.#perSource.set(source, left);
      else this.#perSource.delete(source);
    });
  }

  #answered(encrypted: Socket): void {
    const socket = underlying(encrypted);
    const pending = this.#open.get(socket);
    if (pending === undefined) return;
    this.#open.set(socket, pending - 1);
    if (pending === 1 && this.#ending.has(socket)) encrypted.end();
  }

  #turnAway(): void {
    this.#turnedAway += 1;
    this.#summary ??= setTimeout(() => {
      const fields = { turned_away: this.#turnedAway, max_connections: this.#limits.max };
      this.#log.warn(fields, "connections were closed: too many at once");
      this.#turnedAway = 0;
      this.#summary = undefined;
    }, SUMMARY_MS).unref();
  }
}
