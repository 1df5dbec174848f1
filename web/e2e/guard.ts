import type { BrowserContext, ConsoleMessage, Page, Request, Response } from '@playwright/test';

interface Allowed {
  status: number;
  path: RegExp;
}

/**
 * Watches windows for what must not happen: errors of the pages, failed requests, refusals that the story does not
 * expect, and requests to other hosts. The fixture fails the story with what it saw.
 */
export class Guard {
  readonly seen: string[] = [];
  readonly #host: string;
  readonly #allowed: Allowed[] = [];
  readonly #cut: RegExp[] = [];

  constructor(base: string) {
    this.#host = new URL(base).host;
  }

  /** The story provokes this refusal. */
  expect(status: number, path: RegExp) {
    this.#allowed.push({ status, path });
  }

  /** The story kills what answers this request. */
  expectCut(path: RegExp) {
    this.#cut.push(path);
  }

  watch(context: BrowserContext) {
    context.on('page', (page) => this.#watchPage(page));
    context.on('request', (request) => this.#onRequest(request));
    context.on('requestfailed', (request) => this.#onFailed(request));
    context.on('response', (response) => this.#onResponse(response));
  }

  #watchPage(page: Page) {
    page.on('pageerror', (error) => this.seen.push(`page error: ${error.stack ?? error.message}`));
    page.on('console', (message) => this.#onConsole(message));
  }

  #onRequest(request: Request) {
    const url = new URL(request.url());
    if (url.protocol === 'data:' || url.protocol === 'blob:') return;
    if (url.host !== this.#host) this.seen.push(`request to another host: ${request.url()}`);
  }

  #onFailed(request: Request) {
    const why = request.failure()?.errorText ?? '';
    // A page that is left drops what it no longer needs, its event stream among it.
    if (why !== 'net::ERR_ABORTED' && !this.#isCut(request.url()))
      this.seen.push(`failed: ${request.method()} ${request.url()}: ${why}`);
  }

  #onResponse(response: Response) {
    if (response.status() < 400 || this.#isAllowed(response.status(), response.url())) return;
    this.seen.push(`${response.status()}: ${response.request().method()} ${response.url()}`);
  }

  #onConsole(message: ConsoleMessage) {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    const { url } = message.location();
    const status = /status of (\d+)/.exec(message.text())?.[1];
    if (status && this.#isAllowed(Number(status), url)) return;
    if (!status && url !== '' && this.#isCut(url)) return;
    this.seen.push(`console ${message.type()}: ${message.text()} (${url})`);
  }

  #isCut(url: string): boolean {
    const { pathname } = new URL(url);
    return this.#cut.some((path) => path.test(pathname));
  }

  #isAllowed(status: number, url: string): boolean {
    const { pathname } = new URL(url);
    return this.#allowed.some((one) => one.status === status && one.path.test(pathname));
  }
}
