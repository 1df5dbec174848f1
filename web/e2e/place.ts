function given(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: start the stories with \`npm run e2e\``);
  return value;
}

/** Where the stories take place; `start.ts` set it up. */
export const place = {
  /** Where the pages are. */
  get base() {
    return given('E2E_BASE');
  },
  /** Where the API is, for workers. */
  get console() {
    return given('E2E_CONSOLE');
  },
  get token() {
    return given('E2E_TOKEN');
  },
  get password() {
    return given('E2E_PASSWORD');
  },
  get session() {
    return given('E2E_SESSION');
  },
  /** Where the pages are served under a path of their own; only in a cluster. */
  get underPath() {
    return given('E2E_UNDER_PATH');
  },
  get workerBinary() {
    return given('E2E_WORKER_BIN');
  },
};
