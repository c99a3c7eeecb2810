import type { Stage } from "../../../test/support/stage.ts";
import type { World } from "../../../test/support/world.ts";

/** Sets up what the tools of this folder are tried on. */
export async function stageCloudwatch(_world: World): Promise<Stage> {
  return {};
}
