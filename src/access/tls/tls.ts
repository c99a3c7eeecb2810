import { constants } from "node:crypto";
import type { ServerOptions } from "node:https";
import type { Socket } from "node:net";
import { type SecureContextOptions, TLSSocket } from "node:tls";
import type { Log } from "../../core/log.ts";
import type { Presented } from "../credentials.ts";
import { fingerprint } from "../fingerprint.ts";
import { underlying } from "../peer.ts";
import { clientCertificate } from "./certificate.ts";
import { EXPIRES_SOON_MS, readTlsFiles, type TlsFiles, type TlsMaterial } from "./tls-files.ts";

const LOOK_MS = 1_000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Forward secrecy and authenticated encryption, or nothing. */
const CIPHERS = [
  ...["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"],
  ...["ECDHE+AESGCM", "ECDHE+CHACHA20"],
].join(":");

export interface TlsOptions {
  files: TlsFiles;
  /** Whether a client without a certificate is turned away in the handshake. */
  clientAuth: "required" | "optional";
  log: Log;
}

/**
 * Certificates of our own listener, which follow their files: new ones are checked before they are used, and those that
 * cannot be used change nothing.
 *
 * What a connection was verified with is remembered. Once the CAs or the revocation lists have changed, a certificate
 * from before is no longer good: its holder connects again, and is verified with the new ones.
 */
export class ServerTls {
  readonly #options: TlsOptions;
  readonly #certificates = new WeakMap<Socket, Presented["certificate"]>();
  /** Connections by the trust in force when they were accepted. */
  readonly #opened = new WeakMap<Socket, number>();
  #material: TlsMaterial;
  #trust = 0;
  #fingerprint: string | undefined;
  /** A problem that was seen once: of two files that are replaced one after the other, the first does not fit alone. */
  #suspect: string | undefined;
  #problem: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @throws Error of one sentence that names the file that cannot be used */
  constructor(options: TlsOptions) {
    this.#options = options;
    this.#material = readTlsFiles(options.files);
    for (const warning of this.#material.warnings) options.log.warn({ warning }, "TLS");
  }

  /** For `https.createServer`. */
  get serverOptions(): ServerOptions {
    const asks = this.#material.ca !== undefined;
    return {
      ...this.#context(),
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      requestCert: asks,
      rejectUnauthorized: asks && this.#options.clientAuth === "required",
    };
  }

  /** To be told of every connection as it is accepted, before the handshake. */
  opened(raw: Socket): void {
    this.#opened.set(raw, this.#trust);
  }

  /** Whether a connection was verified with the CAs and revocation lists of now. */
  isCurrent(socket: Socket): boolean {
    return this.#opened.get(underlying(socket)) === this.#trust;
  }

  /** The certificate of a connection's client; `refused` when it did not hold, or does no longer. */
  certificateOf(socket: Socket): Presented["certificate"] {
    if (!(socket instanceof TLSSocket) || this.#material.ca === undefined) return undefined;
    if (!this.#certificates.has(socket)) this.#certificates.set(socket, this.#verified(socket));
    const certificate = this.#certificates.get(socket);
    if (typeof certificate !== "object") return certificate;
    return certificate.current() && Date.now() < certificate.validTo ? certificate : "refused";
  }

  /**
   * Looks every second whether the files have changed.
   * @param apply puts the new certificates to use; `trustChanged` when connections from before are to end
   */
  watch(apply: (context: SecureContextOptions, trustChanged: boolean) => void): void {
    this.#timer = setInterval(() => this.#look(apply), LOOK_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** What an operator should mend, without file names: whoever can reach the port may read it. */
  problem(): string | undefined {
    if (this.#problem !== undefined)
      return "the TLS files have changed and cannot be used; the old certificates stay in force (the log says why)";
    if ((this.#material.crlValidTo ?? Number.POSITIVE_INFINITY) <= Date.now())
      return "a revocation list has run out: all clients of its CA are refused until there is a new one";
    const left = this.#material.validTo - Date.now();
    if (left <= 0) return "the server's TLS certificate has expired";
    return left < EXPIRES_SOON_MS ? "the server's TLS certificate expires in less than 14 days" : undefined;
  }

  #verified(socket: TLSSocket): Presented["certificate"] {
    const x509 = socket.getPeerX509Certificate();
    if (x509 === undefined) return undefined;
    if (!socket.authorized) return "refused";
    return clientCertificate(x509, () => this.isCurrent(socket)) ?? "refused";
  }

  #context(): SecureContextOptions {
    const { cert, key, ca, crl } = this.#material;
    // A resumed session is not verified again. Without tickets there is nothing to resume, in TLS 1.3 neither: Node has
    // no cache of its own.
    const noTickets = ca === undefined ? 0 : constants.SSL_OP_NO_TICKET;
    return {
      cert,
      key,
      ...(ca !== undefined && { ca }),
      ...(crl !== undefined && { crl }),
      minVersion: "TLSv1.2",
      ciphers: CIPHERS,
      honorCipherOrder: true,
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION | noTickets,
    };
  }

  #look(apply: (context: SecureContextOptions, trustChanged: boolean) => void): void {
    const files = Object.values(this.#options.files).filter((file) => file !== undefined);
    const now = fingerprint(files);
    if (now === this.#fingerprint && this.#suspect === undefined) return;
    this.#fingerprint = now;
    try {
      const before = this.#material;
      const material = readTlsFiles(this.#options.files);
      this.#suspect = undefined;
      this.#problem = undefined;
      if (same(before, material)) return;
      this.#material = material;
      const trustChanged = before.ca !== material.ca || before.crl !== material.crl;
      if (trustChanged) this.#trust += 1;
      apply(this.#context(), trustChanged);
      this.#options.log.info({ client_trust_changed: trustChanged }, "TLS certificates reloaded");
      for (const warning of material.warnings) this.#options.log.warn({ warning }, "TLS");
    } catch (error) {
      this.#complain(error instanceof Error ? error.message : String(error));
    }
  }

  /** Once for each reason, and not before it has been seen twice. */
  #complain(reason: string): void {
    if (this.#suspect === reason && this.#problem !== reason) {
      this.#problem = reason;
      this.#options.log.error({ err: reason }, "changed TLS files cannot be used, the old ones stay in force");
    }
    this.#suspect = reason;
  }
}

function same(one: TlsMaterial, other: TlsMaterial): boolean {
  return one.cert === other.cert && one.key === other.key && one.ca === other.ca && one.crl === other.crl;
}
