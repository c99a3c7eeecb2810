import { createPeerOf, type PeerOf, plainPeer } from "../access/peer.ts";
import type { Principals } from "../access/principals.ts";
import type { ServerTls } from "../access/tls/tls.ts";
import { ConfigError, configured, type Settings } from "../config.ts";
import type { Log } from "../core/log.ts";

/** Where connections come in: certificates of our own, and what proxies say. */
export interface Edge {
  peerOf: PeerOf;
  tls: ServerTls | undefined;
  isShared: (address: string) => boolean;
  /** Who a certificate is, where anybody may sign in by one. */
  certificates: Pick<Principals, "ofCertificate"> | undefined;
  /** What an operator should mend, if anything; no reason to send no calls here. */
  problem: () => string | undefined;
}

const PLAIN: Edge = {
  peerOf: plainPeer,
  tls: undefined,
  isShared: () => false,
  certificates: undefined,
  problem: () => undefined,
};

/** @throws ConfigError of one sentence: settings that do not go together, or a file that cannot be used */
export async function openEdge(settings: Settings, principals: Principals, log: Log): Promise<Edge> {
  const { tls_cert_file, tls_key_file, trusted_proxies, client_certificate_header } = settings;
  check(settings, principals);
  if (tls_cert_file === undefined && trusted_proxies.length === 0) return PLAIN;

  const { trustedProxies } = await import("../access/proxies.ts");
  const proxies = configured("trusted_proxies: ", () => trustedProxies(trusted_proxies));
  const tls =
    tls_cert_file !== undefined && tls_key_file !== undefined
      ? await openTls(settings, tls_cert_file, tls_key_file, log)
      : undefined;
  const readHeader =
    client_certificate_header === undefined
      ? undefined
      : (await import("../access/tls/forwarded-certificate.ts")).forwardedCertificate;
  return {
    peerOf: createPeerOf({
      proxies,
      certificateHeader: client_certificate_header,
      certificateOf: tls && ((socket) => tls.certificateOf(socket)),
      readHeader,
    }),
    tls,
    isShared: proxies.has,
    certificates: byCertificate(settings) === undefined ? undefined : principals,
    problem: () => tls?.problem(),
  };
}

/** The setting that lets clients sign in by certificate. */
function byCertificate(settings: Settings): "tls_client_ca_file" | "client_certificate_header" | undefined {
  if (settings.tls_client_ca_file !== undefined) return "tls_client_ca_file";
  return settings.client_certificate_header === undefined ? undefined : "client_certificate_header";
}

function check(settings: Settings, principals: Principals): void {
  const { tls_cert_file, tls_key_file, tls_client_ca_file, tls_client_crl_file } = settings;
  const { principals_file, client_certificate_header, trusted_proxies } = settings;
  if ((tls_cert_file === undefined) !== (tls_key_file === undefined)) {
    const missing = tls_cert_file === undefined ? "tls_cert_file" : "tls_key_file";
    throw new ConfigError(`tls_cert_file and tls_key_file belong together: set ${missing}, too.`);
  }
  if (tls_client_ca_file !== undefined && tls_cert_file === undefined)
    throw new ConfigError("tls_client_ca_file is for our own TLS listener: set tls_cert_file and tls_key_file, too.");
  if (tls_client_crl_file !== undefined && tls_client_ca_file === undefined)
    throw new ConfigError("tls_client_crl_file revokes certificates of tls_client_ca_file: set that, too.");
  if (client_certificate_header !== undefined && trusted_proxies.length === 0)
    throw new ConfigError("client_certificate_header is read from trusted_proxies only: set them, too.");
  const way = byCertificate(settings);
  if (way !== undefined && !principals.hasRulesFor.certificates) {
    const where = principals_file ?? "principals_file, which is not set";
    throw new ConfigError(`${way}: no certificate would be anybody's; add rules under certificates: in ${where}.`);
  }
}

async function openTls(settings: Settings, cert: string, key: string, log: Log): Promise<ServerTls> {
  const { ServerTls } = await import("../access/tls/tls.ts");
  const files = { cert, key, clientCa: settings.tls_client_ca_file, clientCrl: settings.tls_client_crl_file };
  return configured("", () => new ServerTls({ files, clientAuth: settings.tls_client_auth, log }));
}
