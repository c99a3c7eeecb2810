import type { Stage } from "../../../test/support/stage.ts";
import type { World } from "../../../test/support/world.ts";
import { stageDeploy } from "./stage-deploy-support.ts";
import { stageRunning } from "./stage-running-support.ts";

/** Sets up what the tools of this folder are tried on. */
export async function stageEcs(world: Pick<World, "proxy">): Promise<Stage> {
  return { ...(await stageRunning(world)), ...(await stageDeploy(world)) };
}
