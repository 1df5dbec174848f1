import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: './e2e',
  testIgnore: 'cluster/**',
  globalSetup: './e2e/start.ts',
  // A story that goes wrong ends at what it waits for; these are for machines that build something else meanwhile.
  timeout: 180_000,
  expect: { timeout: 30_000 },
  // The stories share one `carillon dev`; each makes what it looks at, so that two may be told at a time.
  workers: 2,
  fullyParallel: false,
  forbidOnly: process.env.CI !== undefined,
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    locale: 'en-GB',
    timezoneId: 'Asia/Shanghai',
    viewport: { width: 1440, height: 900 },
    // Movement is not what is judged, and what moves cannot be judged.
    contextOptions: { reducedMotion: 'reduce' },
    launchOptions: {
      // Debian's Chromium: no browser is downloaded.
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
    trace: 'retain-on-failure',
  },
});
