/** Credentials moto accepts; they open nothing anywhere else. */
export const DUMMY_CREDENTIALS = { accessKeyId: "testing", secretAccessKey: "testing" } as const;

/** Configuration for a raw AWS SDK client that talks to a fault proxy or to moto at `url`. */
export function awsClientConfig(url: string, region: string) {
  return { endpoint: url, region, credentials: DUMMY_CREDENTIALS };
}

export interface RawRequest {
  /** Signing name. */
  service: string;
  region?: string;
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  body?: string | URLSearchParams;
}

/** Sends a request that looks signed, for services whose SDK client is not installed. Default: POST to `/`. */
export function rawRequest(url: string, request: RawRequest): Promise<Response> {
  const { service, region = "us-east-1", method = "POST", path = "/", headers, body } = request;
  const scope = `${DUMMY_CREDENTIALS.accessKeyId}/20260101/${region}/${service}/aws4_request`;
  return fetch(new URL(path, url), {
    method,
    headers: { ...headers, authorization: `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=0` },
    ...(body === undefined ? {} : { body }),
  });
}
