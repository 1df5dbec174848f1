import { defineConfig } from '@playwright/test';
import stories from './playwright.config';

/** Stories of a whole cluster: ZooKeeper, MariaDB, three servers, three consoles behind nginx. They break it, one after the other. */
export default defineConfig(stories, {
  testDir: './e2e/cluster',
  testIgnore: [],
  globalSetup: './e2e/cluster/start.ts',
  workers: 1,
});
