import createClient, { type Middleware } from 'openapi-fetch';
import { ProblemError } from './problem';
import { send } from './repeat';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];

/** Where the console is served: its own base, so that everything works under a sub-path. */
export function baseUrl(): string {
  return base;
}

const base = fixedBase();

/** The `<base>` comes relative to the first address of the window; made absolute, so that later addresses do not move it. */
function fixedBase(): string {
  if (typeof document === 'undefined') return '';
  const { href } = new URL('.', document.baseURI);
  for (const element of document.querySelectorAll('base')) element.href = href;
  return href.replace(/\/$/, '');
}

/** The path of the base, as the router wants it. */
export function basePath(): string {
  return new URL(baseUrl()).pathname || '/';
}

let csrf: string | undefined;

/** What writes carry in `X-CSRF-Token`; it comes with the session. */
export function setCsrfToken(token: string | undefined) {
  csrf = token;
}

let onSignedOut: () => void = () => {};

/** Calls `then` whenever an answer says that nobody is signed in any more. */
export function whenSignedOut(then: () => void) {
  onSignedOut = then;
}

/** A request that takes longer has met a dead console; the next one goes to another. */
const DEADLINE_MS = 20_000;

const guard: Middleware = {
  onRequest({ request }) {
    if (request.method !== 'GET' && csrf) request.headers.set('X-CSRF-Token', csrf);
    return request;
  },
  async onResponse({ response, schemaPath }) {
    if (response.ok) return undefined;
    const body = await response
      .clone()
      .json()
      .catch(() => ({}));
    if (response.status === 401 && !schemaPath.startsWith('/api/v1/sessions')) onSignedOut();
    const known = { title: response.statusText, ...body };
    throw new ProblemError(response.status, known, undefined, response.headers.get('Retry-After'));
  },
  onError({ error }) {
    return new ProblemError(0, { code: 'unreachable', detail: String(error) }, error);
  },
};

export const api = createClient<paths>({
  baseUrl: base,
  credentials: 'same-origin',
  fetch: (request) =>
    send(request, (request) =>
      fetch(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(DEADLINE_MS)]) }),
    ),
  // `state=failed,dead`: the API reads lists separated by commas.
  querySerializer: { array: { style: 'form', explode: false } },
  // The API takes an optional body as an object or as nothing at all, not as `null`.
  bodySerializer: (body) => JSON.stringify(body ?? {}),
});
api.use(guard);

/** The data of an answer; refusals were thrown before. */
export async function data<T>(answer: Promise<{ data?: T; response: Response }>): Promise<T> {
  return (await answer).data as T;
}

/** The absolute address of an API path, for links, streams and things to copy. */
export function address(path: string): string {
  return `${baseUrl()}/api/v1${path}`;
}
