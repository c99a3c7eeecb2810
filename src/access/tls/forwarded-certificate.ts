import { X509Certificate } from "node:crypto";
import type { ClientCertificate } from "../credentials.ts";
import { clientCertificate, isForClients } from "./certificate.ts";

const PEM = /^-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----(?:\r?\n)?$/;

/**
 * The certificate in a header of a proxy that has verified it: one PEM certificate, URL-encoded. An ALB leaves `+`, `=`
 * and `/` as they are, nginx encodes them; a plus sign is never a blank.
 */
export function forwardedCertificate(header: string): ClientCertificate | "refused" {
  const x509 = parse(header);
  if (x509 === undefined || !isForClients(x509)) return "refused";
  // The proxy has the revocation lists; for us, what it lets through stays good.
  return clientCertificate(x509, () => true) ?? "refused";
}

function parse(header: string): X509Certificate | undefined {
  try {
    const base64 = PEM.exec(decodeURIComponent(header))?.[1];
    if (base64 === undefined) return undefined;
    const der = Buffer.from(base64, "base64");
    const x509 = new X509Certificate(der);
    // Nothing behind it, that another reader might take for the certificate.
    return x509.raw.equals(der) ? x509 : undefined;
  } catch {
    return undefined;
  }
}
