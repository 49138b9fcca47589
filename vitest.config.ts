import { cloudflareTest } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';

/** Whole programs, started as a user does. */
const PROGRAMS = ['sidecar/cli/{cli,l1}.test.ts', 'local/committee/programs.test.ts', 'examples/**/*.test.ts'];

/** Unit tests stand beside their file; `*.workers.test.ts` run inside real workerd, everything else in Node. */
export default defineConfig({
  test: {
    teardownTimeout: 60_000,
    // CI machines are shared and stall for seconds; a second failure is the test's own.
    retry: process.env.CI ? 1 : 0,
    // Left to itself it takes a core less than there are: of two, half.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'node',
          include: [
            'protocol/**/*.test.ts',
            'workers/**/*.test.ts',
            'sidecar/**/*.test.ts',
            'local/**/*.test.ts',
            'contracts/**/*.test.ts',
            'test/unit/**/*.test.ts',
          ],
          exclude: ['**/*.workers.test.ts', ...PROGRAMS, '**/node_modules/**'],
          testTimeout: 30_000,
        },
      },
      {
        // A key of no worth signs the receipts of tests, and how fast the machine is refuses nobody.
        plugins: [
          cloudflareTest({
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: {
                SEQUENCER_KEY: `0x${'11'.repeat(32)}`,
                SHARDS: '3',
                MAX_WAIT_MS: '600000',
                WATCHTOWER_AGENT: '0:1',
                WATCHTOWER_KEY: `0x${'22'.repeat(32)}`,
              },
            },
          }),
        ],
        test: {
          name: 'workers',
          include: ['durable/**/*.workers.test.ts', 'workers/**/*.workers.test.ts'],
          // It ships ES modules without saying so.
          deps: { optimizer: { ssr: { enabled: true, include: ['itty-durable'] } } },
          testTimeout: 30_000,
        },
      },
      {
        // Long, with an L1 of their own or with programs of many processes, but nothing that measures: side by side with the unit tests.
        test: {
          name: 'proofs',
          include: ['test/{fuzz,mutants}/**/*.test.ts', ...PROGRAMS],
          testTimeout: 240_000,
          hookTimeout: 240_000,
          // They mostly wait, for L1, for the compiler, for each other.
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/{e2e,faults,browser}/**/*.test.ts'],
          testTimeout: 240_000,
          hookTimeout: 240_000,
          // Much of it is waiting, for blocks, for containers, for an outage to end.
          maxWorkers: 2,
        },
      },
    ],
  },
});
