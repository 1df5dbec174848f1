import type { Page } from '@playwright/test';
import { type Api, choose, expect, fresh, test } from './fixtures';
import { place } from './place';

const PASSWORD = 'a bell for each hour';

/** A person who may do nothing yet. */
async function person(api: Api): Promise<{ name: string; password: string }> {
  const name = fresh('ann');
  await api.post('/users', { name, password: PASSWORD });
  return { name, password: PASSWORD };
}

test('a person is added with a password shown once, and signs in with it', async ({ page, open, guard }) => {
  const name = fresh('bob');
  await page.goto('users');
  await page.getByRole('button', { name: 'Add a person' }).click();
  const form = page.getByRole('dialog', { name: 'Add a person' });
  await form.getByLabel('Sign-in name').fill(name);
  await form.getByLabel('Name shown').fill('Bob of the night shift');
  await form.getByRole('button', { name: 'Add' }).click();
  const password = (await page.getByTestId('secret').textContent()) ?? '';
  expect(password.length).toBeGreaterThanOrEqual(16);
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  await expect(page.getByRole('row', { name: /Bob of the night shift/ })).toBeVisible();
  await page.reload();
  await expect(page.getByRole('row', { name: /Bob of the night shift/ })).toBeVisible();
  await expect(page.getByText(password)).toHaveCount(0);

  guard.expect(401, /\/sessions\/current$/);
  const his = await open({ name, password });
  await his.context().clearCookies();
  await his.goto('');
  await expect(his).toHaveURL(/\/sign-in/);
  await his.getByLabel('Name').fill(name);
  await his.getByLabel('Password', { exact: true }).fill(password);
  await his.getByRole('button', { name: 'Sign in' }).click();
  await expect(his.getByRole('button', { name: 'Account of Bob of the night shift' })).toBeVisible();
});

