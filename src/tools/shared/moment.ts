// A listing over a stretch of time named relatively ("1h") has to mean the same stretch on every page: the moment of the
// first page travels in front of the cursor. It is part of the question, so an altered one does not fit its cursor.

/** Eight digits to the base of 36: from 1972 to 2059. */
const MOMENT = /^([1-9a-z][0-9a-z]{7})~(.*)$/s;

/** When the listing this cursor belongs to was begun, in milliseconds since 1970, and the cursor without that. */
export function momentOf(cursor: string | undefined): { now: number; cursor: string | undefined } {
  const [, moment, rest] = MOMENT.exec(cursor ?? "") ?? [];
  return moment === undefined ? { now: Date.now(), cursor } : { now: Number.parseInt(moment, 36), cursor: rest };
}

/** The listing with the moment it was begun at in its cursor. */
export function atMoment<L extends { nextCursor: string | undefined }>(now: number, listing: L): L {
  return { ...listing, nextCursor: listing.nextCursor && `${now.toString(36)}~${listing.nextCursor}` };
}
