import { ToolError } from "../../core/errors.ts";

/** Any of RDS's pages, with nothing on it. */
interface EmptyPage {
  DBInstances?: undefined;
  DBSnapshots?: undefined;
  Events?: undefined;
  Marker?: undefined;
}

/** To a list, a filter that names what does not exist is a list with nothing in it. For `catch`. */
export function nothingFound(error: unknown): EmptyPage {
  if (error instanceof ToolError && error.kind === "not_found") return {};
  throw error;
}