test('a role is granted and withdrawn, and the pages offer only what it allows', async ({ page, open, api, guard }) => {
  const ann = await person(api);
  const job = await api.job(fresh('guarded'), 'hello', { params: { name: 'ann' } });
  const group = await api.samples();

  // Without a role: no jobs, no administration.
  const hers = await open(ann);
  await hers.goto('jobs');
  await expect(hers.getByRole('heading', { level: 1, name: 'Jobs' })).toBeVisible();
  await expect(hers.locator('tr[data-index]')).toHaveCount(0);
  await expect(navigation(hers).getByRole('link', { name: 'People' })).toHaveCount(0);

  // A viewer sees and may do nothing.
  await page.goto(`users?tab=permissions&group=${group}`);
  const form = page.getByRole('form', { name: 'Grant a role' });
  await form.getByRole('combobox', { name: 'Person' }).or(form.getByLabel('Person')).first().click();
  await page.getByRole('option', { name: ann.name }).click();
  await form.getByRole('button', { name: 'Grant' }).click();
  const row = page.getByRole('row', { name: new RegExp(ann.name) });
  await expect(row).toBeVisible();
  expect(await grantOf(api, group, ann.name)).toBe('viewer');
  await hers.goto(`jobs/${job.id}`);
  await expect(hers.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(hers.getByRole('tab', { name: 'Ledger' })).toBeVisible();
  await expect(hers.getByRole('button', { name: 'Trigger now' })).toHaveCount(0);

  // An operator triggers, and may not delete.
  await choose(page, `Role of ${ann.name}`, 'Operator');
  await expect.poll(() => grantOf(api, group, ann.name)).toBe('operator');
  await hers.reload();
  await expect(hers.getByRole('button', { name: 'Trigger now' })).toBeVisible();
  await expect(hers.getByRole('button', { name: 'More actions' })).toHaveCount(0);
  await hers.getByRole('button', { name: 'Trigger now' }).click();
  await expect(hers).toHaveURL(/\/runs\//);

  // Withdrawn: the group is as if it were not there, its run that she looks at too.
  guard.expect(404, /\/runs\/[0-9a-z]+(\/log)?$/);
  await row.getByRole('button', { name: `Withdraw the role of ${ann.name}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Withdraw' }).click();
  await expect(row).toHaveCount(0);
  await hers.goto('jobs');
  await expect(hers.getByRole('heading', { level: 1, name: 'Jobs' })).toBeVisible();
  await expect(hers.locator('tr[data-index]')).toHaveCount(0);
});

test('what one may not do is refused by the API as well', async ({ open, api, guard, playwright }) => {
  const ann = await person(api);
  const hers = await open(ann);
  await hers.goto('users');
  await expect(hers.getByRole('alert')).toContainText('You may not see this');
  guard.expect(403, /\/users$/);
  expect(await hers.evaluate(async () => (await fetch('api/v1/users')).status)).toBe(403);
  const nobody = await playwright.request.newContext({ baseURL: place.base });
  expect((await nobody.get('api/v1/jobs')).status()).toBe(401);
  await nobody.dispose();
});

test('a token is shown once, works, and is refused after it was revoked', async ({ page, playwright }) => {
  const name = fresh('deploy');
  await page.goto('tokens');
  await page.getByRole('button', { name: 'New token' }).click();
  const form = page.getByRole('dialog', { name: 'New token' });
  await form.getByLabel('Name').fill(name);
  await choose(page, 'Role limit', 'Viewer');
  await choose(page, 'Lives for', '30 days');
  await form.getByRole('button', { name: 'Create' }).click();
  const secret = (await page.getByTestId('secret').textContent()) ?? '';
  expect(secret).toMatch(/^cri_pat_/);
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  const row = page.getByRole('row', { name: new RegExp(name) });
  await expect(row).toContainText('Viewer');
  await expect(page.getByText(secret)).toHaveCount(0);

  const program = await playwright.request.newContext({
    baseURL: place.base,
    extraHTTPHeaders: { authorization: `Bearer ${secret}` },
  });
  expect((await program.get('api/v1/jobs')).status()).toBe(200);
  await row.getByRole('button', { name: `Revoke ${name}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await expect(row).toHaveCount(0);
  expect((await program.get('api/v1/jobs')).status()).toBe(401);
  await program.dispose();
});

test('one changes the own password and stays signed in here, and nowhere else', async ({ open, api, guard }) => {
  const ann = await person(api);
  const here = await open(ann);
  const elsewhere = await open(ann);
  await elsewhere.goto('settings');
  await expect(elsewhere.getByRole('heading', { level: 1 })).toBeVisible();

  await here.goto('settings');
  guard.expect(422, /\/me\/password$/);
  await fillPasswords(here, 'not the password', 'another bell');
  await expect(here.getByText('is not your password')).toBeVisible();
  guard.expect(401, /./);
  await fillPasswords(here, ann.password, 'another bell for the hour');
  await expect(here.getByText('The password is changed')).toBeVisible();
  await here.reload();
  await expect(here.getByRole('heading', { level: 1, name: 'Settings and about' })).toBeVisible();

  await elsewhere.reload();
  await expect(elsewhere).toHaveURL(/\/sign-in/);
});

test('one sees where one is signed in, and signs out there from here', async ({ open, api, guard }) => {
  const ann = await person(api);
  const here = await open(ann);
  const elsewhere = await open(ann);
  await elsewhere.goto('jobs');
  await expect(elsewhere.getByRole('heading', { level: 1, name: 'Jobs' })).toBeVisible();

  await here.goto('settings');
  const panel = here.getByRole('region', { name: 'Where you are signed in' });
  await expect(panel.getByRole('listitem')).toHaveCount(2);
  await expect(panel.getByText('This browser')).toHaveCount(1);
  guard.expect(401, /./);
  await panel.getByRole('button', { name: 'Sign out', exact: true }).click();
  await expect(panel.getByRole('listitem')).toHaveCount(1);
  await elsewhere.reload();
  await expect(elsewhere).toHaveURL(/\/sign-in/);
  await here.reload();
  await expect(here.getByRole('heading', { level: 1, name: 'Settings and about' })).toBeVisible();
});

test('the audit trail says who changed what, from what to what', async ({ page, api }) => {
  const name = fresh('audited');
  const job = await api.job(name, 'hello', { description: 'as it was' });
  await page.goto(`jobs/${job.id}`);
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
  await expect(page.getByRole('button', { name: 'Resume' })).toBeVisible();

  await page.goto(`audit?target=job/${job.id}`);
  await expect(page.locator('tr[data-index]').first()).toContainText('Job paused');
  await expect(page.locator('tr[data-index]').last()).toContainText('Job created');
  await page.getByRole('button', { name: /^Show the details: Job paused/ }).click();
  const entry = page.getByRole('dialog');
  await expect(entry).toContainText('job.pause');
  await expect(page).toHaveURL(/entry=\d+/);

  // The address alone brings all of it back.
  await page.reload();
  await expect(page.getByRole('dialog')).toContainText('job.pause');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await choose(page, 'Outcome', 'Done');
  await choose(page, 'Time', 'Last hour');
  await expect(page).toHaveURL(/outcome=ok&range=1h|range=1h&outcome=ok/);
  await choose(page, 'Action', 'Job created');
  await expect(page.locator('tr[data-index]')).toHaveCount(1);
  await expect(page).toHaveURL(/action=job\.create/);
});

function navigation(page: Page) {
  return page.getByRole('navigation', { name: 'Main navigation' }).first();
}

async function grantOf(api: Api, group: string, user: string): Promise<string | undefined> {
  const { items } = await api.get<{ items: { user: string; role: string }[] }>(`/grants?group=${group}`);
  return items.find((grant) => grant.user === user)?.role;
}

async function fillPasswords(page: Page, current: string, next: string) {
  await page.getByLabel('Current password').fill(current);
  await page.getByLabel(/^New password( \*)?$/).fill(next);
  await page.getByLabel('New password once more').fill(next);
  await page.getByRole('button', { name: 'Change it' }).click();
}
