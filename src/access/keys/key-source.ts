import { readFileSync, realpathSync } from "node:fs";
import { fingerprint } from "../fingerprint.ts";
import { isErrno, replaceFile, withLock } from "./state-file.ts";

/** Where API keys are kept. */
export interface KeySource {
  /** For messages: a path, or an ARN. */
  readonly name: string;
  /** Somebody configured it: then nobody is let in without showing something, be there keys or not. */
  readonly explicit: boolean;
  /** Whether people read it, or its length matters. */
  readonly lines: boolean;
  /** The text there now; undefined where there is none yet. */
  read(): Promise<string | undefined>;
  /** Puts another text in place. Rejects with an Error that names the source and says what to do. */
  change<T>(work: (text: string | undefined) => { text: string | undefined; result: T }): Promise<T>;
  /**
   * Only of a source that is so near that one may ask whenever a key is shown: whether the text has changed since it was
   * last read. Throws where that cannot be found out.
   */
  changed?: () => boolean;
  /** Only with `changed`: as `read`, without waiting. */
  readNow?: () => string | undefined;
}

/** A text in another system that is replaced as a whole: a secret, a parameter. */
export interface RemoteText {
  read(): Promise<string>;
  /** Replaces the text that `read` gave last. Rejects when somebody else has done so since. */
  write(text: string): Promise<void>;
}

/** Keys in a secret or parameter. */
export function remoteKeys(name: string, remote: RemoteText): KeySource {
  return {
    name,
    explicit: true,
    lines: false,
    read: () => remote.read(),
    async change(work) {
      const before = await remote.read();
      const { text, result } = work(before);
      if (text !== undefined && text !== before) await remote.write(text);
      return result;
    },
  };
}

/**
 * Keys in a file, which may be a link, be replaced as a whole, and be read-only. Processes that change it take turns.
 * @param how.explicit named in the configuration: not to find it is an error, unless how.create
 */
export function fileKeys(path: string, how: { explicit: boolean; create?: boolean }): KeySource {
  const { explicit, create = false } = how;
  let seen = "unread";
  const readNow = () => {
    // Before the text: a change in between is found the next time.
    const now = fingerprint([path]);
    const text = readIfPresent(path);
    if (text === undefined && explicit && !create) {
      throw new Error(`There is no ${path}; make a key in it: mcp-aws-server keys create --api-keys-file ${path}`);
    }
    seen = now;
    return text;
  };
  return {
    name: path,
    explicit,
    lines: true,
    read: async () => readNow(),
    readNow,
    changed: () => fingerprint([path]) !== seen,
    async change(work) {
      try {
        // What a link leads to is changed, not the link.
        const target = realpath(path);
        return await withLock(`${target}.lock`, () => {
          const before = readIfPresent(target);
          const { text, result } = work(before);
          if (text !== undefined && text !== before) replaceFile(target, text);
          return result;
        });
      } catch (error) {
        if (!["EACCES", "EPERM", "EROFS", "EBUSY"].some((code) => isErrno(error, code))) throw error;
        throw new Error(`${path} cannot be written from here; change it where it comes from`, { cause: error });
      }
    },
  };
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

function realpath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return path;
    throw error;
  }
}
