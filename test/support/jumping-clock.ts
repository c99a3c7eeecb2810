/** For `NODE_OPTIONS`: lets the clock of a process jump eleven minutes ahead on SIGUSR2, longer than a question is open. */
const SOURCE = `
const now = Date.now; let ahead = 0;
Date.now = () => now() + ahead;
process.on("SIGUSR2", () => { ahead += 660_000; });
`;
export const JUMPING_CLOCK = `--import=data:text/javascript,${encodeURIComponent(SOURCE)}`;
