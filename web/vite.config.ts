/// <reference types="vitest/config" />
import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// Where `npm run dev` finds the API: a `carillon dev` of this machine.
const api = process.env.CARILLON_CONSOLE ?? 'http://127.0.0.1:7700';

export default defineConfig({
  // Relative, so that one build works under any path; index.html carries the base that the console fills in.
  base: './',
  plugins: [react()],
  resolve: { alias: { '#': fileURLToPath(new URL('./src', import.meta.url)) } },
  build: {
    target: 'es2023',
    // A data: font or image would need its own word in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
    manifest: true,
  },
  preview: { port: 7791 },
  server: {
    port: 7790,
    proxy: {
      '/api': { target: api },
      '/docs': { target: api },
      // The one-time link of `carillon dev` is answered by the console, the page of the same name by us.
      '/sign-in': { target: api, bypass: (request) => (request.url?.includes('code=') ? undefined : '/index.html') },
    },
  },
  test: {
    environment: 'jsdom',
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['./tests/setup.ts'],
    restoreMocks: true,
    // Two workers: the machine that runs the checks often has no more cores.
    maxWorkers: 2,
  },
});
