import { expect, test } from '../e2e/fixtures';
import { LOADING, pages } from '../e2e/pages';

/** Where the pictures go; not part of the repository. */
const FOLDER = process.env.LOOK_FOLDER || 'test-results/look';

/** A desk and a phone. */
const SIZES = [
  { width: 1440, height: 900 },
  { width: 390, height: 844 },
  // Long pages scroll inside: a window as high as they are.
  { width: 1280, height: 2400 },
  { width: 389, height: 3600 },
];

for (const one of pages) {
  test(`look at ${one.name}`, async ({ open, api, guard }) => {
    const path = await one.path(api);
    for (const language of ['en', 'zh'] as const) {
      const page = await open(undefined, { language });
      if (one.signedOut) {
        guard.expect(401, /\/sessions\/current$/);
        await page.context().clearCookies();
      }
      for (const size of SIZES) {
        await page.setViewportSize(size);
        await page.goto(path);
        await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
        await expect(page.getByText(LOADING)).toHaveCount(0);
        for (const theme of ['light', 'dark'] as const) {
          await page.emulateMedia({ colorScheme: theme });
          await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', theme);
          await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
          const name = one.name.replace(/\W+/g, '-');
          await page.screenshot({ path: `${FOLDER}/${name}-${size.width}-${language}-${theme}.png`, fullPage: true });
        }
        // Nothing may stick out at the side: a page scrolls downwards only.
        const over = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        expect(over, `${one.name} at ${size.width} pixels sticks out`).toBeLessThanOrEqual(0);
      }
      await page.context().close();
    }
  });
}
