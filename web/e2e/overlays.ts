import type { Page } from '@playwright/test';
import { type Api, expect, fresh } from './fixtures';
import { openPalette } from './steps';

/** What opens over a page: dialogs, drawers, menus, lists of options. */
export interface Overlay {
  name: string;
  /** Where it is opened, from the base. */
  path: (api: Api) => Promise<string> | string;
  /** Opens it and waits until it is there. */
  open: (page: Page, api: Api) => Promise<unknown>;
  /** Only there on a phone. */
  narrowOnly?: boolean;
}

const dialog = (page: Page) => expect(page.getByRole('dialog')).toBeVisible();
const menu = (page: Page) => expect(page.getByRole('menu')).toBeVisible();
const options = (page: Page) => expect(page.getByRole('listbox').first()).toBeVisible();

/** Opens a dialog by a button. */
const byButton = (name: string | RegExp) => async (page: Page) => {
  await page.getByRole('button', { name }).first().click();
  await dialog(page);
};

/** Opens a menu by its button. */
const menuOf = (name: string | RegExp) => async (page: Page) => {
  await page.getByRole('button', { name }).first().click();
  await menu(page);
};

/** Opens a dialog by an entry of a menu. */
const byEntry = (name: string | RegExp, entry: string | RegExp) => async (page: Page) => {
  await menuOf(name)(page);
  await page.getByRole('menuitem', { name: entry }).click();
  await dialog(page);
};

/** Selects all rows, and asks for what is to be done with them. */
const bulk = (verb: string) => async (page: Page) => {
  await page.getByRole('checkbox', { name: 'Select all rows that are loaded' }).check();
  await page.getByRole('toolbar').getByRole('button', { name: verb, exact: true }).click();
  await dialog(page);
};

const select = (name: string) => async (page: Page) => {
  await page
    .getByRole('combobox', { name })
    .or(page.getByLabel(name, { exact: true }))
    .first()
    .click();
  await options(page);
};

const job = async (api: Api, more: Record<string, unknown> = {}) =>
  (await api.job(fresh('laid-over'), 'hello', { params: { name: 'whoever looks' }, ...more })).id;

async function deadLetter(api: Api): Promise<{ job: number; run: string }> {
  const { id } = await api.job(fresh('laid-over'), 'never-lucky', { retry: { max_attempts: 1 } });
  const run = await api.trigger(id);
  await api.runIs(run, 'dead', 'failed');
  return { job: id, run };
}

async function running(api: Api): Promise<string> {
  const { id } = await api.job(fresh('laid-over'), 'slow', { params: { seconds: 600 } });
  const run = await api.trigger(id);
  await api.runIs(run, 'running');
  return run;
}

async function somebody(api: Api): Promise<string> {
  const name = fresh('cid');
  await api.post('/users', { name, password: 'a bell for each hour' });
  return name;
}

