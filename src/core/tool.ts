import type * as z from "zod";
import type { Resource, ResourceRef } from "./call.ts";

/**
 * What a tool may do. `destructive`: interrupts service or loses something. `deploy`: can make new code run under an
 * existing role. Annotations, policy groups, audit severity and confirmation are all derived from it.
 */
export type Effect = "read" | "write" | "destructive" | "deploy";

export interface IamAction {
  /** `service:Action` as IAM spells it. The gate refuses every AWS request whose action is not declared. */
  action: `${string}:${string}`;
  /** IAM resource type the action is limited to; absent where AWS supports only `*`. */
  resource?: string;
}

/** The part of an AWS SDK v3 client that the call path relies on. */
export interface AwsClient {
  // biome-ignore lint/suspicious/noExplicitAny: the SDK's send is generic over every command of the service
  send(command: any, options?: any): Promise<any>;
}

/**
 * The region a call is about: the one it names, else the server's.
 * @throws ToolError `invalid_input` when there is neither
 */
export type RegionOf = (named: string | undefined) => string;

/** The only way a handler reaches AWS: clients bound to this call, through breaker, gate, deadline and recording. */
export interface Aws {
  readonly regionOf: RegionOf;
  /** A client of this class for this region, e.g. `aws.client(EC2Client, "eu-west-1")`. Cheap: the real one is cached. */
  // biome-ignore lint/suspicious/noExplicitAny: each service's constructor has its own config type
  client<C extends AwsClient>(service: new (config: any) => C, region: string): C;
}

/** Tells the client how far a long call has come; safe to call at any time, does nothing when nobody listens. */
export type Progress = (done: number, total: number | undefined, message: string) => void;

export interface ReadContext {
  aws: Aws;
  signal: AbortSignal;
  progress: Progress;
}

export interface WriteContext<D> extends ReadContext {
  /** As looked up before authorisation; never looked up again. */
  resource: Resource<D>;
}

interface ToolBase<I extends z.ZodObject, O extends z.ZodObject> {
  name: string;
  title: string;
  description: string;
  service: string;
  /** Calling twice with the same arguments has no further effect. */
  idempotent: boolean;
  iam: readonly IamAction[];
  input: I;
  output: O;
  /** How long one call may take, in seconds; the default is the server's (30 s). */
  deadlineS?: (input: z.output<I>) => number | undefined;
  /** True for calls that mostly wait; they are counted apart from the calls that work. */
  waits?: (input: z.output<I>) => boolean;
}

export interface ReadTool<I extends z.ZodObject = z.ZodObject, O extends z.ZodObject = z.ZodObject>
  extends ToolBase<I, O> {
  effect: "read";
  /** What the call is about, from its arguments alone (reads are not looked up); one entry a region. */
  subject: (input: z.output<I>, regionOf: RegionOf) => ResourceRef | readonly ResourceRef[];
  handler: (input: z.output<I>, context: ReadContext) => Promise<z.input<O>>;
}

export interface WriteTool<I extends z.ZodObject = z.ZodObject, O extends z.ZodObject = z.ZodObject, D = unknown>
  extends ToolBase<I, O> {
  effect: "write" | "destructive" | "deploy";
  subject: (input: z.output<I>, regionOf: RegionOf) => ResourceRef;
  /** Looks the resource up once, so that tags, state and account are known before anything is decided. */
  lookup: (input: z.output<I>, subject: ResourceRef, context: ReadContext) => Promise<Resource<D>>;
  /** True when these arguments make the call a rehearsal that changes nothing. */
  dryRun?: (input: z.output<I>) => boolean;
  /** What will happen, in words for the person who is asked: `stop i-1 (web-1): running → stopped`. */
  consequence: (input: z.output<I>, resource: Resource<D>) => { action: string; before: string; after: string };
  /**
   * Throws a `conflict` when the state forbids the call, or returns the reply when there is nothing to do. Runs after
   * authorisation and before anybody is asked.
   */
  precheck?: (input: z.output<I>, resource: Resource<D>) => z.input<O> | undefined;
  handler: (input: z.output<I>, context: WriteContext<D>) => Promise<z.input<O>>;
}

// biome-ignore lint/suspicious/noExplicitAny: a catalog holds tools of every shape; each was checked where it was defined
export type Tool = ReadTool<any, any> | WriteTool<any, any, any>;

/** Checks a declaration against its own schemas. */
export function defineTool<I extends z.ZodObject, O extends z.ZodObject>(tool: ReadTool<I, O>): ReadTool<I, O>;
export function defineTool<I extends z.ZodObject, O extends z.ZodObject, D>(
  tool: WriteTool<I, O, D>,
): WriteTool<I, O, D>;
export function defineTool(tool: Tool): Tool {
  return tool;
}

/**
 * Whether an IAM action changes something. AWS names reads consistently; everything else counts as a change, so a
 * wrong guess costs a needless `unknown_outcome`, never a silent repetition.
 */
export function isMutation(action: string): boolean {
  return !/^[^:]*:?(Describe|Get|List|Query|Filter)/.test(action);
}
