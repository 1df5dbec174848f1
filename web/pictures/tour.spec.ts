import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Page } from '@playwright/test';
import { script } from '../e2e/cluster/start';
import { type Api, expect, test } from '../e2e/fixtures';
import { LOADING } from '../e2e/pages';
import { startWorker } from '../e2e/steps';

const FOLDER = fileURLToPath(new URL('../../docs/tour/', import.meta.url));

/** Fires of the busiest job before the pictures are taken, so that the charts have something to draw. */
const ENOUGH_RUNS = 90;

interface Made {
  id: number;
}

/** A day in the life of a billing department, an hour of it. */
async function arrange(api: Api) {
  const group = await api.post<{ id: string }>('/groups', {
    server_group: 1,
    backups: 3,
    name: 'billing',
    description: 'Invoices, rates and the ledger',
  });
  const { token } = await api.post<{ token: string }>('/tokens', { name: 'billing workers', worker_of: group.id });
  for (const room of ['room-a', 'room-b']) {
    startWorker(group.id, token, { CARILLON_WORKER_NAME: `billing-${room.at(-1)}1`, CARILLON_ROOM: room });
  }
  const job = async (name: string, handler: string, more: Record<string, unknown>) =>
    (await api.post<Made>('/jobs', { group: group.id, name, handler, kind: 'simple', owner: 'billing', ...more })).id;
  const jobs = {
    webhooks: await job('card-webhooks', 'hello', {
      description: 'Asks the card network for news',
      schedule: { type: 'fixed_rate', every: '1s' },
      params: { name: 'the card network' },
      timeout: '10s',
    }),
    rates: await job('exchange-rates', 'third-time-lucky', {
      description: 'Fetches the rates of the day; the bank answers at the third try',
      schedule: { type: 'cron', expression: '0/20 * * * * ?', time_zone: 'Europe/Berlin' },
      retry: { max_attempts: 4, backoff: 'exponential', initial: '500ms', max: '10s' },
    }),
    dunning: await job('dunning-letters', 'never-lucky', {
      description: 'Sends letters to those who have not paid; the printer is broken',
      schedule: { type: 'cron', expression: '5/30 * * * * ?', time_zone: 'Europe/Berlin' },
      retry: { max_attempts: 2, backoff: 'fixed', initial: '1s' },
    }),
    ledger: await job('ledger-export', 'slow', {
      description: 'Writes the ledger of the day to the archive',
      schedule: { type: 'cron', expression: '0/15 * * * * ?', time_zone: 'Asia/Shanghai' },
      params: { seconds: 20 },
      overlap: { policy: 'skip' },
    }),
    settlement: await job('nightly-settlement', 'count-primes', {
      description: 'Settles each shop with all workers, and adds it up',
      kind: 'parallel',
      schedule: { type: 'cron', expression: '0 30 2 ? * MON-FRI', time_zone: 'Europe/Berlin' },
      params: { below: 12_000_000, subtasks: 2_000 },
    }),
    statements: await job('monthly-statements', 'hello', {
      description: 'Last working day of each month, at nine',
      schedule: { type: 'cron', expression: '0 0 9 LW * ?', time_zone: 'America/New_York' },
      params: { name: 'everybody' },
    }),
  };
  return { group: group.id, jobs };
}

/** A hand-over to look at: the owner of the busy shard is killed, and comes back. */
async function failOver(api: Api, group: string) {
  const ownerOf = async () => {
    const { items } = await api.get<{ items: { group: string; owner: string | null }[] }>('/shards');
    return items.find((shard) => shard.group === group)?.owner;
  };
  const killed = await ownerOf();
  if (!killed) throw new Error('nobody owns the shard of billing');
  await script('kill', killed);
  await expect.poll(ownerOf).not.toBe(killed);
  await script('revive', killed);
}

async function picture(page: Page, name: string) {
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.getByText(LOADING)).toHaveCount(0);
  await page.mouse.move(0, 0);
  await page.screenshot({ path: `${FOLDER}${name}.png` });
}

test('the tour', async ({ api, open }) => {
  test.setTimeout(420_000);
  mkdirSync(FOLDER, { recursive: true });
  const { group, jobs } = await arrange(api);
  const runs = (job: number, more = '') =>
    api.get<{ items: { id: string }[] }>(`/runs?job=${job}&limit=100${more}`).then(({ items }) => items);
  const succeeded = async (job: number) => (await runs(job, '&state=succeeded')).length;
  await expect.poll(() => succeeded(jobs.webhooks), { timeout: 60_000 }).toBeGreaterThan(5);
  await failOver(api, group);
  await expect.poll(() => succeeded(jobs.webhooks), { timeout: 120_000 }).toBeGreaterThan(ENOUGH_RUNS);
  await expect
    .poll(async () => (await runs(jobs.dunning, '&state=dead')).length, { timeout: 120_000 })
    .toBeGreaterThan(1);

  const page = await open();
  await page.goto('');
  await picture(page, 'overview');
  await page.goto('cluster');
  await picture(page, 'cluster');
  await page.goto('jobs');
  await picture(page, 'jobs');
  await page.goto(`jobs/${jobs.ledger}?tab=fires`);
  await page.getByText('Skipped').first().scrollIntoViewIfNeeded();
  await page.locator('tr[data-index]').last().scrollIntoViewIfNeeded();
  await picture(page, 'ledger');
  await page.goto(`jobs/${jobs.statements}/edit`);
  await picture(page, 'job-form');
  const [exporting] = await runs(jobs.ledger, '&state=succeeded');
  await page.goto(`runs/${exporting?.id}`);
  await picture(page, 'run');
  await page.goto(`dead-letters?job=${jobs.dunning}`);
  await picture(page, 'dead-letters');

  const chinese = await open(undefined, { language: 'zh', theme: 'dark' });
  await chinese.goto('runs');
  await picture(chinese, 'runs-zh-dark');

  // Last, for counting primes takes all that the machine has.
  const settlement = await api.trigger(jobs.settlement);
  await api.runIs(settlement, 'running');
  await page.goto(`runs/${settlement}/subtasks`);
  await expect
    .poll(async () => (await api.get<{ progress: { done: number } }>(`/runs/${settlement}/subtasks`)).progress.done, {
      timeout: 120_000,
    })
    .toBeGreaterThan(300);
  await picture(page, 'parallel-run');
});