/** Everything that opens over a page, each once. */
export const overlays: readonly Overlay[] = [
  {
    name: 'the command palette',
    path: () => 'jobs',
    open: async (page) => {
      await openPalette(page);
      await page.keyboard.type('hello');
      await expect(page.getByRole('dialog').getByText('hello').first()).toBeVisible();
    },
  },
  {
    name: 'the keyboard shortcuts',
    path: () => 'jobs',
    open: async (page) => {
      await page.keyboard.press('?');
      await dialog(page);
    },
  },
  { name: 'the navigation', path: () => 'jobs', open: byButton('Open the navigation'), narrowOnly: true },
  { name: 'the menu of languages', path: () => '', open: menuOf('Language') },
  { name: 'the menu of the account', path: () => '', open: menuOf(/^Account of/) },
  {
    name: 'the question before jobs are paused',
    path: async (api) => {
      const { name } = await api.get<{ name: string }>(`/jobs/${await job(api)}`);
      return `jobs?text=${name}`;
    },
    open: bulk('Pause'),
  },
  {
    name: 'the menu of a job',
    path: async (api) => `jobs/${await job(api)}`,
    open: menuOf('More actions'),
  },
  {
    name: 'the question before a job is deleted',
    path: async (api) => `jobs/${await job(api)}`,
    open: byEntry('More actions', 'Delete'),
  },
  { name: 'the options of a field', path: () => 'jobs/new', open: select('Task group') },
  {
    name: 'the question before a form is left',
    path: () => 'jobs/new',
    open: async (page) => {
      await page.getByRole('textbox', { name: 'Name' }).first().fill('half done');
      await page.keyboard.press('Escape');
      await page.getByRole('link', { name: 'Jobs' }).last().click();
      await dialog(page);
    },
  },
  {
    name: 'the conflict of two edits',
    path: async (api) => `jobs/${await job(api, { description: 'as it was' })}/edit`,
    open: async (page, api) => {
      await page.getByRole('textbox', { name: 'Description' }).fill('what I wrote');
      const id = /jobs\/(\d+)/.exec(page.url())?.[1];
      await api.patch(`/jobs/${id}`, { description: 'what the other wrote' });
      await page.getByRole('button', { name: 'Save', exact: true }).click();
      await dialog(page);
    },
  },
  {
    name: 'the filter of states',
    path: () => 'runs',
    open: (page) => page.getByRole('button', { name: /^State/ }).click(),
  },
  {
    name: 'the question before runs are retried',
    path: async (api) => `runs?job=${(await deadLetter(api)).job}`,
    open: bulk('Retry'),
  },
  { name: 'what a run is copied as', path: async (api) => `runs/${await running(api)}`, open: menuOf('Copy as') },
  {
    name: 'the question before a run is cancelled',
    path: async (api) => `runs/${await running(api)}`,
    open: byButton('Cancel'),
  },
  { name: 'a run with other params', path: async (api) => `runs/${await running(api)}`, open: byButton('Run again') },
  {
    name: 'the retry of a dead letter',
    path: async (api) => `dead-letters?job=${(await deadLetter(api)).job}`,
    open: byButton(/^Retry laid-over/),
  },
  {
    name: 'the question before a dead letter is discarded',
    path: async (api) => `dead-letters?job=${(await deadLetter(api)).job}`,
    open: byButton(/^Discard laid-over/),
  },
  { name: 'a new task group', path: () => 'groups', open: byButton('New task group') },
  { name: 'the change of a task group', path: async (api) => `groups/${await api.samples()}`, open: byButton('Edit') },
  {
    name: 'the question before a task group is deleted',
    path: async (api) => `groups/${await api.samples()}`,
    open: byEntry('More actions', 'Delete'),
  },
  { name: 'the details of a worker', path: () => 'workers', open: byButton(/^Details of/) },
  { name: 'the question before a server is drained', path: () => 'cluster', open: byButton(/^Drain /) },
  { name: 'a new person', path: () => 'users', open: byButton('Add a person') },
  {
    name: 'the menu of a person',
    path: async (api) => `users?text=${await somebody(api)}`,
    open: menuOf(/^More about cid/),
  },
  {
    name: 'the permissions of a person',
    path: async (api) => `users?text=${await somebody(api)}`,
    open: byEntry(/^More about cid/, /^Permissions of/),
  },
  {
    name: 'a password shown once',
    path: async (api) => `users?text=${await somebody(api)}`,
    open: async (page) => {
      await byEntry(/^More about cid/, 'New password')(page);
      await page.getByRole('dialog').getByRole('button', { name: 'New password' }).click();
      await expect(page.getByTestId('secret')).toBeVisible();
    },
  },
  { name: 'a new token', path: () => 'tokens', open: byButton('New token') },
  {
    name: 'a worker token shown once',
    path: async (api) => `tokens?tab=workers&group=${await api.samples()}`,
    open: async (page) => {
      await byButton('New worker token')(page);
      await page.getByRole('dialog').getByLabel('Name').fill(fresh('laid-over'));
      await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
      await expect(page.getByTestId('secret')).toBeVisible();
    },
  },
  { name: 'the question before a token is revoked', path: () => 'tokens?tab=all', open: byButton(/^Revoke/) },
  { name: 'an entry of the audit trail', path: () => 'audit', open: byButton(/^Show the details/) },
];
