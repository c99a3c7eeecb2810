import { createHmac } from "node:crypto";
import { isSecretName } from "../core/secret-name.ts";
import { maskText } from "./secrets.ts";

export type Redact = (value: unknown) => unknown;

const MAX_DEPTH = 32;
/** Shared references can make a small graph print as a huge tree, so what is copied is counted. */
const MAX_NODES = 500_000;
const MASKED = /^\[redacted:[0-9a-f]{8}\]$/;
const SECRET_FLAG = /^--?[\w-]+$/;
const NAME_FIELDS = ["name", "Name", "key", "Key", "parameter_name", "ParameterName", "parameterName"];
const VALUE_FIELDS = new Set(["value", "Value", "parameter_value", "ParameterValue", "parameterValue"]);

/**
 * Makes the one redactor used for audit rows and replies. It returns a deep copy that `JSON.stringify` takes as it is
 * (dates become ISO text, bigints decimal text, bytes their length; cycles and what lies too deep become a marker) in
 * which each secret is replaced by `[redacted:<8 hex>]`. The digits are the start of an HMAC of the secret under `key`,
 * so that two equal secrets can be seen to be equal. Never throws; redacting twice changes nothing more.
 */
export function createRedactor(key: Uint8Array): Redact {
  const mask = (secret: string): string =>
    MASKED.test(secret)
      ? secret
      : `[redacted:${createHmac("sha256", key).update(secret, "utf8").digest("hex").slice(0, 8)}]`;
  return (value) => new Copier(mask).copy(value, 0, false);
}

class Copier {
  readonly #mask: (secret: string) => string;
  readonly #ancestors = new Set<object>();
  #nodes = 0;

  constructor(mask: (secret: string) => string) {
    this.#mask = mask;
  }

  /** `secret`: the value stands under a name that says it is one. */
  copy(value: unknown, depth: number, secret: boolean): unknown {
    switch (typeof value) {
      case "string":
        return this.#text(value, secret);
      case "number":
        if (!Number.isFinite(value)) return String(value);
        return value;
      case "bigint":
        return this.#text(String(value), secret);
      case "boolean":
        return value;
      case "object":
        return value === null ? null : this.#object(value, depth, secret);
      default:
        return undefined;
    }
  }

  #text(value: string, secret: boolean): string {
    const text = value.toWellFormed();
    if (secret && text !== "" && !text.startsWith("arn:")) return this.#mask(text);
    return maskText(text, this.#mask);
  }

  #object(value: object, depth: number, secret: boolean): unknown {
    if (this.#ancestors.has(value)) return "[circular]";
    if (depth >= MAX_DEPTH) return "[too deep]";
    if (++this.#nodes > MAX_NODES) return "[too large]";
    this.#ancestors.add(value);
    try {
      if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
      if (Array.isArray(value)) return this.#array(value, depth, secret);
      if (value instanceof Set) return this.#array([...value], depth, secret);
      if (value instanceof Map) return this.#array([...value], depth, false);
      if ("toJSON" in value && typeof value.toJSON === "function") return this.copy(value.toJSON(), depth + 1, secret);
      if (value instanceof Error) {
        return this.#fields({ ...value, name: value.name, message: value.message }, depth);
      }
      return this.#fields(value, depth);
    } catch {
      // A getter, proxy or toJSON threw: recording goes on without that part.
      return "[unreadable]";
    } finally {
      this.#ancestors.delete(value);
    }
  }

  #array(value: readonly unknown[], depth: number, secret: boolean): unknown[] {
    const copy: unknown[] = [];
    let afterFlag = false;
    for (const item of value) {
      if (++this.#nodes > MAX_NODES) {
        copy.push("[too large]");
        break;
      }
      copy.push(this.copy(item, depth + 1, secret || afterFlag) ?? null);
      afterFlag = typeof item === "string" && item.length < 64 && SECRET_FLAG.test(item) && isSecretName(item);
    }
    return copy;
  }

  #fields(value: object, depth: number): Record<string, unknown> {
    const copy: Record<string, unknown> = {};
    const valueIsSecret = hasSecretName(value);
    for (const [name, field] of Object.entries(value)) {
      if (++this.#nodes > MAX_NODES) {
        copy["[too large]"] = true;
        break;
      }
      const named = isSecretName(name);
      // Below a secret name an object is a container (`credentials`, `secrets`): its own names decide.
      const secret = named || (valueIsSecret && VALUE_FIELDS.has(name));
      // A number under a secret's name may be a PIN, or a count (`tokens: 500`); only the former reads "password".
      const hidden = secret && typeof field === "number" && /pass|secret/i.test(valueIsSecret ? "pass" : name);
      const result = this.copy(hidden ? String(field) : field, depth + 1, secret);
      if (result !== undefined) set(copy, maskText(name.toWellFormed(), this.#mask), result);
    }
    return copy;
  }
}

/** `{ name: "DB_PASSWORD", value: "…" }`, the shape of container environments and stack parameters. */
function hasSecretName(value: object): boolean {
  for (const field of NAME_FIELDS) {
    const name: unknown = Object.getOwnPropertyDescriptor(value, field)?.value;
    if (typeof name === "string" && isSecretName(name)) return true;
  }
  return false;
}

/** Plain assignment to `__proto__` would set the prototype and lose the field. */
function set(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name === "__proto__") {
    Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
  } else target[name] = value;
}
