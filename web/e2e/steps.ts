import { type ChildProcess, spawn } from 'node:child_process';
import type { Page } from '@playwright/test';
import { expect, fresh } from './fixtures';
import { place } from './place';

/** Opens the command palette and waits until it takes what is typed: no person types in the moment in which it opens. */
export async function openPalette(page: Page) {
  await page.keyboard.press('Control+k');
  await expect(page.getByRole('dialog').locator('input')).toBeFocused();
}

/** Creates a task group through the pages; its id. */
export async function createGroup(page: Page, name: string, backups: number): Promise<string> {
  await page.goto('groups');
  await page.getByRole('button', { name: 'New task group' }).click();
  const form = page.getByRole('dialog', { name: 'New task group' });
  await form.getByLabel('Name').fill(name);
  await form.getByRole('textbox', { name: 'Backups' }).fill(String(backups));
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
  return page.url().split('/').at(-1) ?? '';
}

/** Workers of this process's stories. None outlives it, whatever becomes of the story. */
const workers = new Set<ChildProcess>();
process.on('exit', () => {
  for (const worker of workers) worker.kill('SIGKILL');
});

/** Makes a worker token through the pages and starts the sample worker with it; waits until the pages show it. */
export async function connectWorker(page: Page, group: string, groupName: string) {
  await page.goto(`tokens?tab=workers&group=${group}`);
  await page.getByRole('button', { name: 'New worker token' }).click();
  const form = page.getByRole('dialog', { name: 'New worker token' });
  await form.getByLabel('Name').fill(fresh('workers'));
  await form.getByRole('button', { name: 'Create' }).click();
  const token = (await page.getByTestId('secret').textContent()) ?? '';
  expect(token).toMatch(/^cri_wkr_/);
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();

  const end = startWorker(group, token);
  await page.goto(`workers?group=${group}`);
  const panel = page.getByRole('region', { name: new RegExp(`^${groupName} ·`) });
  await expect(panel).toContainText('Ready');
  return { panel, end };
}

/** Starts a sample worker; the returned function asks it to leave and waits until it has. */
export function startWorker(group: string, token: string, settings: Record<string, string> = {}) {
  const worker = spawn(place.workerBinary, [], {
    stdio: 'ignore',
    env: {
      ...process.env,
      CARILLON_CONSOLES: place.console,
      CARILLON_GROUP: group,
      CARILLON_TOKEN: token,
      ...settings,
    },
  });
  workers.add(worker);
  return async () => {
    const exit = new Promise((resolve) => worker.once('exit', resolve));
    worker.kill('SIGTERM');
    await exit;
    workers.delete(worker);
  };
}

interface JobToCreate {
  name: string;
  handler: string;
  every: string;
  params: unknown;
}

/** Creates a job of a fixed rate through the form; its number. */
export async function createJob(page: Page, group: string, job: JobToCreate): Promise<number> {
  await page.goto(`jobs/new?group=${group}`);
  await page.getByRole('textbox', { name: 'Name' }).first().fill(job.name);
  await page
    .getByRole('textbox', { name: 'Handler' })
    .or(page.getByRole('combobox', { name: 'Handler' }))
    .first()
    .fill(job.handler);
  await page.keyboard.press('Escape');
  await page.getByRole('radio', { name: /^Fixed rate/ }).check();
  await page.getByRole('textbox', { name: 'Period' }).fill(job.every);
  await page.getByRole('textbox', { name: 'Params' }).click();
  await page.keyboard.press('Control+a');
  await page.keyboard.type(JSON.stringify(job.params));
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name: job.name })).toBeVisible();
  await expect(page).toHaveURL(/\/jobs\/\d+$/);
  return Number(page.url().split('/').at(-1));
}
