import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, type FullConfig } from '@playwright/test';
import { preview } from 'vite';

const web = fileURLToPath(new URL('..', import.meta.url));

/** From the start to the banner; a debug build on a busy machine needs some seconds. */
const START_MS = 60_000;

/**
 * Starts one `carillon dev` with a data folder of its own on a free port, and serves the pages: those that the binary
 * embeds, or `dist/` in front of its API where it embeds none or `CARILLON_PAGES=dist` asks for them.
 * What the stories need is left in the environment: see `place.ts`.
 */
export default async function start(config: FullConfig) {
  const binary = process.env.CARILLON_BIN ?? join(web, '../target/debug/carillon');
  if (!existsSync(binary)) throw new Error(`no carillon at ${binary}: build it, or set CARILLON_BIN`);
  const worker = process.env.CARILLON_WORKER_BIN ?? join(dirname(binary), 'samples');
  if (!existsSync(worker)) {
    throw new Error(`no sample worker at ${worker}: build carillon-examples, or set CARILLON_WORKER_BIN`);
  }
  const folder = mkdtempSync(join(tmpdir(), 'carillon-e2e-'));
  const data = join(folder, 'data');
  const port = await freePort();
  const dev = spawn(binary, ['dev', '--data', data, '--port', String(port)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const close = { pages: async () => {} };
  const teardown = async () => {
    await close.pages();
    await ended(dev);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const { console: api, password } = await banner(dev);
    const pages = await servePages(api);
    close.pages = pages.close;
    process.env.E2E_BASE = pages.url;
    process.env.E2E_CONSOLE = api;
    process.env.E2E_TOKEN = readFileSync(join(data, 'admin.token'), 'utf8').trim();
    process.env.E2E_PASSWORD = password;
    process.env.E2E_WORKER_BIN = worker;
    process.env.E2E_FOLDER = folder;
    process.env.E2E_SESSION = join(folder, 'session.json');
    await signIn(config, pages.url, { name: 'admin', password }, process.env.E2E_SESSION);
  } catch (error) {
    await teardown();
    throw error;
  }
  return teardown;
}

/** One sign-in for all stories: it is rate limited, and slow on purpose. */
export async function signIn(
  config: FullConfig,
  url: string,
  person: { name: string; password: string },
  file: string,
) {
  const browser = await chromium.launch(config.projects[0]?.use.launchOptions);
  const context = await browser.newContext({ baseURL: url });
  const answer = await context.request.post('api/v1/sessions', { data: person });
  if (!answer.ok()) throw new Error(`sign-in: ${answer.status()} ${await answer.text()}`);
  await context.storageState({ path: file });
  await browser.close();
}

/** Waits for the last line of the banner, which is the address. */
function banner(dev: ChildProcess): Promise<{ console: string; password: string }> {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => reject(new Error(`carillon dev said no address in time:\n${said}`)), START_MS);
    const read = (chunk: Buffer) => {
      said += chunk.toString();
      const url = /^(http:\/\/\S+?)\/sign-in\?code=/m.exec(said)?.[1];
      const password = /with the password (\S+?),/.exec(said)?.[1];
      if (url && password) {
        clearTimeout(timer);
        resolve({ console: url, password });
      }
    };
    dev.stdout?.on('data', read);
    dev.stderr?.on('data', read);
    dev.once('error', reject);
    dev.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`carillon dev ended with ${code}:\n${said}`));
    });
  });
}

async function servePages(api: string): Promise<{ url: string; close: () => Promise<void> }> {
  const own = await fetch(api, { headers: { accept: 'text/html' } });
  const embedded = (await own.text()).includes('id="root"');
  if (embedded && process.env.CARILLON_PAGES !== 'dist') return { url: `${api}/`, close: async () => {} };
  if (!existsSync(join(web, 'dist/index.html'))) throw new Error('no pages in dist/: run `npm run build`');
  const server = await preview({
    configFile: false,
    root: web,
    base: '/',
    logLevel: 'error',
    preview: {
      host: '127.0.0.1',
      port: await freePort(),
      proxy: Object.fromEntries(['/api', '/docs'].map((path) => [path, { target: api }])),
    },
  });
  const url = server.resolvedUrls?.local[0];
  if (!url) throw new Error('the preview of the pages has no address');
  return { url, close: () => server.close() };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}

/** How long a drain may take before the process is killed. */
const DRAIN_MS = 15_000;

async function ended(child: ChildProcess) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGKILL'), DRAIN_MS);
  await exit;
  clearTimeout(timer);
}
