/** What the first rows of a chain say about another chain: its last row when this one began. */
export interface Claim {
  writer: string;
  seq: number;
  mac: Uint8Array;
}

/** The claims in a row's body; none in a row that is not the start of a chain. Whatever is not well-formed is left out. */
export function claimsOf(fields: Record<string, unknown> | undefined): Claim[] {
  if (fields?.event !== "server" || fields.operation !== "chain_start") return [];
  const { detail } = fields;
  if (typeof detail !== "object" || detail === null || !("heads" in detail) || !Array.isArray(detail.heads)) return [];
  return detail.heads.flatMap((head: unknown) => {
    if (!Array.isArray(head)) return [];
    const [writer, seq, mac]: unknown[] = head;
    if (typeof writer !== "string" || typeof seq !== "number" || typeof mac !== "string") return [];
    return [{ writer, seq, mac: Buffer.from(mac, "hex") }];
  });
}
