import type { Page } from '@playwright/test';
import { type Api, expect, fresh, test } from '../fixtures';
import { place } from '../place';
import { connectWorker, createGroup, createJob } from '../steps';
import { script } from './start';

interface Shard {
  id: string;
  group: string;
  owner: string | null;
  holders: string[];
}

async function ownerOfSamples(api: Api): Promise<string | null | undefined> {
  const group = await api.samples();
  const { items } = await api.get<{ items: Shard[] }>('/shards');
  return items.find((shard) => shard.group === group)?.owner;
}

async function isLive(page: Page) {
  await expect(page.getByRole('status').filter({ hasText: 'Live' })).toBeVisible();
}

test('from nothing to a run in a cluster: a group on two servers, its worker, a job by the form', async ({
  page,
  api,
}) => {
  const name = fresh('billing');
  const group = await createGroup(page, name, 2);
  expect(await api.get(`/groups/${group}`)).toMatchObject({ backups: 2 });
  const worker = await connectWorker(page, group, name);
  await createJob(page, group, {
    name: fresh('invoice'),
    handler: 'hello',
    every: '1s',
    params: { name: 'the cluster' },
  });
  await page.getByRole('tab', { name: 'Runs' }).click();
  const run = page.locator('tbody tr[data-index]').filter({ hasText: 'Succeeded' }).first();
  await run.getByRole('link').first().click();
  await expect(page.getByRole('log')).toContainText('the cluster');
  await worker.end();
});

test('the owner is killed while the cluster page is open: the hand-over and the new owner appear on it', async ({
  page,
  api,
}) => {
  const killed = await ownerOfSamples(api);
  expect(killed).toBeTruthy();
  await page.goto('cluster');
  const card = (server: string) => page.getByRole('article', { name: server });
  await expect(card(killed ?? '').getByRole('button', { name: 'samples.0: owner' })).toBeVisible();
  await isLive(page);

  const at = new Date().toISOString();
  await script('kill', killed ?? '');
  await expect.poll(() => ownerOfSamples(api)).not.toBe(killed);
  const owner = await ownerOfSamples(api);
  await expect(card(owner ?? '').getByRole('button', { name: 'samples.0: owner' })).toBeVisible();
  const newest = page
    .getByRole('table', { name: 'Hand-overs' })
    .locator('tr[data-index]')
    .filter({ hasText: 'samples' });
  await expect(newest.first()).toContainText(`${killed}`);
  await expect(newest.first()).toContainText(`${owner}`);

  // Meanwhile the job that fires every two seconds went on: each fire since then has run.
  const { items: jobs } = await api.get<{ items: { id: number; name: string }[] }>('/jobs?text=hello');
  const hello = jobs.find((job) => job.name === 'hello')?.id;
  interface Fire {
    fire_time: string;
    outcome?: string;
    state?: string;
  }
  await expect
    .poll(async () => (await api.get<{ items: Fire[] }>(`/runs?job=${hello}&from=${at}&state=succeeded`)).items.length)
    .toBeGreaterThan(8);
  const { items: runs } = await api.get<{ items: Fire[] }>(`/runs?job=${hello}&from=${at}&state=succeeded`);
  const times = runs.map((run) => Date.parse(run.fire_time)).sort((one, other) => one - other);
  for (const [index, time] of times.slice(1).entries()) expect(time - (times[index] ?? 0)).toBe(2_000);

  await script('revive', killed ?? '');
  await expect(card(killed ?? '').getByText('Reachable', { exact: true })).toBeVisible();
});

test('each console is killed in turn while a page is open: the page goes on by itself', async ({
  page,
  api,
  guard,
}) => {
  const job = await api.job(fresh('steadfast'), 'hello', { params: { name: 'whoever looks' } });
  await page.goto(`jobs/${job.id}?tab=runs`);
  const rows = page.getByRole('table').locator('tbody tr[data-index]');
  await expect(rows).toHaveCount(0);
  await isLive(page);
  // One of the three holds the stream of events, which ends with it; everything else goes to another one unseen.
  guard.expectCut(/\/api\/v1\/events$/);
  for (const number of [1, 2, 3]) {
    await script('kill', `console-${number}`);
    await api.trigger(job.id);
    await expect(rows).toHaveCount(number);
    await expect(rows.first()).toContainText('Succeeded');
    await isLive(page);
    await script('revive', `console-${number}`);
    await expect
      .poll(async () => {
        const answer = await fetch(`http://127.0.0.1:${Number(process.env.BASE_PORT) + number}/readyz`).catch(
          () => null,
        );
        return answer?.status;
      })
      .toBe(200);
  }
  await expect(page.getByRole('alert')).toHaveCount(0);
  await page.getByRole('link', { name: 'Overview' }).first().click();
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
});

test.describe('under a path of its own', () => {
  test.use({
    base: async ({ browserName: _ }, use) => {
      await use(place.underPath);
    },
  });

  test('the pages, their links, live updates and deep addresses work behind a proxy that strips it', async ({
    page,
    api,
  }) => {
    const job = await api.job(fresh('tucked-away'), 'hello', { params: { name: 'the path' } });
    await page.goto('jobs');
    await page
      .getByRole('link', { name: /tucked-away/ })
      .first()
      .click();
    await expect(page).toHaveURL(new RegExp(`/carillon/jobs/${job.id}$`));
    await isLive(page);
    await page.getByRole('button', { name: 'Trigger now' }).click();
    await expect(page).toHaveURL(/\/carillon\/runs\/[0-9a-z]+$/);
    await expect(page.getByRole('log')).toContainText('the path');
    await page.reload();
    await expect(page.getByRole('log')).toContainText('the path');
    await page.goto(`jobs/${job.id}?tab=runs`);
    const rows = page.getByRole('table').locator('tbody tr[data-index]');
    await expect(rows).toHaveCount(1);
    await api.trigger(job.id);
    await expect(rows).toHaveCount(2);
  });
});
