import type * as z from "zod";
import type { ConfirmMode, Resource, ResourceRef } from "./call.ts";
import type { TrailSearch } from "./trail-search.ts";

/**
 * What a tool may do. `audit`: reads what others did, which is a permission of its own. `destructive`: interrupts service or loses something. `deploy`: can make new code run under an
 * existing role. Annotations, policy groups, audit severity and confirmation are all derived from it.
 */
export type Effect = ReadEffect | ChangeEffect;
export type ReadEffect = "read" | "audit";
export type ChangeEffect = "write" | "destructive" | "deploy";

export interface IamAction {
  /** `service:Action` as IAM spells it. The gate refuses every AWS request whose action is not declared. */
  action: `${string}:${string}`;
  /** IAM resource types the action is limited to, of its own service; absent where AWS supports only `*`. */
  resource?: string | readonly string[];
  /** Why `*` although the action could be limited; with AWS's page that says so. */
  unscoped?: string;
  /** IAM condition that narrows the action further, as it stands in a policy. */
  condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
  /** For an action AWS checks on the server's behalf, which no request of ours names: where AWS says so. */
  impliedBy?: string;
  /** Needed only by calls that turn out to be this; absent for every call. */
  effect?: ChangeEffect;
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
  /**
   * The same, for ending what the call began at AWS (a query that runs): it also works when the call's signal has fired,
   * for a few seconds, and lets nothing through that changes something.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  cleanupClient<C extends AwsClient>(service: new (config: any) => C, region: string): C;
}

/** Tells the client how far a long call has come; safe to call at any time, does nothing when nobody listens. */
export type Progress = (done: number, total: number | undefined, message: string) => void;

/** What whoever runs the server decided for all tools. */
export interface Site {
  /** How many times its present size a service may be scaled to in one call. */
  maxScaleFactor: number;
  /** Image repositories new code may come from, `*` for any tail; empty allows those already in use only. */
  imageRepositories: readonly string[];
}

export interface ReadContext {
  aws: Aws;
  /** The account behind the server's credentials, `unknown` when AWS cannot tell. */
  account: string;
  site: Site;
  /**
   * Replaces the secrets in a text. Every reply goes through it anyway; a tool uses it before it cuts a text that may
   * hold one, because half a secret no longer looks like one.
   */
  mask: (text: string) => string;
  /** The audit trail, for tools whose effect is `audit`. */
  trail: TrailSearch;
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
  /** Arguments of a believable call, for the documentation. */
  example: z.input<I>;
  /** Arguments whose texts may be secrets by their place; the trail keeps their names only. */
  secretArguments?: readonly (keyof z.input<I> & string)[];
  /** How long one call may take, in seconds; the default is the server's (30 s). */
  deadlineS?: (input: z.output<I>) => number | undefined;
  /** True for calls that mostly wait; they are counted apart from the calls that work. */
  waits?: (input: z.output<I>) => boolean;
}

export interface ReadTool<I extends z.ZodObject = z.ZodObject, O extends z.ZodObject = z.ZodObject>
  extends ToolBase<I, O> {
  effect: ReadEffect;
  /** What the call is about, from its arguments alone (reads are not looked up); one entry a region. */
  subject: (input: z.output<I>, regionOf: RegionOf) => ResourceRef | readonly ResourceRef[];
  handler: (input: z.output<I>, context: ReadContext) => Promise<z.input<O>>;
}

export interface WriteTool<I extends z.ZodObject = z.ZodObject, O extends z.ZodObject = z.ZodObject, D = unknown>
  extends ToolBase<I, O> {
  effect: ChangeEffect;
  /**
   * Arguments that make the call something graver than its effect says: `to` lists what it may become, the gravest last,
   * `when` all that it is. Policy is then asked about the tool and about each `<tool>:<effect>`; the strictest answer
   * counts.
   */
  raised?: {
    to: readonly ChangeEffect[];
    when: (input: z.output<I>, resource: Resource<D>) => readonly ChangeEffect[];
  };
  subject: (input: z.output<I>, regionOf: RegionOf) => ResourceRef;
  /** Looks the resource up once, so that tags, state and account are known before anything is decided. */
  lookup: (input: z.output<I>, subject: ResourceRef, context: ReadContext) => Promise<Resource<D>>;
  /** True when these arguments make the call a rehearsal that changes nothing. */
  dryRun?: (input: z.output<I>) => boolean;
  /** How many things the call changes at once, for policies that limit it: a whole number; absent: one. */
  affects?: (input: z.output<I>, resource: Resource<D>) => number;
  /** What will happen, in words for the person who is asked: `stop i-1 (web-1): running → stopped`. */
  consequence: (input: z.output<I>, resource: Resource<D>) => { action: string; before: string; after: string };
  /**
   * Throws a `conflict` when the state forbids the call, or returns the reply when there is nothing to do. Runs after
   * authorisation and before anybody is asked.
   */
  precheck?: (input: z.output<I>, resource: Resource<D>, site: Site) => z.input<O> | undefined;
  /**
   * Whether the resource as it is now (`undefined`: there is none) proves that a call with these arguments took effect.
   * Asked about calls whose end nobody saw; absent where no state can prove it.
   */
  isDone?: (input: z.output<I>, resource: Resource<D> | undefined) => boolean;
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

/** What reads although its name does not say so: a log query is started and stopped, and changes nothing. */
const READS: ReadonlySet<string> = new Set(["logs:StartQuery", "logs:StopQuery"]);

/**
 * Whether an IAM action changes something. AWS names reads consistently; everything else counts as a change, so a
 * wrong guess costs a needless `unknown_outcome`, never a silent repetition.
 */
export function isMutation(action: string): boolean {
  return !READS.has(action) && !/^[^:]*:?(Describe|Get|List|Query|Filter)/.test(action);
}

/** What is known of a tool without loading it: enough to list it, and to say who might use it. */
export interface ListedTool {
  name: string;
  service: string;
  /** What a call may turn out to be; the first is the tool's own. */
  effects: readonly [Effect, ...Effect[]];
  /** As the protocol sends it. */
  protocol: object;
}

/** Whether a tool changes nothing, whatever its arguments. */
export function isRead(tool: Tool): tool is Extract<Tool, { effect: ReadEffect }> {
  return readsOnly(tool.effect);
}

export function readsOnly(effect: Effect): effect is ReadEffect {
  return effect === "read" || effect === "audit";
}

/** Everything a call of this tool may turn out to be. */
export function effectsOf(tool: Tool): readonly [Effect, ...Effect[]] {
  return isRead(tool) ? [tool.effect] : [tool.effect, ...(tool.raised?.to ?? [])];
}

/** The name policy knows a tool's graver form by: `ecs_update_service:deploy`. */
export function raisedAction(tool: string, effect: Effect): string {
  return `${tool}:${effect}`;
}

/** Whether the server's start option stands in for the person whom policy wants asked. */
export function isWaived(mode: ConfirmMode, effect: ChangeEffect): boolean {
  return mode === "never" || (mode === "destructive" && effect === "write");
}
