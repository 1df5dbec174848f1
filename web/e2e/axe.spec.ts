import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, test } from './fixtures';
import { overlays } from './overlays';
import { LOADING, pages } from './pages';

/** Levels A and AA of WCAG 2.0, 2.1 and 2.2. */
const LEVELS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

const THEMES = ['light', 'dark'] as const;

const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

for (const one of pages) {
  test(`axe finds nothing on ${one.name}, in both themes and languages, on a desk and on a phone`, async ({
    open,
    api,
    guard,
  }) => {
    const path = await one.path(api);
    for (const language of ['en', 'zh'] as const) {
      const page = await open(undefined, { language });
      if (one.signedOut) {
        guard.expect(401, /\/sessions\/current$/);
        await page.context().clearCookies();
      }
      await page.goto(path);
      for (const size of [DESK, PHONE]) {
        await page.setViewportSize(size);
        await settled(page);
        await expect(page.locator('html')).toHaveAttribute('lang', language === 'zh' ? 'zh-CN' : 'en');
        await findsNothing(page, `${one.name}, ${language}, ${size.width} pixels`);
      }
      await page.context().close();
    }
  });
}

for (const one of overlays) {
  test(`axe finds nothing on ${one.name}, in both themes, on a desk and on a phone`, async ({ page, api, guard }) => {
    // Two edits that meet.
    guard.expect(412, /\/jobs\/\d+$/);
    for (const size of one.narrowOnly ? [PHONE] : [DESK, PHONE]) {
      await page.setViewportSize(size);
      await page.goto(await one.path(api));
      await settled(page);
      await one.open(page, api);
      await findsNothing(page, `${one.name}, ${size.width} pixels`);
    }
  });
}

async function settled(page: Page) {
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.getByText(LOADING)).toHaveCount(0);
}

async function findsNothing(page: Page, what: string) {
  for (const theme of THEMES) {
    await page.emulateMedia({ colorScheme: theme });
    await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', theme);
    await drawn(page);
    expect(await violations(page), `${what}, ${theme}`).toEqual([]);
  }
}

/** A change of the theme is drawn with the next frame, and colours may be on their way for some more. */
async function drawn(page: Page) {
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await page.waitForFunction(() => document.getAnimations().every((one) => !(one instanceof CSSTransition)));
}

async function violations(page: Page) {
  const builder = new AxeBuilder({ page })
    // 2.5.3 (level A) is still called an experiment there, and left out unless it is asked for.
    .options({ resultTypes: ['violations'], rules: { 'label-content-name-mismatch': { enabled: true } } })
    .withTags(LEVELS)
    // There are no frames: one call instead of a second page for each look.
    .setLegacyMode();
  const { violations } = await builder.analyze();
  return violations.map(
    ({ id, nodes }) =>
      `${id}: ${nodes.map((node) => `${node.target.join(' ')} (${node.any[0]?.message ?? node.failureSummary})`).join('; ')}`,
  );
}
