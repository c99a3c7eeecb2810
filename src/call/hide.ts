/** What may be shown of a name: nobody would call something by a password, but might put one in the wrong place. */
const NAME = /^[A-Za-z_][\w.-]{0,127}$/;
const NAME_FIELDS = ["name", "container"];

/**
 * The arguments as the trail may keep them: below the named ones, at any depth, every text is hidden but keys and what names something.
 * For values that are secret by their place, which no look at name or shape can tell. What is not an object is untouched.
 */
export function hideArguments(given: unknown, secret: readonly string[]): unknown {
  if (Array.isArray(given)) return given.map((member) => hideArguments(member, secret));
  if (typeof given !== "object" || given === null) return given;
  const entries = Object.entries(given).map(([key, value]) => {
    // Wherever it stands: a call with the wrong shape is refused, and recorded nevertheless.
    return [key, secret.includes(key.toLowerCase()) ? hide(value) : hideArguments(value, secret)];
  });
  return Object.fromEntries(entries);
}

function hide(value: unknown): unknown {
  if (typeof value === "string" || typeof value === "number") return "[hidden]";
  if (Array.isArray(value)) return value.map(hide);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      key,
      NAME_FIELDS.includes(key) && typeof member === "string" && NAME.test(member) ? member : hide(member),
    ]),
  );
}
