import { defineConfig } from '@playwright/test';
import cluster from './playwright.cluster.config';

/** Takes the pictures of `docs/tour`, from a cluster of its own. */
export default defineConfig(cluster, {
  testDir: './pictures',
  testMatch: 'tour.spec.ts',
  outputDir: './test-results/tour',
});
