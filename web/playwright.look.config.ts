import { defineConfig } from '@playwright/test';
import stories from './playwright.config';

/** Takes pictures of every page in both themes and languages, at a desk's and a phone's width, for whoever judges them. */
export default defineConfig(stories, {
  testDir: './pictures',
  testMatch: 'look.spec.ts',
  outputDir: './test-results/look-failures',
});
